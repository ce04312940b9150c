"""What grpclib needs to be told: bytes stay bytes, a closed server closes its connections, and what is closed is not written to."""

import weakref
from collections.abc import Mapping
from typing import Any, Protocol

from grpclib.const import Handler
from grpclib.encoding.base import CodecBase
from grpclib.protocol import H2Protocol
from grpclib.server import Server


class Service(Protocol):
    """What grpclib serves."""

    def __mapping__(self) -> Mapping[str, Handler]:
        """Handlers by path."""


class RawCodec(CodecBase):
    """Requests are parsed, responses are sent as the bytes that they are already."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: Any) -> bytes:
        return message

    def decode(self, data: bytes, message_type: Any) -> Any:
        return message_type.FromString(data)


class Open:
    """A transport that drops what is written after its end. asyncio's TLS transport raises AttributeError when it was closed twice
    (Python 3.11 to 3.13), which no handler expects; grpclib ends its streams when the connection is lost."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Protocol(H2Protocol):
    def connection_made(self, transport: Any) -> None:
        super().connection_made(Open(transport))  # type: ignore[arg-type]  # all that grpclib uses of a transport


class GrpcServer(Server):
    """grpclib's server, which by itself only stops listening and lets a client open new streams on old connections."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._protocols: weakref.WeakSet[H2Protocol] = weakref.WeakSet()

    def _protocol_factory(self) -> H2Protocol:
        protocol = _Protocol(super()._protocol_factory().handler, self._config, self._h2_config)
        self._protocols.add(protocol)
        return protocol

    def close(self) -> None:
        super().close()
        for protocol in list(self._protocols):
            if hasattr(protocol, "connection"):  # set when the transport is there
                protocol.connection.close()
