"""What has to be looked at: each key once, however often it is asked for, and by one worker at a time."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

from flota.clock import Clock

K = TypeVar("K", bound=Hashable)
Do = Callable[[K], Awaitable[float | None]]
"""Look at a key; seconds after which it wants to be looked at again, None = when it is asked for."""


class Errands(Generic[K]):
    """Keys and when their turn is. No queue can grow beyond the number of keys."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[K, float] = {}
        self._order: list[tuple[float, int, K]] = []
        self._count = 0
        self._busy: set[K] = set()
        self._wake = asyncio.Event()

    def ask(self, keys: Iterable[K], after: float = 0.0) -> None:
        """Look at these, in so many seconds; whoever asks for the earliest time gets it."""
        at = self._clock.monotonic() + after
        for key in keys:
            if at < self._due.get(key, float("inf")):
                self._due[key] = at
                self._push(at, key)

    def forget(self) -> None:
        """Nothing has to be looked at any more."""
        self._due.clear()
        self._order.clear()

    async def work(self, do: Do[K], workers: int = 4) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(workers):
                tasks.create_task(self._worker(do), name=f"errands {number}")

    async def _worker(self, do: Do[K]) -> None:
        while True:
            key = await self._next()
            self._busy.add(key)
            try:
                again = await do(key)
            finally:
                self._busy.discard(key)
            if again is not None:
                self.ask([key], again)
            if key in self._due:
                self._push(self._due[key], key)  # asked for meanwhile

    async def _next(self) -> K:
        while True:
            now = self._clock.monotonic()
            while self._order and self._order[0][0] <= now:
                at, _, key = heapq.heappop(self._order)
                if self._due.get(key) == at and key not in self._busy:
                    del self._due[key]
                    return key
            wait = self._order[0][0] - now if self._order else None
            self._wake.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _push(self, at: float, key: K) -> None:
        self._count += 1
        heapq.heappush(self._order, (at, self._count, key))
        self._wake.set()
