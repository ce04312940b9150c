"""Listening sockets of a proxy and what happens to a connection that arrives there."""

from typing import Literal

from msgspec import Struct

from flota.plan.routes import RouteSource, WeightedBackend


class Secret(Struct, frozen=True):
    """Key material by name: a certificate chain with its key (PEM), or trusted roots. Named by where it comes from, so that a new
    certificate replaces the old one without touching a listener."""

    name: str
    certificate: bytes = b""
    key: bytes = b""
    roots: bytes = b""


class ClientCheck(Struct, frozen=True):
    """Clients show certificates signed by `roots` (a `Secret`). Not `required`: who shows none, or another one, is let in too."""

    roots: str
    required: bool = True


class ServerTLS(Struct, frozen=True):
    """TLS that the proxy terminates. `certificates` name `Secret`s."""

    certificates: tuple[str, ...]
    alpn: tuple[str, ...] = ("h2", "http/1.1")
    minimum: Literal["TLSv1_2", "TLSv1_3"] = "TLSv1_2"
    clients: ClientCheck | None = None


class FilterChain(Struct, frozen=True):
    """Connections with one of these server names (SNI; empty = any). Exactly one of `table` (HTTP) and `backends` (bytes) is set.

    `tls` None on a chain with server names = passthrough.
    """

    name: str
    server_names: tuple[str, ...] = ()
    tls: ServerTLS | None = None
    table: str | None = None
    backends: tuple[WeightedBackend, ...] | None = None
    source: RouteSource | None = None
    """The L4 route the backends come from."""
    idle_timeout_ms: int | None = None


class Listener(Struct, frozen=True):
    """One socket. Named by it: `tcp/<address>/<port>`. UDP has exactly one chain, with backends."""

    name: str
    address: str
    port: int
    protocol: Literal["TCP", "UDP"]
    chains: tuple[FilterChain, ...]
    bind: tuple[str, int] | None = None
    """Where the socket is when that is not `address` and `port`: the proxy of a single Gateway has the wildcard address of its pod and an
    unprivileged port, while `port` is what clients and redirects go by, and `address` is only `<namespace>/<name>`."""
    gateways: tuple[tuple[str, str], ...] = ()
    """(namespace, name) of the Gateways that asked for it; not part of what the proxy gets."""
