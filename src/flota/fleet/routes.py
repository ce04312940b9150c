"""HTTPRoute, GRPCRoute, TLSRoute, TCPRoute, UDPRoute (Gateway API v1.6.1, experimental channel)."""

from typing import Annotated, Literal

from msgspec import Meta

from flota.fleet.filters import GRPCRouteFilter, HTTPRouteFilter
from flota.fleet.meta import ObjectMeta, Part
from flota.fleet.references import BackendRef, ParentReference
from flota.fleet.values import (
    Duration,
    Group,
    HeaderName,
    HeaderText,
    Hostname,
    KindName,
    NamespaceName,
    ObjectName,
    PortNumber,
    SectionName,
    Weight,
)

MatchType = Literal["Exact", "RegularExpression"]
HTTPMethod = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]
Hostnames = Annotated[tuple[Hostname, ...], Meta(max_length=16)]
ParentRefs = Annotated[tuple[ParentReference, ...], Meta(max_length=32)]
DefaultGateways = Literal["All", "None"]


class HTTPPathMatch(Part, frozen=True):
    """A path, a prefix of whole path elements, or an RE2 expression for the whole path."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: Annotated[str, Meta(max_length=1024)] = "/"


class HTTPHeaderMatch(Part, frozen=True):
    """A header (names without case) and its value."""

    name: HeaderName
    value: HeaderText
    type: MatchType = "Exact"


class HTTPQueryParamMatch(Part, frozen=True):
    """A query parameter (names with case) and its value."""

    name: HeaderName
    value: Annotated[str, Meta(min_length=1, max_length=1024)]
    type: MatchType = "Exact"


class HTTPRouteMatch(Part, frozen=True):
    """All parts must match."""

    path: HTTPPathMatch = HTTPPathMatch()
    headers: Annotated[tuple[HTTPHeaderMatch, ...], Meta(max_length=16)] = ()
    query_params: Annotated[tuple[HTTPQueryParamMatch, ...], Meta(max_length=16)] = ()
    method: HTTPMethod | None = None


class HTTPBackendRef(Part, frozen=True):
    """A backend, its share, and filters for what goes there."""

    name: ObjectName
    group: Group = ""
    kind: KindName = "Service"
    namespace: NamespaceName | None = None
    port: PortNumber | None = None
    weight: Weight = 1
    filters: Annotated[tuple[HTTPRouteFilter, ...], Meta(max_length=16)] = ()


class HTTPRouteTimeouts(Part, frozen=True):
    """`request`: the whole exchange with the client; `backend_request`: each try. "0s" = no limit (GEP-1742)."""

    request: Duration | None = None
    backend_request: Duration | None = None


class HTTPRouteRetry(Part, frozen=True):
    """Which answers are tried again, how often, and how long apart (GEP-1731)."""

    codes: tuple[Annotated[int, Meta(ge=400, le=599)], ...] = ()
    attempts: Annotated[int, Meta(ge=1)] | None = None
    backoff: Duration | None = None


class CookieConfig(Part, frozen=True):
    """Whether the session's cookie outlives the browser."""

    lifetime_type: Literal["Permanent", "Session"] = "Session"


class SessionPersistence(Part, frozen=True):
    """Requests of one session go to one endpoint (GEP-1619)."""

    session_name: Annotated[str, Meta(max_length=128)] | None = None
    absolute_timeout: Duration | None = None
    type: Literal["Cookie", "Header"] = "Cookie"
    cookie_config: CookieConfig | None = None


class HTTPRouteRule(Part, frozen=True):
    """Where requests that match any of `matches` go."""

    name: SectionName | None = None
    matches: Annotated[tuple[HTTPRouteMatch, ...], Meta(max_length=64)] = (HTTPRouteMatch(),)
    filters: Annotated[tuple[HTTPRouteFilter, ...], Meta(max_length=16)] = ()
    backend_refs: Annotated[tuple[HTTPBackendRef, ...], Meta(max_length=16)] = ()
    timeouts: HTTPRouteTimeouts | None = None
    retry: HTTPRouteRetry | None = None
    session_persistence: SessionPersistence | None = None


class HTTPRouteSpec(Part, frozen=True):
    """Hosts and rules; no hostnames = those of the listener."""

    parent_refs: ParentRefs = ()
    hostnames: Hostnames = ()
    rules: Annotated[tuple[HTTPRouteRule, ...], Meta(min_length=1, max_length=16)] = (HTTPRouteRule(),)
    use_default_gateways: DefaultGateways | None = None


class HTTPRoute(Part, frozen=True, omit_defaults=False):
    """Routes HTTP requests."""

    metadata: ObjectMeta
    spec: HTTPRouteSpec
    api_version: str = "gateway.networking.k8s.io/v1"
    kind: str = "HTTPRoute"


