"""References between objects (Gateway API v1.6.1 object_reference_types.go, shared_types.go)."""

from flota.fleet.meta import Part
from flota.fleet.values import (
    Group,
    KindName,
    NamespaceName,
    ObjectName,
    PortNumber,
    SectionName,
    Weight,
)

GATEWAY_GROUP = "gateway.networking.k8s.io"
X_GROUP = "gateway.networking.x-k8s.io"
"""Kinds of the Gateway API that are experiments as a whole."""
MCS_GROUP = "multicluster.x-k8s.io"
FLOTA_GROUP = "flota.dev"


class ParentReference(Part, frozen=True):
    """What a route wants to be attached to. `namespace` None = that of the route."""

    name: ObjectName
    group: Group = GATEWAY_GROUP
    kind: KindName = "Gateway"
    namespace: NamespaceName | None = None
    section_name: SectionName | None = None
    port: PortNumber | None = None


class ParentGatewayReference(Part, frozen=True):
    """The Gateway that a ListenerSet adds listeners to."""

    name: ObjectName
    group: Group = GATEWAY_GROUP
    kind: KindName = "Gateway"
    namespace: NamespaceName | None = None


class LocalObjectReference(Part, frozen=True):
    """An object of the same namespace."""

    group: Group
    kind: KindName
    name: ObjectName


class ObjectReference(Part, frozen=True):
    """An object, perhaps of another namespace (then a ReferenceGrant must allow it)."""

    group: Group
    kind: KindName
    name: ObjectName
    namespace: NamespaceName | None = None


class ParametersReference(Part, frozen=True):
    """GatewayClass spec.parametersRef."""

    group: Group
    kind: KindName
    name: ObjectName
    namespace: NamespaceName | None = None


class SecretObjectReference(Part, frozen=True):
    """A Secret, perhaps of another namespace."""

    name: ObjectName
    group: Group = ""
    kind: KindName = "Secret"
    namespace: NamespaceName | None = None


class BackendObjectReference(Part, frozen=True):
    """A backend without a weight: where mirrors and external authorisation send to."""

    name: ObjectName
    group: Group = ""
    kind: KindName = "Service"
    namespace: NamespaceName | None = None
    port: PortNumber | None = None


class BackendRef(Part, frozen=True):
    """A backend with its share of the traffic (of TLSRoute, TCPRoute, UDPRoute)."""

    name: ObjectName
    group: Group = ""
    kind: KindName = "Service"
    namespace: NamespaceName | None = None
    port: PortNumber | None = None
    weight: Weight = 1
