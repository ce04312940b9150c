"""How reflectors share one event loop and one API server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

from flota.kube.timing import Clock

TURN_S = 0.004
"""Seconds of decoding between two looks at the event loop, of all reflectors together."""
LISTS = 4
"""Lists at a time: an API server that comes back is not asked for everything at once."""
T = TypeVar("T")


class Pace:
    """One for all reflectors of a process: one turn at a time, a few lists at a time."""

    def __init__(self, clock: Clock, *, turn: float = TURN_S, lists: int = LISTS) -> None:
        self._clock = clock
        self._turn = turn
        self._turns = asyncio.Lock()
        self._lists = asyncio.Semaphore(lists)

    async def each(self, items: Iterable[T], do: Callable[[T], bool]) -> None:
        """`do` for each, in short turns, until it says True. A few items are done at once, without waiting for the next round."""
        rest = iter(items)
        while True:
            async with self._turns:
                end = self._clock.monotonic() + self._turn
                for item in rest:
                    if do(item):
                        return
                    if self._clock.monotonic() >= end:
                        break
                else:
                    return
            await asyncio.sleep(0)

    @asynccontextmanager
    async def listing(self) -> AsyncIterator[None]:
        """While a list is read."""
        async with self._lists:
            yield
