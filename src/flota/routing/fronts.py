"""What routes and sockets see of Gateways and ListenerSets: the result of planning them without their routes."""

from typing import Literal, NamedTuple

from msgspec import Struct

from flota.fleet.gateway import RouteNamespaces
from flota.fleet.meta import Condition, Key
from flota.fleet.problem import Problem
from flota.fleet.proxytemplate import ProxyTemplateSpec
from flota.plan import ObjectRef, Secret, ServerTLS

ParentKind = Literal["Gateway", "ListenerSet"]


class FrontId(NamedTuple):
    """A listener, by the object that defines it."""

    namespace: str
    owner: str
    listener: str
    kind: ParentKind = "Gateway"


class Front(Struct, frozen=True):
    """A listener of a Gateway or of a ListenerSet. `hostname` `*` = all. `addresses` empty = not served.

    `addresses`: where it listens; only `<namespace>/<name>` of the Gateway where that has a proxy of its own.
    """

    id: FrontId
    gateway: Key
    """(namespace, name) of the Gateway whose addresses it is on."""
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
    client_certificate: str | None = None
    """Name of the `Secret` that its Gateway shows to backends which speak TLS."""

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


class ParentFront(Struct, frozen=True):
    """What routes attach to: a Gateway of ours, or a ListenerSet of one. Without `fronts` nothing can attach."""

    ref: ObjectRef
    generation: int
    addresses: tuple[str, ...]
    conditions: tuple[Condition, ...]
    fronts: tuple[Front, ...]
    problems: tuple[Problem, ...]
    listener_sets: int = 0
    """How many ListenerSets take part in a Gateway."""
    is_default: bool = False
    """Whether a Gateway takes routes that name no parent (spec.defaultScope)."""
    secrets: tuple[Secret, ...] = ()
    """What the Gateway itself refers to: the certificate that it shows to backends."""
    template: ProxyTemplateSpec | None = None
    """How the Gateway's own proxies are to run."""

    @property
    def key(self) -> Key:
        """(namespace, name)."""
        return self.ref.namespace, self.ref.name

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"{self.ref.kind} {self.ref.namespace}/{self.ref.name}"
