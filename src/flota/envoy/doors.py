"""Where proxies come in: a unix socket on this machine, or TLS with certificates on both sides from other machines."""

import errno
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from flota.envoy.listening import bind, release

BACKLOG = 100
# A peer that vanished without a word (its node lost power) is noticed after half a minute.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
Certificate = Mapping[str, Any]
"""What `ssl.SSLSocket.getpeercert` tells of a certificate that was checked."""


class Door(Protocol):
    """One way in."""

    tls: ssl.SSLContext | None

    def open(self) -> socket.socket:
        """A listening socket. Raises OSError."""

    def close(self, listening: socket.socket) -> None:
        """Stop listening, and leave nothing behind."""

    def admits(self, certificate: Certificate | None, node: str) -> bool:
        """Whether who showed this certificate may have what is meant for that node."""


class UnixDoor:
    """A socket file, owner-only: who can open it is trusted."""

    tls: ssl.SSLContext | None = None

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self) -> socket.socket:
        return bind(self._path)

    def close(self, listening: socket.socket) -> None:
        release(self._path, listening)

    def admits(self, certificate: Certificate | None, node: str) -> bool:
        return True


class TlsDoor:
    """A TCP port. A proxy shows a certificate of ours, which names its Gateway: it gets what is that Gateway's."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        """`tls` must ask for certificates; what is loaded into it later counts from the next connection on."""
        self.tls: ssl.SSLContext | None = tls
        self.address = (host, port)
        """With the port that was free where 0 was asked for, once open."""

    def open(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE:
                listening.setsockopt(socket.IPPROTO_TCP, option, value)
            listening.bind(self.address)
            listening.listen(BACKLOG)
        except OverflowError as error:  # what Python says of a port above 65535
            listening.close()
            raise OSError(errno.EINVAL, "there is no such port") from error
        except OSError:
            listening.close()
            raise
        self.address = listening.getsockname()[:2]
        return listening

    def close(self, listening: socket.socket) -> None:
        listening.close()

    def admits(self, certificate: Certificate | None, node: str) -> bool:
        names = (certificate or {}).get("subjectAltName", ())
        return any(kind == "URI" and name == gateway_uri(gateway_of(node)) for kind, name in names)


def node_id(gateway: str, pod: str) -> str:
    """The node id of a proxy pod. `gateway`: `<cluster>/<namespace>/<name>`."""
    return f"{gateway}/{pod}"


def gateway_of(node: str) -> str:
    """The Gateway that a node id belongs to."""
    return node.rpartition("/")[0]


def gateway_uri(gateway: str) -> str:
    """The name in the certificate of a Gateway's proxies: a SPIFFE id."""
    return f"spiffe://flota.dev/gateway/{quote(gateway)}"
