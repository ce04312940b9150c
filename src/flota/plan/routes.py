"""HTTP and gRPC routes as a proxy looks them up: tables of virtual hosts of ordered entries."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct


class PathMatch(Struct, frozen=True):
    """`Prefix` matches whole path elements: /a matches /a, /a/ and /a/b, not /ab (HTTPPathMatch PathPrefix). `Regex` is RE2,
    full match, without query."""

    kind: Literal["Exact", "Prefix", "Regex"]
    value: str


class ValueMatch(Struct, frozen=True):
    """A header (name lower-case) or query parameter that must have this value; `Regex` is RE2, full match."""

    name: str
    kind: Literal["Exact", "Regex"]
    value: str


class Match(Struct, frozen=True):
    """All parts must hold. gRPC methods arrive here as paths."""

    path: PathMatch = PathMatch("Prefix", "/")
    method: str | None = None
    headers: tuple[ValueMatch, ...] = ()
    query: tuple[ValueMatch, ...] = ()
    grpc: bool = False
    """Only requests whose content-type is application/grpc (GRPCRoute)."""


class HeaderChanges(Struct, frozen=True):
    """Header filter: `set` replaces, `add` appends, `remove` deletes; pairs are (name, value)."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


class WeightedBackend(Struct, frozen=True):
    """A share of a rule. `backend` None = a reference that does not resolve: its share is answered 500 (HTTPRouteRule.backendRefs)."""

    backend: str | None
    weight: int = 1
    request_headers: HeaderChanges | None = None
    response_headers: HeaderChanges | None = None


class Mirror(Struct, frozen=True):
    """A copy of a share of the requests; its answer is thrown away. `numerator`/`denominator` of all requests."""

    backend: str
    numerator: int = 100
    denominator: int = 100


class Rewrite(Struct, frozen=True):
    """URLRewrite: the host and/or path the backend sees. At most one of `full_path` and `prefix` is set."""

    host: str | None = None
    full_path: str | None = None
    prefix: str | None = None
    """Replaces the matched prefix."""


class Retry(Struct, frozen=True):
    """HTTPRouteRule.retry (GEP-1731), asked for by the user: on top of what `replay` does by itself."""

    codes: tuple[int, ...] = ()
    attempts: int | None = None
    backoff_ms: int | None = None


Replay = Literal["Idempotent", "All", "None"]
"""What may be sent again after bytes were sent: idempotent methods, everything, or nothing."""


class Forward(Struct, frozen=True):
    """Send the request to one of the backends by weight. Times in milliseconds; None = not set, 0 = no limit."""

    backends: tuple[WeightedBackend, ...]
    timeout_ms: int | None = None
    """The whole request (timeouts.request)."""
    try_timeout_ms: int | None = None
    """One attempt (timeouts.backendRequest): a hard limit the user asked for."""
    retry: Retry | None = None
    replay: Replay = "Idempotent"
    hedge_ms: int | None = None
    """Learnt: start a second attempt beside the first after this long; None until there is something to go by."""
    sick: bool = False
    """Learnt: all of the backend fails, so that second attempts are throttled."""
    rewrite: Rewrite | None = None
    mirrors: tuple[Mirror, ...] = ()


class Redirect(Struct, frozen=True):
    """RequestRedirect; None keeps what the request had. `port` 0 = leave it out."""

    status: int = 302
    scheme: str | None = None
    host: str | None = None
    port: int | None = None
    full_path: str | None = None
    prefix: str | None = None


class Respond(Struct, frozen=True):
    """Answered by the proxy itself."""

    status: int
    body: str = ""


class RouteSource(Struct, frozen=True):
    """Where an entry comes from. `rule` and `match` are indices into the object; they never reach the proxy, so that
    reordering costs nothing."""

    kind: Literal["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "Gateway"]
    """Gateway: what a listener (`rule_name`) answers itself."""
    namespace: str
    name: str
    rule: int
    match: int = 0
    rule_name: str | None = None


class RouteEntry(Struct, frozen=True):
    """One match of one rule with all that happens to a request that takes it; replaced whole, never in part."""

    source: RouteSource
    match: Match
    action: Forward | Redirect | Respond
    request_headers: HeaderChanges | None = None
    response_headers: HeaderChanges | None = None


class VirtualHost(Struct, frozen=True):
    """`domain`: lower-case `a.example.com`, `*.example.com` or `*`. Entries in order of precedence; the first that matches takes the
    request.

    Entries of less specific hosts of the same listener follow those of the host itself, as Envoy does not fall through.
    """

    domain: str
    entries: tuple[RouteEntry, ...]


class RouteTable(Struct, frozen=True):
    """All virtual hosts one HTTP filter chain can reach. An unknown host or an unmatched request gets 404.

    `sharded`: look-up by scope, cheap to change with many hosts; False for a chain whose one host is known.
    """

    name: str
    hosts: Mapping[str, VirtualHost]
    sharded: bool = True
