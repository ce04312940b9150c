"""Lines and turns: bounded, whatever comes."""

import asyncio
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flota.kube.events import older
from flota.kube.lines import Lines
from flota.kube.pace import Pace


@given(st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=12), st.lists(st.integers(1, 9), min_size=1))
def test_lines_are_the_same_however_they_are_cut(lines, sizes):
    whole = b"".join(line + b"\n" for line in lines) + b"rest"
    found, splitter, at = [], Lines(limit=8), 0
    turn = 0
    while at < len(whole):
        size = sizes[turn % len(sizes)]
        found += splitter.feed(whole[at : at + size])
        at, turn = at + size, turn + 1
    assert found == [line if len(line) <= 8 else None for line in lines if line]


def test_a_long_line_is_not_kept():
    splitter = Lines(limit=10)
    for _ in range(1000):
        assert list(splitter.feed(b"x" * 100)) == []
    assert sum(map(len, splitter._parts)) <= 10
    assert list(splitter.feed(b"\nshort\n")) == [None, b"short"]


class Costly:
    """A clock on which each item costs a millisecond."""

    def __init__(self):
        self.time = 0.0

    def monotonic(self):
        return self.time

    def work(self, _item):
        self.time += 0.001
        return False


async def test_many_lists_at_once_leave_the_loop_free_after_each_turn():
    clock = Costly()
    pace = Pace(clock, turn=0.004)
    rounds = []

    async def watch():
        while True:
            rounds.append(clock.time)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch(), name="watch")
    await asyncio.gather(*(pace.each(range(500), clock.work) for _ in range(10)))
    watching.cancel()
    assert clock.time > 4.9
    assert max(after - before for before, after in pairwise(rounds)) < 0.0055


async def test_a_few_items_wait_for_nothing():
    clock = Costly()
    done = asyncio.Event()
    task = asyncio.create_task(Pace(clock).each([1, 2], clock.work), name="few")
    task.add_done_callback(lambda _: done.set())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done.is_set()


def test_versions_that_are_no_numbers_are_not_compared():
    assert older("9", "10")
    assert not older("10", "9")
    assert not older("a", "b")
    assert not older("", "5")
