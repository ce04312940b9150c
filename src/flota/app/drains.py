"""The drains in force. One lasts as long as was asked, whatever the wall clock does meanwhile.

What people read is a time of day, but a clock that is set (by hand, by NTP after a long sleep) must neither end a drain hours early nor
let a region stand idle for hours more. So the two clocks are compared, and times move along with the wall clock when it jumps.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec.structs import replace

from flota.clock import Clock
from flota.fleet.drain import Drain
from flota.latest import Latest

JUMP = timedelta(seconds=2)
"""More than this between two looks is a jump; less is the small correction of a clock that is kept right."""
LOOK_EVERY_S = 60.0
"""The longest that a jump is not noticed while drains are in force."""


class Drains:
    """Holds them. `now` must be read here, so that what is told of a drain and how long it lasts go by the same time."""

    def __init__(self, kept: tuple[Drain, ...], clock: Clock) -> None:
        """`kept`: of the last Flota; those are over at the time of day that was told."""
        self.latest: Latest[tuple[Drain, ...]] = Latest(kept)
        self._clock = clock
        self._began = self._beginning()

    def _beginning(self) -> datetime:
        """The time of day when the monotonic clock stood at 0: another one after a jump."""
        return self._clock.now() - timedelta(seconds=self._clock.monotonic())

    def now(self) -> datetime:
        """The time; what is over by then is gone from `latest`, and a jump of the wall clock is allowed for."""
        began = self._beginning()
        moved = began - self._began
        drains = self.latest.get()
        if abs(moved) >= JUMP:
            self._began = began
            drains = tuple(replace(drain, until=drain.until + moved) for drain in drains)
        now = self._clock.now()
        live = tuple(drain for drain in drains if drain.until > now)
        if live != self.latest.get():
            self.latest.set(live)
        return now

    async def give(self, to: Callable[[tuple[Drain, ...]], None]) -> None:
        """Hand on what is in force, now and when it changes, until cancelled."""
        while True:
            now = self.now()
            live = self.latest.get()
            to(live)
            wait = min((min(LOOK_EVERY_S, (drain.until - now).total_seconds()) for drain in live), default=None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self.latest.changed()
