"""The pod over HTTP/2 by prior knowledge, with gRPC's trailers where a call asks for them."""

import asyncio
import socket
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from bench.rig.pod import Behaviour


class Http2(asyncio.Protocol):
    """A connection with many requests at a time."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._open: dict[int, dict[bytes, bytes]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._socket = socket.socket(fileno=transport.get_extra_info("socket").dup().detach())
        self._behaviour.sockets.add(self._socket)
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, _: Exception | None) -> None:
        self._behaviour.sockets.discard(self._socket)
        self._socket.close()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._take(event)
        except ProtocolError:
            self._transport.close()
        self._flush()

    def _take(self, event: Any) -> None:
        if isinstance(event, RequestReceived):
            self._open[event.stream_id] = dict(event.headers)
        elif isinstance(event, DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamReset):
            self._open.pop(event.stream_id, None)
        elif isinstance(event, StreamEnded) and (head := self._open.get(event.stream_id)) is not None:
            stream = event.stream_id
            self._behaviour.request(head[b":method"], head.get(b"x-id", b"probe"), lambda status, body: self._answer(stream, status, body))

    def _answer(self, stream: int, status: int, body: bytes) -> None:
        head = self._open.pop(stream, None)
        if head is None or self._transport.is_closing():
            return
        grpc = head.get(b"content-type", b"").startswith(b"application/grpc")
        if grpc and status != 200:  # 14 = UNAVAILABLE, 13 = INTERNAL
            self._h2.send_headers(stream, [(b":status", b"200"), (b"content-type", b"application/grpc"),
                                           (b"grpc-status", b"14" if status == 503 else b"13")], end_stream=True)
        else:
            kind = [(b"content-type", b"application/grpc")] if grpc else []
            self._h2.send_headers(stream, [(b":status", b"%d" % status), (b"x-pod", body), *kind])
            self._h2.send_data(stream, b"\0\0\0\0\0" if grpc else body, end_stream=not grpc)
            if grpc:
                self._h2.send_headers(stream, [(b"grpc-status", b"0")], end_stream=True)
        self._flush()

    def _flush(self) -> None:
        self._transport.write(self._h2.data_to_send())
