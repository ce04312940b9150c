"""Faults told from beginning to end: load, loss, healing, figures."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.rig.figures import Loss, loss
from bench.rig.fleet import Pod, Rig
from bench.rig.load import Sample

BEFORE_S = 10.0
"""The learner has to have learnt by then."""
AFTER_S = 8.0
RATE = 300

FAULTS = ("kill", "hang", "503", "drop")


class Told(NamedTuple):
    """One story. `attempts`: sent to pods per request, from the fault on."""

    loss: Loss
    attempts: float
    samples: list[Sample]
    failed_at: float
    healed_at: float


def lose(rig: Rig, fault: str, lasts: float, pods: Sequence[Pod] | None = None, *, before: float = BEFORE_S, after: float = AFTER_S,
         rate: int = RATE, hurt: str = "us", method: str = "GET") -> Told:
    """Pods (all of `us` unless given) fail for some seconds under load. `hurt`: how the names of those begin."""
    load = rig.load(rate, before + lasts + after, method)
    load.until(before)
    attempts = rig.attempts()
    failed_at = rig.fail(fault, pods)
    load.until(before + lasts)
    healed_at = rig.heal(fault, pods)
    samples = load.finish()
    watched = sum(each.due >= failed_at for each in samples)
    return Told(loss(samples, hurt, failed_at, healed_at), (rig.attempts() - attempts) / watched, samples, failed_at, healed_at)


def in_turn(rig: Rig, fault: str, groups: Sequence[Sequence[Pod]], lasts: float, between: float, *, before: float = BEFORE_S,
            rate: int = RATE) -> list[Sample]:
    """One group after the other fails for some seconds and is well again before the next one: flapping where groups are the same."""
    load = rig.load(rate, before + len(groups) * (lasts + between) + 2)
    for number, group in enumerate(groups):
        load.until(before + number * (lasts + between))
        rig.fail(fault, group)
        load.until(before + number * (lasts + between) + lasts)
        rig.heal(fault, group)
    return load.finish()


def steady(rig: Rig, seconds: float, rate: int = RATE, method: str = "GET") -> tuple[list[Sample], float]:
    """Nothing happens; also the attempts per request of what comes after the first ten seconds."""
    load = rig.load(rate, seconds, method)
    load.until(BEFORE_S)
    attempts, since = rig.attempts(), time.monotonic()
    samples = load.finish()
    late = sum(each.due >= since for each in samples)
    return samples, (rig.attempts() - attempts) / max(late, 1)


def rates(rig: Rig, seconds: int) -> tuple[Callable[[], list[float]], threading.Thread]:
    """Attempts per second of the proxy, noted while the load goes on."""
    counts = [rig.attempts()]

    def note() -> None:
        begun = time.monotonic()
        for second in range(1, seconds + 1):
            time.sleep(max(0.0, begun + second - time.monotonic()))
            counts.append(rig.attempts())

    thread = threading.Thread(target=note, name="attempts")
    thread.start()
    return (lambda: [float(after - before) for before, after in itertools.pairwise(counts)]), thread


def with_rig(tell: Callable[[Rig], Told], kind: type[Rig], us: int, eu: int) -> Told:
    """Tell one story with a fleet of its own."""
    with TemporaryDirectory(prefix="flota-loss-") as folder, kind(Path(folder), us, eu) as rig:
        return tell(rig)
