"""What may not be replayed reaches a pod at most once, whatever dies, and a hang that only such requests meet moves new ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.rig import story
from bench.rig.fleet import Rig

RATE = 100


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path) as rig:
        yield rig


def check_once(rig: Rig) -> None:
    twice = {number: count for number, count in rig.seen("POST").items() if count > 1}
    assert twice == {}


@pytest.mark.parametrize("fault", ["hang", "posts"])
def test_a_hang_that_only_posts_meet(rig: Rig, fault: str) -> None:
    """`posts`: the process lives and answers probes, but no request."""
    told = story.lose(rig, fault, 4, before=11, after=4, rate=RATE, method="POST")
    check_once(rig)
    assert told.loss.failed == 0, "they were answered when the pods woke up"
    waited = [each for each in told.samples if told.failed_at < each.due < told.healed_at and each.pod.startswith("us")]
    assert waited, "nobody noticed the fault"
    assert max(each.due for each in waited) - told.failed_at <= 2 + 5 * told.loss.noise_ms / 1000
    assert told.samples[-1].pod.startswith("us"), "back"


@pytest.mark.parametrize("rate", [30, pytest.param(150, marks=pytest.mark.slow)])
def test_posts_alone_hang_while_gets_are_answered(rig: Rig, rate: int) -> None:
    """A lock, say. By turns of the two methods one pod may get all POSTs, and the other one only when the first is left."""
    gets, posts = rig.load(150, 20, "GET"), rig.load(rate, 20, "POST")
    gets.until(11)
    failed_at = rig.fail("posts")
    gets.until(16)
    healed_at = rig.heal("posts")
    asked, sent = gets.finish(), posts.finish()
    check_once(rig)
    assert [each for each in asked + sent if each.status != 200] == []
    assert max(each.ms for each in asked) < 700, "no GET waits"
    late = max(each.late for each in sent) / 1000
    waited = [each.due - failed_at for each in sent if failed_at < each.due < healed_at and each.pod.startswith("us")]
    assert waited, "the pods hung"
    assert max(waited) <= 2 + 5 * late
    assert {each.pod[:2] for each in (*asked[-20:], *sent[-20:])} == {"us"}, "back"


@pytest.mark.parametrize("delay", [pytest.param(300, marks=pytest.mark.slow), 2000])
def test_posts_that_are_honestly_slow_are_not_moved(tmp_path: Path, delay: int) -> None:
    """Nor are GETs that come beside them, from a cold start on."""
    with Rig(tmp_path, behave=[f"delay {delay}"]) as rig:
        loads = rig.load(20, 14, "POST"), rig.load(20, 14, "GET")
        samples = [each for load in loads for each in load.finish()]
        check_once(rig)
    assert [each for each in samples if each.status != 200 or not each.pod.startswith("us")] == []


@pytest.mark.parametrize("fault", ["kill", pytest.param("503", marks=pytest.mark.slow), pytest.param("drop", marks=pytest.mark.slow)])
def test_lost_only_if_in_flight(rig: Rig, fault: str) -> None:
    told = story.lose(rig, fault, 3, before=3, after=3, rate=RATE, method="POST")
    check_once(rig)
    failed = [each.due - told.failed_at for each in told.samples if each.status != 200]
    # In flight, or (503) three of each pod until it is left out, and once more after four seconds when it is tried again.
    assert len(failed) <= {"kill": 4, "503": 12, "drop": 60}[fault], failed
    assert max(failed, default=0) <= 1, failed
