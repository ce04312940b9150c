"""Time, handed in: decisions never look at a clock, edges look at this one."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where edges get the time from; tests hand in their own."""

    def now(self) -> datetime:
        """Wall time, with time zone. May jump; use it for what people read and for expiries."""

    def monotonic(self) -> float:
        """Seconds that only grow; use it for waits and intervals."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
