"""GatewayClass, Gateway and ListenerSet (Gateway API v1.6.1, experimental channel)."""

from typing import Annotated, Literal

from msgspec import Meta, field

from flota.fleet.meta import LabelSelector, ObjectMeta, Part
from flota.fleet.references import (
    GATEWAY_GROUP,
    LocalObjectReference,
    ObjectReference,
    ParametersReference,
    ParentGatewayReference,
    SecretObjectReference,
)
from flota.fleet.values import (
    ControllerName,
    Group,
    Hostname,
    KindName,
    LabelText,
    ObjectName,
    OptionText,
    PortNumber,
    SectionName,
)

ListenerProtocol = Annotated[
    str,
    Meta(
        pattern=r"^([a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?"
        r"|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9]+)\Z",
        min_length=1,
        max_length=255,
        description="HTTP, HTTPS, TLS, TCP, UDP, or domain/name of an implementation",
    ),
]
"""HTTP, HTTPS, TLS, TCP, UDP, or `domain/name` of an implementation."""
AddressType = Annotated[
    str,
    Meta(
        pattern=r"^(Hostname|IPAddress|NamedAddress"
        r"|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+)\Z",
        min_length=1,
        max_length=253,
        description="IPAddress, Hostname, NamedAddress, or domain/name of an implementation",
    ),
]
TLSOptions = Annotated[dict[str, OptionText], Meta(max_length=16)]


class GatewayClassSpec(Part, frozen=True):
    """Who implements Gateways of the class."""

    controller_name: ControllerName
    parameters_ref: ParametersReference | None = None
    description: Annotated[str, Meta(max_length=64)] | None = None


class GatewayClass(Part, frozen=True, omit_defaults=False):
    """A class of Gateways. Cluster-scoped."""

    metadata: ObjectMeta
    spec: GatewayClassSpec
    api_version: str = "gateway.networking.k8s.io/v1"
    kind: str = "GatewayClass"


class RouteGroupKind(Part, frozen=True):
    """A kind of route that a listener takes."""

    kind: KindName
    group: Group = GATEWAY_GROUP


class RouteNamespaces(Part, frozen=True):
    """Namespaces whose routes a listener takes."""

    from_: Literal["All", "Selector", "Same"] = field(name="from", default="Same")
    selector: LabelSelector | None = None


class AllowedRoutes(Part, frozen=True):
    """Routes that may attach to a listener; no kinds = those the protocol implies."""

    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: Annotated[tuple[RouteGroupKind, ...], Meta(max_length=8)] = ()


class ListenerTLSConfig(Part, frozen=True):
    """TLS of a listener (formerly GatewayTLSConfig)."""

    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    certificate_refs: Annotated[tuple[SecretObjectReference, ...], Meta(max_length=64)] = ()
    options: TLSOptions = field(default_factory=dict)


class Listener(Part, frozen=True):
    """A port, protocol and hostname that a Gateway (or a ListenerSet) listens on."""

    name: SectionName
    port: PortNumber
    protocol: ListenerProtocol
    hostname: Hostname | None = None
    tls: ListenerTLSConfig | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()


class GatewaySpecAddress(Part, frozen=True):
    """An address asked for; without a value the implementation picks one of the type."""

    type: AddressType = "IPAddress"
    value: Annotated[str, Meta(max_length=253)] | None = None


class GatewayInfrastructure(Part, frozen=True):
    """Labels, annotations and parameters of what is made for a Gateway."""

    labels: Annotated[dict[str, LabelText], Meta(max_length=8)] = field(default_factory=dict)
    annotations: Annotated[dict[str, OptionText], Meta(max_length=16)] = field(default_factory=dict)
    parameters_ref: LocalObjectReference | None = None


class ListenerNamespaces(Part, frozen=True):
    """Namespaces whose ListenerSets a Gateway takes."""

    from_: Literal["All", "Selector", "Same", "None"] = field(name="from", default="None")
    selector: LabelSelector | None = None


class AllowedListeners(Part, frozen=True):
    """ListenerSets that may attach to a Gateway."""

    namespaces: ListenerNamespaces = ListenerNamespaces()


class FrontendTLSValidation(Part, frozen=True):
    """How client certificates are checked."""

    ca_certificate_refs: Annotated[tuple[ObjectReference, ...], Meta(min_length=1, max_length=16)]
    mode: Literal["AllowValidOnly", "AllowInsecureFallback"] = "AllowValidOnly"


class TLSConfig(Part, frozen=True):
    """TLS towards clients, of a port or of all."""

    validation: FrontendTLSValidation | None = None


class TLSPortConfig(Part, frozen=True):
    """TLS towards clients on one port."""

    port: PortNumber
    tls: TLSConfig


class FrontendTLSConfig(Part, frozen=True):
    """TLS towards clients."""

    default: TLSConfig
    per_port: Annotated[tuple[TLSPortConfig, ...], Meta(max_length=64)] = ()


class GatewayBackendTLS(Part, frozen=True):
    """The certificate that the Gateway shows to backends."""

    client_certificate_ref: SecretObjectReference | None = None


class GatewayTLSConfig(Part, frozen=True):
    """Gateway spec.tls."""

    backend: GatewayBackendTLS | None = None
    frontend: FrontendTLSConfig | None = None


class GatewaySpec(Part, frozen=True):
    """What a Gateway should be."""

    gateway_class_name: ObjectName
    listeners: Annotated[tuple[Listener, ...], Meta(min_length=1, max_length=64)]
    addresses: Annotated[tuple[GatewaySpecAddress, ...], Meta(max_length=16)] = ()
    infrastructure: GatewayInfrastructure | None = None
    allowed_listeners: AllowedListeners | None = None
    tls: GatewayTLSConfig | None = None
    default_scope: Literal["All", "None"] | None = None


class Gateway(Part, frozen=True, omit_defaults=False):
    """An entry point for traffic."""

    metadata: ObjectMeta
    spec: GatewaySpec
    api_version: str = "gateway.networking.k8s.io/v1"
    kind: str = "Gateway"


class ListenerSetSpec(Part, frozen=True):
    """Listeners that another namespace adds to a Gateway (GEP-1713)."""

    parent_ref: ParentGatewayReference
    listeners: Annotated[tuple[Listener, ...], Meta(min_length=1, max_length=64)]


class ListenerSet(Part, frozen=True, omit_defaults=False):
    """More listeners for a Gateway."""

    metadata: ObjectMeta
    spec: ListenerSetSpec
    api_version: str = "gateway.networking.k8s.io/v1"
    kind: str = "ListenerSet"
