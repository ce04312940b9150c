"""What is spoken to a backend: the route's protocol and the port's appProtocol together (GEP-1911, KEP-3726)."""

from typing import Literal, NamedTuple

Hint = Literal["HTTP", "GRPC", "TCP", "UDP", "TLS"]
"""Of the route that refers to the backend. TLS = passed through; TCP also stands for TLS that the listener ended."""
Spoken = Literal["HTTP1", "HTTP2", "TCP", "UDP"]

_HTTP1 = frozenset({"http", "tcp", "kubernetes.io/ws", "kubernetes.io/wss", "https"})
_HTTP2 = frozenset({"kubernetes.io/h2c", "h2c", "http2", "h2", "grpc", "grpcs"})
_NEEDS_TLS = frozenset({"kubernetes.io/wss", "https", "grpcs", "h2"})


class Protocol(NamedTuple):
    """What is spoken, and the appProtocol's wish that it be inside TLS."""

    spoken: Spoken
    needs_tls: bool


def protocol(hint: Hint, transport: str, app_protocol: str | None) -> Protocol | str:
    """The protocol for a port with this transport (TCP, UDP, SCTP), or why the two do not go together."""
    wanted = "UDP" if hint == "UDP" else "TCP"
    if transport != wanted:
        return f"the port is {transport}, the route needs {wanted}"
    if hint == "UDP":
        return Protocol("UDP", needs_tls=False)
    if hint in ("TCP", "TLS"):
        return Protocol("TCP", needs_tls=False)
    name = (app_protocol or "").lower()
    if name and name not in _HTTP1 | _HTTP2:
        return f"appProtocol {app_protocol} is not one an HTTP route can speak"
    spoken: Spoken = "HTTP2" if hint == "GRPC" or name in _HTTP2 else "HTTP1"
    return Protocol(spoken, needs_tls=name in _NEEDS_TLS)
