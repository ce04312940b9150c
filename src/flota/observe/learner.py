"""How long an attempt may take before a second one runs beside it, and when a backend is sick as a whole.

One `Learner` per backend and proxy, fed with counters; time is handed in. The rules and their figures come from measurements of region loss
("Set T"): a limit of 3 x p99 costs about one second attempt per hundred requests, and with hedging a tight limit costs an attempt,
never a request.
"""

import math
from collections import deque

from msgspec import Struct

from flota.observe.samples import Counters, quantile_edge
from flota.plan.routes import COLD_MS

FLOOR_MS = 250
FACTOR = 3
SHARE = 0.99
LONGEST_MS = 600_000
"""Where answers take longer than the histogram reaches."""
WINDOW_S = 30.0
FIRST_S = 6.0
FIRST_ANSWERS = 100
"""A share of fewer says little: then the slowest answer counts."""
FEW_ANSWERS = 10
FEW_FLOOR_MS = 1000
DISTURBED_SHARE = 0.01
TRAIL_S = 1.6
"""The histogram trails the counters by up to a poll, so answers shortly after a disturbance still carry its waits."""
LASTING_S = 3.0
"""A disturbance that lasts this long is how the backend is now: its answers count again."""
LOWER_AFTER_S = 5.0
SICK_RETRIES = 10
AFTER_SICKNESS_S = 10.0


class _Slice(Struct, frozen=True):
    """What came in between two polls."""

    at: float
    counts: dict[float, int]
    answers: int


class Learner:
    """One backend at one proxy. `per_try_ms` None = nothing to go by yet."""

    def __init__(self) -> None:
        self.per_try_ms: int | None = None
        self.sick = False
        self._last: Counters | None = None
        self._first_answer: float | None = None
        self._seen = 0
        self._slices: deque[_Slice] = deque()
        self._disturbed_since: float | None = None
        self._disturbed_until = -math.inf
        self._votes = 0
        self._well_since = -math.inf
        self._lower_since: float | None = None

    def step(self, now: float, counters: Counters) -> None:
        """Take the counters as they are at `now` (monotonic seconds)."""
        last, self._last = self._last, counters
        if last is None or counters.total < last.total:
            return  # the first look, or a proxy that started afresh: nothing to compare with
        total, retry = counters.total - last.total, counters.retry - last.retry
        self._judge_sickness(now, retry, counters.retry_success - last.retry_success)
        self._note_disturbance(now, total, retry)
        self._take(now, _increments(last, counters))
        self._decide(now)

    def restore(self, per_try_ms: int) -> None:
        """Begin with what an earlier Flota learnt."""
        self.per_try_ms = per_try_ms

    def _judge_sickness(self, now: float, retries: int, successes: int) -> None:
        """Sick when half of the second attempts fail too, twice running; well again by the opposite, twice running."""
        if not self.sick:
            bad = retries >= SICK_RETRIES and successes < 0.5 * retries
        else:
            bad = retries > 0 and successes < 0.8 * retries
            self._well_since = now
        self._votes = self._votes + 1 if bad != self.sick else 0
        if self._votes >= 2:
            self.sick, self._votes = not self.sick, 0

    def _note_disturbance(self, now: float, total: int, retries: int) -> None:
        if retries > DISTURBED_SHARE * max(total, 1):
            if self._disturbed_since is None or now > self._disturbed_until:
                self._disturbed_since = now
            self._disturbed_until = now + TRAIL_S
        elif now > self._disturbed_until:
            self._disturbed_since = None

    def _trusted(self, now: float) -> bool:
        if self.sick or now < self._well_since + AFTER_SICKNESS_S:
            return False
        return self._disturbed_since is None or now - self._disturbed_since > LASTING_S

    def _take(self, now: float, counts: dict[float, int]) -> None:
        answers = sum(counts.values())
        if not answers:
            return
        if self._first_answer is None:
            self._first_answer = now
        if self._trusted(now):
            self._seen += answers
            self._slices.append(_Slice(now, counts, answers))
        kept = sum(part.answers for part in self._slices)
        while self._slices and self._slices[0].at < now - WINDOW_S and kept - self._slices[0].answers >= FIRST_ANSWERS:
            kept -= self._slices.popleft().answers

    def _decide(self, now: float) -> None:
        if self._first_answer is None:
            return
        early = now < self._first_answer + FIRST_S
        counts: dict[float, int] = {}
        for part in self._slices:
            for edge, count in part.counts.items():
                counts[edge] = counts.get(edge, 0) + count
        few = early or self._seen < FIRST_ANSWERS
        slow = quantile_edge(counts, 1.0 if few else SHARE)
        if slow is None:
            return
        wanted = LONGEST_MS if math.isinf(slow) else max(FEW_FLOOR_MS if few else FLOOR_MS, round(FACTOR * slow))
        if (early or self._seen < FEW_ANSWERS) and wanted <= COLD_MS:
            return  # what holds where nothing was learnt is enough
        self._move(now, wanted)

    def _move(self, now: float, wanted: int) -> None:
        """Raise at once, lower only when the lower figure lasts: a limit that flaps would push routes for nothing."""
        current = self.per_try_ms
        if current is None or wanted > current:
            self.per_try_ms, self._lower_since = wanted, None
        elif wanted == current:
            self._lower_since = None
        elif self._lower_since is None:
            self._lower_since = now
        elif now - self._lower_since >= LOWER_AFTER_S:
            self.per_try_ms, self._lower_since = wanted, None


def _increments(last: Counters, now: Counters) -> dict[float, int]:
    """New answers per bucket (upper edge in ms), not cumulative."""
    before = dict(last.buckets)
    grown = [(edge, count - before.get(edge, 0)) for edge, count in now.buckets]
    result: dict[float, int] = {}
    below = 0
    for edge, count in grown:
        if count > below:
            result[edge] = count - below
        below = max(below, count)
    return result
