"""HTTP and gRPC routes as a proxy looks them up: tables of virtual hosts of ordered entries."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from flota.plan.filters import CrossOrigin, ExternalAuth, HeaderChanges, Mirror, Redirect, Rewrite, Session

COLD_MS = 3000
"""A second attempt starts after so long where it was not learnt yet how long answers take: more than an honest two seconds, and little
enough that a client waits once for a region that hangs, and not for ever."""


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


class WeightedBackend(Struct, frozen=True):
    """A share of a rule. `backend` None = a reference that does not resolve: its share is answered 500 (HTTPRouteRule.backendRefs).

    What only this share's requests undergo comes after what the rule says; `redirect` answers them, so that nothing is sent on.
    A share of weight 0 with a `session` has those that began before.
    """

    backend: str | None
    weight: int = 1
    request_headers: HeaderChanges | None = None
    response_headers: HeaderChanges | None = None
    rewrite: Rewrite | None = None
    redirect: Redirect | None = None
    mirrors: tuple[Mirror, ...] = ()
    cors: CrossOrigin | None = None
    auth: tuple[ExternalAuth, ...] = ()
    session: Session | None = None


class Retry(Struct, frozen=True):
    """HTTPRouteRule.retry (GEP-1731), asked for by the user. Codes replace those that `replay` sends again by itself."""

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
    hedge_ms: int | None = COLD_MS
    """Start a second attempt beside the first after this long: learnt, or `COLD_MS`; None = never."""
    sick: bool = False
    """Learnt: all of the backend fails, so that second attempts are throttled."""
    rewrite: Rewrite | None = None
    mirrors: tuple[Mirror, ...] = ()


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
    cors: CrossOrigin | None = None
    auth: tuple[ExternalAuth, ...] = ()
    """All of them must consent, one after the other."""


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
