"""What the clients' counts mean. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from flota.cli.demo.load import Sample

PROMPT_S = 0.25
"""An answer slower than this is not yet the normal state after a shift."""
_STEADY = 100
"""Traffic has moved when so many requests in a row, all but one of them, are answered promptly from elsewhere."""


class Figures(NamedTuple):
    """Of some requests: how many, how many failed, latencies in seconds, and requests by the region that served them."""

    total: int
    failed: int
    median: float
    p99: float
    worst: float
    served_by: dict[str, int]


def figures(samples: Sequence[Sample]) -> Figures:
    """Count them. Zeros without any."""
    took = sorted(each.took for each in samples)
    served: dict[str, int] = {}
    for each in samples:
        if not each.failed:
            served[each.served_by] = served.get(each.served_by, 0) + 1
    return Figures(
        total=len(samples),
        failed=sum(each.failed for each in samples),
        median=quantile(took, 0.5),
        p99=quantile(took, 0.99),
        worst=took[-1] if took else 0.0,
        served_by=dict(sorted(served.items())),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def shift(samples: Sequence[Sample], client: str, since: float, until: float, *, away: bool) -> float | None:
    """Seconds from `since` until the clients' traffic was served from elsewhere (`away`) or from their own region again.

    That is the end of the last request before a steady row of prompt answers from the right place; None = it did not get there.
    """
    mine = sorted(each for each in samples if each.client == client and since <= each.sent < until)
    wrong = [each.failed or (each.served_by == client) is away or each.took > PROMPT_S for each in mine]
    for first in range(len(mine) - _STEADY + 1):
        if sum(wrong[first : first + _STEADY]) <= 1 and not wrong[first]:
            late = [each.sent + each.took - since for each, bad in zip(mine[:first], wrong[:first], strict=True) if bad]
            return max(late, default=0.0)
    return None
