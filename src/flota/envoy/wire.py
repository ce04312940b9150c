"""Resources as bytes made once, and the delta xDS messages that are put together from those bytes by hand.

Source: Envoy's xDS protocol, envoy/service/discovery/v3/discovery.proto (field numbers below). Knows nothing of plans.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

_PREFIX = "type.googleapis.com/"
CDS = f"{_PREFIX}envoy.config.cluster.v3.Cluster"
EDS = f"{_PREFIX}envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = f"{_PREFIX}envoy.config.listener.v3.Listener"
RDS = f"{_PREFIX}envoy.config.route.v3.RouteConfiguration"
SRDS = f"{_PREFIX}envoy.config.route.v3.ScopedRouteConfiguration"
SDS = f"{_PREFIX}envoy.extensions.transport_sockets.tls.v3.Secret"

TypeUrl = str
Ref = tuple[TypeUrl, str]


class Resource(msgspec.Struct, frozen=True, eq=False):
    """One xDS resource, ready to send. Compared by identity first, then by version.

    `version` is a digest of the content, never a counter: a proxy that reconnects names it, and gets what differs.
    `needs` are ALL the resources that this one refers to: they arrive before it and outlive it.
    """

    name: str
    version: str
    body: bytes  # a serialised google.protobuf.Any
    needs: frozenset[Ref] = frozenset()


Snapshot = Mapping[TypeUrl, Mapping[str, Resource]]


class _Serialisable(Protocol):
    def SerializeToString(self, *, deterministic: bool = ...) -> bytes: ...  # noqa: N802  (protobuf's name)


def resource(type_url: TypeUrl, name: str, message: _Serialisable | bytes, needs: Iterable[Ref] = ()) -> Resource:
    """A resource from its message, or from the message's own serialised bytes (joined from cached parts, say)."""
    value = message if isinstance(message, bytes) else message.SerializeToString(deterministic=True)
    body = field(1, type_url.encode()) + field(2, value)
    version = hashlib.blake2b(body, digest_size=10).hexdigest()
    return Resource(name=name, version=version, body=body, needs=frozenset(needs))


def delta_response(type_url: TypeUrl, nonce: str, resources: Iterable[Resource], removed: Iterable[str]) -> bytes:
    """A serialised DeltaDiscoveryResponse: resources=2, type_url=4, nonce=5, removed_resources=6."""
    parts = [field(2, entry(one)) for one in resources]
    parts += (field(4, type_url.encode()), field(5, nonce.encode()))
    parts += [field(6, name.encode()) for name in removed]
    return b"".join(parts)


def entry(one: Resource) -> bytes:
    """One serialised discovery.v3.Resource: version=1, resource=2, name=3."""
    return field(1, one.version.encode()) + field(2, one.body) + field(3, one.name.encode())


def field(number: int, value: bytes) -> bytes:
    """A length-delimited protobuf field (numbers up to 15)."""
    return bytes((number << 3 | 2,)) + varint(len(value)) + value


def varint(value: int) -> bytes:
    """A non-negative integer in protobuf's base-128 encoding."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
