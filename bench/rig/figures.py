"""What came of the requests: pure functions of samples."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from bench.rig.load import Sample

SETTLED_S = 0.5


class Loss(NamedTuple):
    """The figures of one fault; times in seconds, latencies in milliseconds beyond the median of before."""

    requests: int
    failed: int
    shift_s: float
    worst_ms: float
    p999_ms: float
    noise_ms: float
    """How late the client itself was at worst: what a busy machine adds to all of this."""
    back_s: float | None
    """None: the lost region had no request again."""


def loss(samples: Sequence[Sample], hurt: str, failed_at: float, healed_at: float) -> Loss:
    """`hurt`: pods whose names start like this were lost at `failed_at` and well again at `healed_at`."""
    usual = median(each.ms for each in samples if each.due < failed_at)
    watched = [each for each in samples if each.due >= failed_at - 1]
    added = sorted(max(0.0, each.ms - usual) for each in watched) or [0.0]
    return Loss(
        requests=len(samples),
        failed=sum(each.status != 200 for each in samples),
        shift_s=shift(samples, hurt, failed_at, healed_at),
        worst_ms=added[-1],
        p999_ms=added[int(len(added) * 0.999)] if len(added) > 1 else added[-1],
        noise_ms=max((each.late for each in watched), default=0.0),
        back_s=back(samples, hurt, healed_at),
    )


def shift(samples: Sequence[Sample], hurt: str, failed_at: float, healed_at: float) -> float:
    """Seconds until no request was served by the lost pods, or failed, any more. A late answer of a pod that woke up doesn't count
    for its region unless its request had waited all that time."""
    bad = [each.due for each in samples if failed_at <= each.due < healed_at
           and (each.status != 200 or (each.pod.startswith(hurt) and each.due + each.ms / 1000 > failed_at))]
    return max(bad, default=failed_at) - failed_at


def back(samples: Sequence[Sample], hurt: str, healed_at: float) -> float | None:
    """Seconds from healing until all requests of half a second were served by those pods again."""
    after = [each for each in samples if each.due >= healed_at]
    away = max((each.due for each in after if not each.pod.startswith(hurt)), default=healed_at)
    if not after or after[-1].due - away < SETTLED_S:
        return None
    return away - healed_at
