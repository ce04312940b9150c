"""How long to wait before something that ended is started again: pure arithmetic."""

import msgspec


class Backoff(msgspec.Struct, frozen=True):
    """The rule: at once after the first end, then `base` seconds doubling to `cap`; forgotten after `stable` seconds
    of life.
    """

    base: float
    cap: float
    stable: float

    def crashes(self, before: int, lived: float) -> int:
        """The count of ends in a row after one more, `lived` seconds after its start."""
        return 1 if lived >= self.stable else before + 1

    def delay(self, crashes: int) -> float:
        """Seconds to wait after so many ends in a row."""
        if crashes <= 1:
            return 0.0
        return float(min(self.cap, self.base * 2 ** min(crashes - 2, 30)))


PROXY = Backoff(base=1.0, cap=30.0, stable=10.0)
CONTAINER = Backoff(base=10.0, cap=300.0, stable=600.0)
"""As the kubelet: 10 s doubling to 5 min, reset after 10 min of life."""

CRASH_LOOP = 3
"""So many ends in a row are called a crash loop."""
