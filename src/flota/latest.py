"""A cell that holds the newest value and wakes those who follow it.

No queue can grow here: a slow follower sees the newest value, not every value.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """The newest value of one thing. One writer; any number of followers, all on one event loop."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._generation = 0
        self._waiters: set[asyncio.Future[None]] = set()

    def get(self) -> T:
        """The newest value."""
        return self._value

    def set(self, value: T) -> None:
        """Replace the value. The very same object again is no news and wakes nobody."""
        if value is self._value:
            return
        self._value = value
        self._generation += 1
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def changed(self) -> T:
        """Wait for the next change and return the value then."""
        await self._wait(self._generation)
        return self._value

    async def follow(self) -> AsyncIterator[T]:
        """The value now, then the newest one after each change."""
        while True:
            seen = self._generation
            yield self._value
            await self._wait(seen)

    async def _wait(self, seen: int) -> None:
        while self._generation == seen:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
