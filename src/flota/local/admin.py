"""A small HTTP/1.1 client for Envoy's admin interface on a unix socket: one request, one connection, always with a
time limit.
"""

import asyncio
from pathlib import Path

import msgspec

LIMIT = 64 << 20
"""The longest answer that is read, in bytes."""


class Answer(msgspec.Struct, frozen=True):
    """What the admin interface answered."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class AdminError(ConnectionError):
    """No answer: nobody listens, the connection broke, or the time was up."""


class Admin:
    """Envoy's admin interface behind one socket path. Holds no connection, so it outlives any number of Envoys."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def get(self, target: str, timeout: float = 2.0) -> Answer:  # noqa: ASYNC109
        """Raises AdminError."""
        return await self._request("GET", target, timeout)

    async def post(self, target: str, timeout: float = 2.0) -> Answer:  # noqa: ASYNC109
        """Raises AdminError."""
        return await self._request("POST", target, timeout)

    async def _request(self, method: str, target: str, seconds: float) -> Answer:
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_unix_connection(str(self.path), limit=LIMIT)
                try:
                    fields = "host: admin\r\ncontent-length: 0\r\nconnection: close"
                    writer.write(f"{method} {target} HTTP/1.1\r\n{fields}\r\n\r\n".encode())
                    return await _answer(reader)
                finally:
                    writer.close()
        except TimeoutError:
            raise AdminError(f"no answer from {self.path} within {seconds:g} s") from None
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            raise AdminError(f"{self.path}: {error}") from error


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ")[1])
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if fields.get("transfer-encoding", "").lower() == "chunked":
        return Answer(status, await _chunks(reader))
    if "content-length" in fields:
        return Answer(status, await reader.readexactly(int(fields["content-length"])))
    return Answer(status, await reader.read())


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    return b"".join(parts)
