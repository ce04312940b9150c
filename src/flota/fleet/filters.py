"""What a rule does to requests and responses on their way (Gateway API v1.6.1)."""

from typing import Annotated, Literal

from msgspec import Meta

from flota.fleet.meta import Part
from flota.fleet.references import BackendObjectReference, LocalObjectReference
from flota.fleet.values import HeaderName, HeaderText, Natural, PortNumber, Positive, PreciseHostname

PathText = Annotated[str, Meta(max_length=1024)]


class HTTPHeader(Part, frozen=True):
    """A header and the value it gets."""

    name: HeaderName
    value: HeaderText


class HTTPHeaderFilter(Part, frozen=True):
    """Header changes; names are compared without case."""

    set: Annotated[tuple[HTTPHeader, ...], Meta(max_length=16)] = ()
    add: Annotated[tuple[HTTPHeader, ...], Meta(max_length=16)] = ()
    remove: Annotated[tuple[str, ...], Meta(max_length=16)] = ()


class Fraction(Part, frozen=True):
    """numerator / denominator, at most 1."""

    numerator: Natural
    denominator: Positive = 100


class HTTPRequestMirrorFilter(Part, frozen=True):
    """A copy of the request for another backend, whose answers are dropped; all requests unless a share is given."""

    backend_ref: BackendObjectReference
    percent: Annotated[int, Meta(ge=0, le=100)] | None = None
    fraction: Fraction | None = None


class HTTPPathModifier(Part, frozen=True):
    """A new path, or a new prefix in place of the one that matched."""

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: PathText | None = None
    replace_prefix_match: PathText | None = None


class HTTPRequestRedirectFilter(Part, frozen=True):
    """An answer that sends the client elsewhere. What is None stays as in the request."""

    scheme: Literal["http", "https"] | None = None
    hostname: PreciseHostname | None = None
    path: HTTPPathModifier | None = None
    port: PortNumber | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


class HTTPURLRewriteFilter(Part, frozen=True):
    """Host and path as the backend sees them."""

    hostname: PreciseHostname | None = None
    path: HTTPPathModifier | None = None


CORSOrigin = Annotated[
    str,
    Meta(
        pattern=r"(^\*\Z)|(^https?://((\*\.)?([a-zA-Z0-9\-]+\.)*[a-zA-Z0-9-]+|\*)(:[0-9]{1,5})?\Z)",
        min_length=1,
        max_length=253,
        description="an origin such as https://*.example.com:8443, or *",
    ),
]
CORSMethod = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"]


class HTTPCORSFilter(Part, frozen=True):
    """Cross-origin rules (Fetch standard). `max_age` in seconds."""

    allow_origins: Annotated[tuple[CORSOrigin, ...], Meta(max_length=64)] = ()
    allow_credentials: bool | None = None
    allow_methods: Annotated[tuple[CORSMethod, ...], Meta(max_length=9)] = ()
    allow_headers: Annotated[tuple[HeaderName, ...], Meta(max_length=64)] = ()
    expose_headers: Annotated[tuple[HeaderName, ...], Meta(max_length=64)] = ()
    max_age: Positive = 5


AuthPath = Annotated[str, Meta(pattern=r"^([-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+\Z", max_length=1024)]


class GRPCAuthConfig(Part, frozen=True):
    """External authorisation over gRPC: request headers that are sent along."""

    allowed_headers: Annotated[tuple[str, ...], Meta(max_length=64)] = ()


class HTTPAuthConfig(Part, frozen=True):
    """External authorisation over HTTP."""

    path: AuthPath | None = None
    allowed_headers: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    allowed_response_headers: Annotated[tuple[str, ...], Meta(max_length=64)] = ()


class ForwardBodyConfig(Part, frozen=True):
    """How much of the body the authorisation service gets, in bytes; 0 = none."""

    max_size: Annotated[int, Meta(ge=0, le=65535)] | None = None


class HTTPExternalAuthFilter(Part, frozen=True):
    """Asks another service whether the request may pass (GEP-1494)."""

    protocol: Literal["HTTP", "GRPC"]
    backend_ref: BackendObjectReference
    grpc: GRPCAuthConfig | None = None
    http: HTTPAuthConfig | None = None
    forward_body: ForwardBodyConfig | None = None


class HTTPRouteFilter(Part, frozen=True):
    """One filter; the field that `type` names is the one that is set."""

    type: Literal[
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "ExtensionRef",
        "CORS",
        "ExternalAuth",
    ]
    request_header_modifier: HTTPHeaderFilter | None = None
    response_header_modifier: HTTPHeaderFilter | None = None
    request_mirror: HTTPRequestMirrorFilter | None = None
    request_redirect: HTTPRequestRedirectFilter | None = None
    url_rewrite: HTTPURLRewriteFilter | None = None
    cors: HTTPCORSFilter | None = None
    external_auth: HTTPExternalAuthFilter | None = None
    extension_ref: LocalObjectReference | None = None


class GRPCRouteFilter(Part, frozen=True):
    """One filter; the field that `type` names is the one that is set."""

    type: Literal["ResponseHeaderModifier", "RequestHeaderModifier", "RequestMirror", "ExtensionRef"]
    request_header_modifier: HTTPHeaderFilter | None = None
    response_header_modifier: HTTPHeaderFilter | None = None
    request_mirror: HTTPRequestMirrorFilter | None = None
    extension_ref: LocalObjectReference | None = None
