"""The gRPC health check (grpc.health.v1), by hand on raw bytes: two small messages need no generated code."""

from typing import Any

from grpclib.client import Channel
from grpclib.const import Cardinality
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

_METHOD = "/grpc.health.v1.Health/Check"
_SERVING = 1


class _Raw(CodecBase):
    """Messages are bytes already."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


async def check(host: str, port: int, service: str) -> str | None:
    """None when the service says SERVING, else why not. Raises OSError when there is no connection."""
    name = service.encode()
    # HealthCheckRequest {string service = 1}; names are short (a DNS-like name), one length byte is enough.
    request = (b"\x0a" + bytes([len(name)]) + name) if 0 < len(name) < 128 else b""
    channel = Channel(host, port, codec=_Raw())
    try:
        async with channel.request(_METHOD, Cardinality.UNARY_UNARY, bytes, bytes) as stream:
            await stream.send_message(request, end=True)
            answer = await stream.recv_message() or b""
    except (GRPCError, ProtocolError, StreamTerminatedError) as error:
        return f"gRPC: {error}"
    finally:
        channel.close()
    # HealthCheckResponse {ServingStatus status = 1}; SERVING is 1.
    return None if answer[:2] == bytes([0x08, _SERVING]) else "gRPC: not SERVING"
