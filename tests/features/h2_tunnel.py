"""Both ends of an extended CONNECT (RFC 8441): a client that opens a WebSocket as an HTTP/2 stream, and a server that takes one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, RequestReceived, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes

Headers = list[tuple[str, str]]


class Peer:
    """One end of an HTTP/2 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, client: bool, connect: bool = True) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = H2Connection(H2Configuration(client_side=client, header_encoding="utf-8", validate_outbound_headers=False))
        if not client and connect:
            self.h2.local_settings = self._with_connect()
        self.h2.initiate_connection()
        self.flush()

    def _with_connect(self) -> Any:
        settings = self.h2.local_settings
        settings.update({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
        return settings

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    async def events(self) -> AsyncIterator[Event]:
        """What the other end says, until it closes."""
        while data := await self.reader.read(1 << 16):
            for event in self.h2.receive_data(data):
                if isinstance(event, DataReceived):
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                yield event
            self.flush()


class Tunnel:
    """A stream that a client opened by `:protocol websocket`."""

    def __init__(self, peer: Peer, stream: int, headers: dict[str, str]) -> None:
        self._peer = peer
        self._stream = stream
        self.headers = headers

    async def say(self, data: bytes) -> bytes:
        """Send bytes, and what comes back next. Nothing else may be under way on the connection."""
        self._peer.h2.send_data(self._stream, data)
        self._peer.flush()
        async with asyncio.timeout(5):
            async for event in self._peer.events():
                if isinstance(event, DataReceived) and event.stream_id == self._stream:
                    return event.data or b""
        raise ConnectionError


class Browser:
    """One HTTP/2 connection with as many WebSockets as one likes."""

    def __init__(self, peer: Peer, scheme: str) -> None:
        self._peer = peer
        self._scheme = scheme

    async def open(self, host: str) -> Tunnel:
        """Open one. Raises ConnectionError when the stream is reset."""
        return await self._ask([
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", self._scheme), (":path", "/"), (":authority", host),
            ("sec-websocket-version", "13"),
        ])  # fmt: skip

    async def connect(self, host: str) -> Tunnel:
        """A CONNECT as to a forward proxy. Raises ConnectionError when the stream is reset."""
        return await self._ask([(":method", "CONNECT"), (":authority", host)])

    async def _ask(self, asked: Headers) -> Tunnel:
        stream = self._peer.h2.get_next_available_stream_id()
        self._peer.h2.send_headers(stream, asked)
        self._peer.flush()
        async with asyncio.timeout(5):
            async for event in self._peer.events():
                if isinstance(event, ResponseReceived) and event.stream_id == stream:
                    return Tunnel(self._peer, stream, dict(event.headers or []))
                if isinstance(event, StreamReset | ConnectionTerminated):
                    break
        raise ConnectionError("the stream was reset")

    def offers_connect(self) -> bool:
        """Whether the server has said that it takes extended CONNECTs; known once it has answered something."""
        return bool(self._peer.h2.remote_settings.enable_connect_protocol)


@contextlib.asynccontextmanager
async def browser(port: int, **connection: Any) -> AsyncIterator[Browser]:
    """A connection to a port of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **connection)
    try:
        yield Browser(Peer(reader, writer, client=True), "https" if "ssl" in connection else "http")
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def tunnel_server() -> AsyncIterator[tuple[int, list[dict[str, str]]]]:
    """Speaks HTTP/2 only, answers a tunnel with its own bytes in capitals and anything else with its path; the requests that came."""
    seen: list[dict[str, str]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, client=False)
        with contextlib.suppress(ConnectionError):
            async for event in peer.events():
                if isinstance(event, RequestReceived):
                    headers = dict(event.headers or [])
                    seen.append(headers)
                    peer.h2.send_headers(event.stream_id, [(":status", "200")], end_stream=":protocol" not in headers)
                elif isinstance(event, DataReceived):
                    peer.h2.send_data(event.stream_id, (event.data or b"").upper())
                elif isinstance(event, StreamEnded) and ":protocol" in seen[-1]:
                    peer.h2.end_stream(event.stream_id)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], seen
