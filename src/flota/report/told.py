"""What the controllers of a cluster say of its objects, read from their statuses; whoever they are."""

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Struct, field

from flota.fleet.meta import Condition
from flota.plan import ObjectRef

TOLD: Mapping[str, str] = {
    "gateways": "Gateway",
    "listener_sets": "ListenerSet",
    "http_routes": "HTTPRoute",
    "grpc_routes": "GRPCRoute",
    "tls_routes": "TLSRoute",
    "tcp_routes": "TCPRoute",
    "udp_routes": "UDPRoute",
}
"""Collections of `Cluster` whose statuses are read, and their kinds."""
_BAD_WHEN_TRUE = ("Conflicted", "PartiallyInvalid", "OverlappingTLSConfig")
_SAID = ("Accepted", "Programmed", "ResolvedRefs", *_BAD_WHEN_TRUE)


class Address(Struct, frozen=True):
    """An address that a Gateway has."""

    value: str = ""
    type: str = "IPAddress"


class ListenerTold(Struct, frozen=True, rename="camel"):
    """A listener's status."""

    name: str = ""
    attached_routes: int = 0
    conditions: tuple[Condition, ...] = ()


class ParentTold(Struct, frozen=True, rename="camel"):
    """What one controller says of a route at one parent."""

    parent_ref: dict[str, object] = field(default_factory=dict)
    controller_name: str = ""
    conditions: tuple[Condition, ...] = ()

    @property
    def part(self) -> str:
        """`parent/<name>[/<listener>] (<controller>)`."""
        names = [str(self.parent_ref[each]) for each in ("namespace", "name", "sectionName") if each in self.parent_ref]
        return f"parent/{'/'.join(names)} ({self.controller_name})"


class Told(Struct, frozen=True):
    """A status, as far as it is understood."""

    conditions: tuple[Condition, ...] = ()
    addresses: tuple[Address, ...] = ()
    listeners: tuple[ListenerTold, ...] = ()
    parents: tuple[ParentTold, ...] = ()

    def parts(self) -> Iterator[tuple[str, tuple[Condition, ...]]]:
        """(what the conditions are about, the conditions), as in `conditions.parts`."""
        if self.conditions:
            yield "", self.conditions
        for listener in self.listeners:
            yield f"listener/{listener.name}", listener.conditions
        for parent in self.parents:
            yield parent.part, parent.conditions

    def bad(self) -> Iterator[tuple[str, Condition]]:
        """Conditions that are not as they should be, with what they are about. Nobody has looked yet: that is Unknown, and bad too."""
        for part, conditions in self.parts():
            for each in conditions:
                if each.type in _SAID and each.status != ("False" if each.type in _BAD_WHEN_TRUE else "True"):
                    yield part, each


class Reading(Struct, frozen=True, kw_only=True):
    """Clusters that were read from outside, and not everything of them."""

    told: Mapping[ObjectRef, Told] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    """What could not be read, a sentence each: answers do not count it."""
    dark: Mapping[str, str] = field(default_factory=dict)
    """Clusters of which nothing could be read, and why."""


def told(status: bytes) -> Told:
    """A status from its JSON; one that makes no sense says nothing."""
    try:
        return msgspec.json.decode(status, type=Told)
    except msgspec.DecodeError:
        return Told()
