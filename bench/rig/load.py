"""An open-loop client. Run as a process: ADDRESS PORT RATE SECONDS METHOD PREFIX FILE; "ready" on stdout, starts at once.

Requests go out by schedule, however late the answers are, and times count from the schedule. At the end one line per request is
in FILE: number, due (monotonic seconds), milliseconds, status (0 = no answer), name of the pod, how
late it was sent.
"""

import asyncio
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

PATIENCE_S = 20.0


class Sample(NamedTuple):
    """One request."""

    number: int
    due: float
    ms: float
    status: int
    pod: str
    late: float
    """Milliseconds that the client itself was late to send it: how busy the machine was."""


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.waiting: asyncio.Future[tuple[int, str, bool]] | None = None
        self._data = b""
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        self.open = False
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(ConnectionError("ended"))

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        if len(body) < length or self.waiting is None or self.waiting.done():
            return
        pod = next((line[6:].strip() for line in lines if line.startswith(b"x-pod:")), b"")
        self._data = b""
        self.waiting.set_result((int(lines[0].split()[1]), pod.decode(), b"connection: close" not in lines))


class Load:
    """Requests by schedule. `exchange`: number → status and pod; raises OSError."""

    def __init__(self, exchange: Callable[[int], Awaitable[tuple[int, str]]]) -> None:
        self._exchange = exchange
        self.samples: list[Sample] = []

    async def run(self, rate: float, seconds: float) -> None:
        """Until the last was answered."""
        start = time.monotonic() + 0.05
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(rate * seconds)):
                due = start + number / rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                tasks.create_task(self._one(number, due), name=f"request {number}")

    async def _one(self, number: int, due: float) -> None:
        status, pod, late = 0, "", (time.monotonic() - due) * 1000
        try:
            async with asyncio.timeout(PATIENCE_S):
                status, pod = await self._exchange(number)
        except (OSError, TimeoutError):
            pass  # status 0 says so
        self.samples.append(Sample(number, due, (time.monotonic() - due) * 1000, status, pod, late))


class Requests:
    """HTTP/1.1 on kept connections."""

    def __init__(self, address: str, port: int, method: str, prefix: str) -> None:
        self._at = (address, port)
        self._method = method
        self._prefix = prefix
        self._idle: list[_Connection] = []

    async def exchange(self, number: int) -> tuple[int, str]:
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                break
        else:
            _, connection = await asyncio.get_running_loop().create_connection(_Connection, *self._at)
        connection.waiting = asyncio.get_running_loop().create_future()
        body = "x" * 50 if self._method == "POST" else ""
        head = f"{self._method} / HTTP/1.1\r\nhost: shop.example.com\r\nx-id: {self._prefix}{number}\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.transport.write((head + body).encode())
        kept = False
        try:
            status, pod, kept = await connection.waiting
        finally:
            if kept:
                self._idle.append(connection)
            else:
                connection.transport.close()
        return status, pod


def main() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)  # a hang holds many connections
    address, port, rate, seconds, method, prefix, file = sys.argv[1:]
    if method == "GRPC":
        from bench.rig.calls import Calls

        load = Load(Calls(address, int(port), prefix).exchange)
    else:
        load = Load(Requests(address, int(port), method, prefix).exchange)
    print("ready", flush=True)
    asyncio.run(load.run(float(rate), float(seconds)))
    ordered = sorted(load.samples)
    rows = (f"{each.number} {each.due:.4f} {each.ms:.2f} {each.status} {each.pod or '-'} {each.late:.2f}\n" for each in ordered)
    Path(file).write_text("".join(rows))


if __name__ == "__main__":
    main()