class GRPCMethodMatch(Part, frozen=True):
    """A service, a method, or both."""

    type: MatchType = "Exact"
    service: Annotated[str, Meta(max_length=1024)] | None = None
    method: Annotated[str, Meta(max_length=1024)] | None = None


class GRPCHeaderMatch(Part, frozen=True):
    """A header (names without case) and its value."""

    name: HeaderName
    value: Annotated[str, Meta(min_length=1, max_length=4096)]
    type: MatchType = "Exact"


class GRPCRouteMatch(Part, frozen=True):
    """All parts must match."""

    method: GRPCMethodMatch | None = None
    headers: Annotated[tuple[GRPCHeaderMatch, ...], Meta(max_length=16)] = ()


class GRPCBackendRef(Part, frozen=True):
    """A backend, its share, and filters for what goes there."""

    name: ObjectName
    group: Group = ""
    kind: KindName = "Service"
    namespace: NamespaceName | None = None
    port: PortNumber | None = None
    weight: Weight = 1
    filters: Annotated[tuple[GRPCRouteFilter, ...], Meta(max_length=16)] = ()


class GRPCRouteRule(Part, frozen=True):
    """Where calls that match any of `matches` go; no matches = all calls."""

    name: SectionName | None = None
    matches: Annotated[tuple[GRPCRouteMatch, ...], Meta(max_length=64)] = ()
    filters: Annotated[tuple[GRPCRouteFilter, ...], Meta(max_length=16)] = ()
    backend_refs: Annotated[tuple[GRPCBackendRef, ...], Meta(max_length=16)] = ()
    session_persistence: SessionPersistence | None = None


class GRPCRouteSpec(Part, frozen=True):
    """Hosts and rules; no hostnames = those of the listener."""

    parent_refs: ParentRefs = ()
    hostnames: Hostnames = ()
    rules: Annotated[tuple[GRPCRouteRule, ...], Meta(max_length=16)] = ()
    use_default_gateways: DefaultGateways | None = None


class GRPCRoute(Part, frozen=True, omit_defaults=False):
    """Routes gRPC calls."""

    metadata: ObjectMeta
    spec: GRPCRouteSpec
    api_version: str = "gateway.networking.k8s.io/v1"
    kind: str = "GRPCRoute"


class TLSRouteRule(Part, frozen=True):
    """Where connections go."""

    backend_refs: Annotated[tuple[BackendRef, ...], Meta(min_length=1, max_length=16)]
    name: SectionName | None = None


class TLSRouteSpec(Part, frozen=True):
    """Server names (SNI) and where they go. v1 has one rule and needs hostnames; v1alpha2 is looser."""

    rules: Annotated[tuple[TLSRouteRule, ...], Meta(min_length=1, max_length=16)]
    parent_refs: ParentRefs = ()
    hostnames: Annotated[tuple[Hostname, ...], Meta(max_length=1024)] = ()
    use_default_gateways: DefaultGateways | None = None


class TLSRoute(Part, frozen=True, omit_defaults=False):
    """Routes TLS connections by server name."""

    metadata: ObjectMeta
    spec: TLSRouteSpec
    api_version: str = "gateway.networking.k8s.io/v1"
    kind: str = "TLSRoute"


class TCPRouteRule(Part, frozen=True):
    """Where connections go."""

    backend_refs: Annotated[tuple[BackendRef, ...], Meta(min_length=1, max_length=16)]
    name: SectionName | None = None


class TCPRouteSpec(Part, frozen=True):
    """Where connections to the listener go. v1 has exactly one rule."""

    rules: Annotated[tuple[TCPRouteRule, ...], Meta(min_length=1, max_length=16)]
    parent_refs: ParentRefs = ()
    use_default_gateways: DefaultGateways | None = None


class TCPRoute(Part, frozen=True, omit_defaults=False):
    """Routes TCP connections."""

    metadata: ObjectMeta
    spec: TCPRouteSpec
    api_version: str = "gateway.networking.k8s.io/v1"
    kind: str = "TCPRoute"


class UDPRouteRule(Part, frozen=True):
    """Where datagrams go."""

    backend_refs: Annotated[tuple[BackendRef, ...], Meta(min_length=1, max_length=16)]
    name: SectionName | None = None


class UDPRouteSpec(Part, frozen=True):
    """Where datagrams to the listener go. v1 has exactly one rule."""

    rules: Annotated[tuple[UDPRouteRule, ...], Meta(min_length=1, max_length=16)]
    parent_refs: ParentRefs = ()
    use_default_gateways: DefaultGateways | None = None


class UDPRoute(Part, frozen=True, omit_defaults=False):
    """Routes UDP datagrams."""

    metadata: ObjectMeta
    spec: UDPRouteSpec
    api_version: str = "gateway.networking.k8s.io/v1"
    kind: str = "UDPRoute"
