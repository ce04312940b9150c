"""Time as this package needs it; handed in, so that tests have their own."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

Sleep = Callable[[float], Awaitable[None]]
"""Waits for so many seconds."""
Jitter = Callable[[], float]
"""A number from 0.0 up to 1.0, a different one each time."""


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """Wall time with time zone; it may jump."""

    def monotonic(self) -> float:
        """Seconds that only grow."""


def backoff(attempt: int, jitter: float, *, base: float, cap: float) -> float:
    """Seconds to wait before attempt number `attempt` (from 1): doubling, bounded, between half and all of it by `jitter`."""
    whole = min(cap, base * 2.0 ** min(attempt - 1, 30))
    return whole * (0.5 + 0.5 * jitter)
