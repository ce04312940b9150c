"""Unary gRPC calls with an empty message, on some HTTP/2 connections."""

import asyncio
import itertools
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

CONNECTIONS = 8


class Calls:
    """Answers count as 200 for grpc-status 0, else 500 + grpc-status."""

    def __init__(self, address: str, port: int, prefix: str) -> None:
        self._at = (address, port)
        self._prefix = prefix
        self._open: dict[int, _Http2] = {}
        self._turn = itertools.cycle(range(CONNECTIONS))

    async def exchange(self, number: int) -> tuple[int, str]:
        slot = next(self._turn)
        connection = self._open.get(slot)
        if connection is None or connection.closed:
            _, connection = await asyncio.get_running_loop().create_connection(_Http2, *self._at)
            self._open[slot] = connection
        return await connection.call(f"{self._prefix}{number}", f"{self._at[0]}:{self._at[1]}")


class _Http2(asyncio.Protocol):
    def __init__(self) -> None:
        self._h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._calls: dict[int, tuple[asyncio.Future[tuple[int, str]], dict[str, str]]] = {}
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        transport.write(self._h2.data_to_send())

    def connection_lost(self, _: Exception | None) -> None:
        self.closed = True
        for stream in list(self._calls):
            self._end(stream, ConnectionError("ended"))

    async def call(self, number: str, authority: str) -> tuple[int, str]:
        stream = self._h2.get_next_available_stream_id()
        future: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._calls[stream] = (future, {})
        self._h2.send_headers(stream, [(":method", "POST"), (":scheme", "http"), (":authority", authority), (":path", "/shop.Shop/Buy"),
                                       ("content-type", "application/grpc"), ("te", "trailers"), ("x-id", number)])
        self._h2.send_data(stream, b"\0\0\0\0\0", end_stream=True)
        self._transport.write(self._h2.data_to_send())
        return await future

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            self._take(event)
        self._transport.write(self._h2.data_to_send())

    def _take(self, event: Any) -> None:
        if isinstance(event, ConnectionTerminated):
            self.closed = True
        elif isinstance(event, ResponseReceived | TrailersReceived) and event.stream_id in self._calls:
            self._calls[event.stream_id][1].update(event.headers)
        elif isinstance(event, DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded | StreamReset):
            self._end(event.stream_id, ConnectionError("reset") if isinstance(event, StreamReset) else None)

    def _end(self, stream: int, error: Exception | None) -> None:
        future, heads = self._calls.pop(stream, (None, {}))
        if future is None or future.done():
            return
        if error is not None:
            future.set_exception(error)
            return
        status = int(heads.get("grpc-status", "2"))
        future.set_result((500 + status if status else 200, heads.get("x-pod", "")))
