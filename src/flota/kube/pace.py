"""How reflectors share one event loop and one API server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
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
        self._spent = 0.0
        """Seconds taken in this round of the event loop."""

    async def each(self, items: Iterable[T], do: Callable[[T], bool]) -> None:
        """`do` for each, in short turns, until it says True. A few items are done at once, unless others took this round's time."""
        rest = iter(items)
        over = False
        while not over:
            async with self._turns:  # who waits longest is next: a big list holds up no small change
                if self._spent >= self._turn:
                    await asyncio.sleep(0)
                over = self._some(rest, do)

    def _some(self, rest: Iterator[T], do: Callable[[T], bool]) -> bool:
        """What fits into this round; whether nothing is left to do."""
        if not self._spent:
            asyncio.get_running_loop().call_soon(self._next_round)
        began = self._clock.monotonic()
        earlier, over = self._spent, True
        for item in rest:
            if do(item):
                break
            self._spent = earlier + self._clock.monotonic() - began
            if self._spent >= self._turn:
                over = False
                break
        return over

    def _next_round(self) -> None:
        self._spent = 0.0

    @asynccontextmanager
    async def listing(self) -> AsyncIterator[None]:
        """While a list is read."""
        async with self._lists:
            yield
