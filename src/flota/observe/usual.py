"""How long answers to requests that may not be repeated usually take, so that a hang of just these can be told from honest slowness."""

from collections import deque

FACTOR = 3
FEWEST = 20
SHARE = 0.99
MANY = 500
RECENT_S = 60.0
FORGET_S = 3600.0
LASTING_S = 10.0
"""Answers that are slower than anything usual don't teach, as they are what a hang leaves behind; when they last, they do."""
ANEW_S = 1.0


class Usual:
    """Of one backend and kind of request. Where there is little traffic it remembers long, as slow requests are rare there."""

    def __init__(self) -> None:
        self._answers: deque[tuple[float, int]] = deque()
        self._strange: float | None = None
        self._limit: int | None = None
        self._computed = float("-inf")

    def note(self, now: float, ms: int) -> None:
        """A good answer began after so long."""
        limit = self.limit_ms(now)
        if limit is None or ms <= limit:
            self._strange = None
        elif self._strange is None or now - self._strange < LASTING_S:
            self._strange = now if self._strange is None else self._strange
            return
        self._answers.append((now, ms))
        while self._answers and self._old(now, self._answers[0][0]):
            self._answers.popleft()

    def limit_ms(self, now: float) -> int | None:
        """Longer than this is not usual; None while too little is known."""
        if self._limit is None or now - self._computed >= ANEW_S:
            self._computed, self._limit = now, self._compute()
        return self._limit

    def _old(self, now: float, at: float) -> bool:
        return now - at > (RECENT_S if len(self._answers) > MANY else FORGET_S)

    def _compute(self) -> int | None:
        count = len(self._answers)
        if count < FEWEST:
            return None
        ordered = sorted(ms for _, ms in self._answers)
        return FACTOR * ordered[int(count * SHARE) if count >= 100 else -1]
