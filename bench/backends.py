"""Servers that say who they are: started as a process of its own, `python -m bench.backends ADDRESS …`, all on one port."""

import asyncio
import contextlib
import functools
import subprocess
import sys
from collections.abc import Iterator

PORT = 18080


class _Server(asyncio.Protocol):
    def __init__(self, name: bytes) -> None:
        self._answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(name), name)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        *requests, self._data = self._data.split(b"\r\n\r\n")  # only requests without a body come here
        self._transport.write(self._answer * len(requests))  # type: ignore[attr-defined]


async def _serve(addresses: list[str]) -> None:
    loop = asyncio.get_running_loop()
    for address in addresses:
        await loop.create_server(functools.partial(_Server, address.encode()), address, PORT)
    print("ready", flush=True)
    await loop.create_future()


@contextlib.contextmanager
def backends(addresses: list[str]) -> Iterator[None]:
    """Servers on these loopback addresses while the context lasts."""
    with subprocess.Popen([sys.executable, "-m", "bench.backends", *addresses], stdout=subprocess.PIPE) as process:
        try:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError(f"no backend could listen on port {PORT}: is another bench running?")
            yield
        finally:
            process.terminate()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1:]))
