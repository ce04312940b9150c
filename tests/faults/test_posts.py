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


@pytest.mark.parametrize("fault", ["kill", pytest.param("503", marks=pytest.mark.slow), pytest.param("drop", marks=pytest.mark.slow)])
def test_lost_only_if_in_flight(rig: Rig, fault: str) -> None:
    told = story.lose(rig, fault, 3, before=3, after=3, rate=RATE, method="POST")
    check_once(rig)
    failed = [each.due - told.failed_at for each in told.samples if each.status != 200]
    # In flight, or (503) three of each pod until it is left out, and once more after four seconds when it is tried again.
    assert len(failed) <= {"kill": 4, "503": 12, "drop": 60}[fault], failed
    assert max(failed, default=0) <= 1, failed
