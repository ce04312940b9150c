"""What routes and sockets see of Gateways: the result of planning them without their routes."""

from typing import NamedTuple

from msgspec import Struct

from flota.fleet.gateway import RouteNamespaces
from flota.fleet.meta import Condition, Key
from flota.fleet.problem import Problem
from flota.plan import ObjectRef, Secret, ServerTLS


class FrontId(NamedTuple):
    """A listener of a Gateway."""

    namespace: str
    gateway: str
    listener: str


class Front(Struct, frozen=True):
    """A listener of a Gateway. `hostname` `*` = all. `addresses` empty = not served.

    `addresses`: where it listens; only `<namespace>/<name>` of the Gateway where that has a proxy of its own.
    """

    id: FrontId
    hostname: str
    port: int
    protocol: str
    kinds: tuple[str, ...]
    """Kinds of routes it takes (all of the Gateway API's group)."""
    namespaces: RouteNamespaces
    conditions: tuple[Condition, ...]
    addresses: tuple[str, ...] = ()
    tls: ServerTLS | None = None
    """TLS that ends here; None on a TLS listener = passthrough."""
    secrets: tuple[Secret, ...] = ()

    @property
    def transport(self) -> str:
        """TCP or UDP."""
        return "UDP" if self.protocol == "UDP" else "TCP"

    @property
    def scheme(self) -> str:
        """Scheme of the requests that arrive: `http` or `https`."""
        return "https" if self.protocol == "HTTPS" else "http"

    @property
    def table(self) -> str:
        """Name of the route table its requests are looked up in: by address and port, and for HTTPS by hostname, as
        there the server name has already chosen the listener."""
        socket = f"{min(self.addresses)}/{self.port}"
        return f"https/{socket}/{self.hostname}" if self.protocol == "HTTPS" else f"http/{socket}"

    @property
    def sockets(self) -> tuple[str, ...]:
        """Names of the plan's listeners it is part of."""
        return tuple(f"{self.transport.lower()}/{address}/{self.port}" for address in self.addresses)


class GatewayFront(Struct, frozen=True):
    """A Gateway of ours."""

    ref: ObjectRef
    generation: int
    addresses: tuple[str, ...]
    conditions: tuple[Condition, ...]
    fronts: tuple[Front, ...]
    problems: tuple[Problem, ...]

    @property
    def key(self) -> Key:
        """(namespace, name)."""
        return self.ref.namespace, self.ref.name
