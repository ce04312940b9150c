"""Clients near each region: requests at a fixed rate, whether answers come or not, each one counted.

HTTP/1.1 by hand over kept connections: a library would cost more than the fleet does, on the same machine.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import NamedTuple

PATIENCE_S = 3.0
"""A client that has no answer after so long gives up: the request failed."""


class Sample(NamedTuple):
    """One request. Times are monotonic seconds; `status` 0 = no answer; `served_by` = region that answered."""

    sent: float
    took: float
    client: str
    status: int
    served_by: str

    @property
    def failed(self) -> bool:
        """Not answered, or not with 200."""
        return self.status != 200


class Target(NamedTuple):
    """The Gateway that is nearest to some clients."""

    address: str
    port: int


class Load:
    """`rate` requests per second from the clients of each region to their Gateway."""

    def __init__(self, targets: Mapping[str, Target], rate: float) -> None:
        self._targets = targets
        self._rate = rate
        self._idle: dict[str, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {client: [] for client in targets}
        self.samples: list[Sample] = []

    async def run(self, seconds: float) -> None:
        """Send for so long, then wait for the last answers."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for number, client in enumerate(self._targets):
                    # Clients of different regions send in turn, not all at the same moment.
                    offset = number / len(self._targets) / self._rate
                    tasks.create_task(self._pace(client, offset, seconds, tasks), name=f"clients near {client}")
        finally:
            await self._hang_up()

    async def _hang_up(self) -> None:
        for connections in self._idle.values():
            while connections:
                _, writer = connections.pop()
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _pace(self, client: str, offset: float, seconds: float, tasks: asyncio.TaskGroup) -> None:
        start = time.monotonic() + offset
        for number in range(int(seconds * self._rate)):
            due = start + number / self._rate
            wait = due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            tasks.create_task(self._request(client, due), name="request")

    async def _request(self, client: str, due: float) -> None:
        """Time counts from when the request was due: one that had to wait for us is as slow as the user finds it."""
        status, served_by = 0, ""
        try:
            async with asyncio.timeout(PATIENCE_S):
                status, served_by = await self._exchange(client)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            pass  # no answer: status 0 says so
        self.samples.append(Sample(due, time.monotonic() - due, client, status, served_by))

    async def _exchange(self, client: str) -> tuple[int, str]:
        target, idle = self._targets[client], self._idle[client]
        reader, writer = idle.pop() if idle else await asyncio.open_connection(target.address, target.port)
        kept = False
        try:
            writer.write(f"GET / HTTP/1.1\r\nHost: {target.address}:{target.port}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").lower().split("\r\n")
            length = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)
            body = (await reader.readexactly(length)).decode("latin-1")
            kept = "connection: close" not in lines
            return int(lines[0].split(" ")[1]), body.partition(" ")[0]
        finally:
            if kept:
                idle.append((reader, writer))
            else:
                writer.close()
