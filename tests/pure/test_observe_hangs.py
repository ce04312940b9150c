"""The hang watch, fed with what proxies tell, time handed in; and how long answers usually take."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flota.fleet.signals import Attempt
from flota.observe.hangs import HangWatch, Suspicion
from flota.observe.samples import HostSample
from flota.observe.usual import Usual

A, B = "127.0.0.1:80", "127.0.0.2:80"
LIMITS = {"shop": 250}


class World:
    """One backend, one proxy. Attempts begin with a name and are told of as Envoy does it: every half second, and at the end."""

    def __init__(self) -> None:
        self.watch = HangWatch()
        self.now = 0.0
        self.found: set[Suspicion] = set()
        self._open: dict[str, tuple[float, str, bool, str]] = {}
        self._names = itertools.count()

    def send(self, address: str = A, *, repeatable: bool = False, kind: str = "") -> str:
        name = f"r{next(self._names)}"
        self._open[name] = (self.now, address, repeatable, kind)
        return name

    def end(self, name: str, *, answered: bool = True, good: bool = True) -> None:
        sent, address, repeatable, kind = self._open.pop(name)
        waited = round((self.now - sent) * 1000)
        if not repeatable or not answered:
            told = Attempt(name, "x", address, repeatable, waited, waited if answered else None, good, ended=True, kind=kind)
            self.watch.take(self.now, "shop", told)

    def answer(self, ms: int, address: str = A, **more: object) -> None:
        """One request from beginning to end."""
        name = self.send(address, **more)  # type: ignore[arg-type]
        self.run(ms / 1000)
        self.end(name)

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until - 1e-9:
            step = min(0.1, until - self.now)
            before, self.now = self.now, self.now + step
            for name, (sent, address, repeatable, kind) in self._open.items():
                if int((self.now - sent) / 0.5) > int((before - sent) / 0.5) and (not repeatable or self.now - sent < 1.3):
                    self.watch.take(self.now, "shop", Attempt(name, "x", address, repeatable, 500, kind=kind))
            self.found = self.watch.step(self.now, LIMITS)

    def learn(self, ms: int = 5, count: int = 20, **more: object) -> None:
        for _ in range(count):
            self.answer(ms, **more)


def test_posts_that_wait_while_none_is_answered_make_an_endpoint_stuck_until_it_gives_a_good_answer():
    world = World()
    world.learn()
    names = [world.send() for _ in range(5)]
    world.run(0.6)
    assert world.found == {Suspicion(("shop", A), known=True)}, "a probe is worth it"
    assert world.watch.stuck == {}
    world.run(0.3)
    assert world.watch.stuck.keys() == {("shop", A)}
    world.end(names[0], good=False)
    assert world.watch.stuck.keys() == {("shop", A)}
    world.end(names[1])
    assert world.watch.stuck == {}


def test_what_may_be_repeated_proves_nothing_for_what_may_not():
    world = World()
    world.learn()
    for _ in range(5):
        world.send()
    for _ in range(10):
        world.answer(100, repeatable=True)
    assert world.watch.stuck.keys() == {("shop", A)}


def test_answers_to_others_of_the_same_kind_show_that_nothing_hangs():
    world = World()
    world.learn()
    for _ in range(20):
        world.send()
        world.run(0.2)
        world.answer(5)
    assert world.watch.stuck == {}


def test_the_next_endpoint_needs_less():
    world = World()
    world.learn()
    world.learn(address=B)
    for _ in range(5):
        world.send()
    world.run(1)
    for _ in range(3):
        world.send(B)
    world.run(0.6)
    assert world.watch.stuck.keys() == {("shop", A), ("shop", B)}


@pytest.mark.parametrize("usual", [2000, 700])
def test_honest_slowness_is_not_stuck(usual: int):
    world = World()
    for _ in range(3):
        names = [world.send() for _ in range(10)]
        world.run(usual / 1000)
        for name in names:
            world.end(name)
    for _ in range(10):
        world.send()
    world.run(2 * usual / 1000)
    assert world.watch.stuck == {}
    world.run(3 * usual / 1000)
    assert world.watch.stuck.keys() == {("shop", A)}


def test_from_a_cold_start_nothing_is_stuck_and_a_probe_has_to_be_patient():
    world = World()
    for _ in range(50):
        world.send()
    world.run(3)
    assert world.watch.stuck == {}
    assert world.found == {Suspicion(("shop", A), known=False)}


def test_streams_that_wait_for_news_do_not_make_calls_look_stuck():
    world = World()
    world.learn(kind="/shop/Buy")
    for _ in range(20):
        world.send(kind="/shop/Watch")
    world.run(5)
    assert world.watch.stuck == {}


def test_what_is_stuck_is_named():
    world = World()
    world.learn(kind="/shop/Buy")
    for _ in range(5):
        world.send(kind="/shop/Buy")
    world.run(1)
    assert world.watch.stuck == {("shop", A): "calls of /shop/Buy"}


def test_a_stuck_endpoint_without_requests_is_tried_again_after_a_while():
    world = World()
    world.learn()
    names = [world.send() for _ in range(5)]
    world.run(1)
    for name in names:
        world.end(name, answered=False)
    world.run(3.9)
    assert world.watch.stuck.keys() == {("shop", A)}
    world.run(0.3)
    assert world.watch.stuck == {}
    world.run(70)
    assert not world.watch.busy


def test_a_body_that_comes_slowly_is_the_clients_doing():
    watch = HangWatch()
    for now in range(10):
        watch.take(float(now), "shop", Attempt("r", "x", A, False, None))
        assert watch.step(now + 0.05, LIMITS) == set()


def test_one_attempt_that_got_no_answer_is_looked_into_where_nothing_else_was_answered():
    world = World()
    name = world.send(repeatable=True)
    world.run(0.26)
    world.end(name, answered=False)
    world.run(0.1)
    assert world.found == {Suspicion(("shop", A), known=True)}
    world.run(3)
    assert world.found == set()


def test_an_attempt_that_got_no_answer_beside_others_that_did_is_only_slow():
    world = World()
    name = world.send(repeatable=True)
    for count in range(3):
        world.run(0.1)
        world.watch.look(world.now, [HostSample("shop", A, 0, count, count, "Healthy", "", count)])
    world.end(name, answered=False)
    world.run(0.1)
    assert world.found == set()
    assert world.watch.answered_since(("shop", A), 0.1)
    assert not world.watch.answered_since(("shop", A), world.now)


@given(st.lists(st.tuples(st.sampled_from([1, 5, 40, 300]), st.integers(0, 4)), max_size=60))
def test_an_endpoint_that_answers_within_what_is_usual_is_never_stuck(requests: list[tuple[int, int]]):
    world = World()
    world.learn(300)
    for ms, beside in requests:
        names = [world.send() for _ in range(beside)]
        world.answer(ms)
        for name in names:
            world.end(name)
    assert world.watch.stuck == {}


def test_what_is_usual_is_known_after_twenty_answers():
    usual = Usual()
    for at in range(19):
        usual.note(at, 10)
    assert usual.limit_ms(30) is None
    usual.note(31, 40)
    assert usual.limit_ms(33) == 120
    for at in range(33, 200):
        usual.note(at, 10)
    assert usual.limit_ms(201) == 30, "one in a hundred may be slower"


def test_what_a_hang_leaves_behind_does_not_teach_but_what_lasts_does():
    usual = Usual()
    for at in range(30):
        usual.note(at, 10)
    usual.note(40, 5000)
    usual.note(41, 4000)
    usual.note(42, 10)
    assert usual.limit_ms(43) == 30
    for at in range(50, 65):
        usual.note(at, 2000)
    assert usual.limit_ms(66) == 6000


def test_old_answers_are_forgotten_where_there_are_newer_ones():
    usual = Usual()
    for at in range(600):
        usual.note(at / 10, 300)
    for at in range(600, 1300):
        usual.note(at / 10, 10)
    assert usual.limit_ms(131) == 30
