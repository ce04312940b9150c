"""Backends and the endpoints behind them: what becomes Envoy clusters and load assignments."""

from typing import Literal

from msgspec import Struct

State = Literal["Healthy", "Draining", "Suspect", "Dead", "Unknown"]
"""Healthy: serves. Draining: told to leave, finishes what it has. Suspect: its cluster is silent but the data path works, so it is kept.
Dead: the data path fails. Unknown: nothing was observed yet; used like Healthy."""


PANIC_PERCENT = 10
"""Envoy's healthy_panic_threshold for every backend: a tier with fewer healthy endpoints than this, in percent, uses all of
its endpoints when all tiers together cannot carry the load. Never 0: that would answer 503 when the last signal is lost."""


class HealthCheck(Struct, frozen=True):
    """An active check of every endpoint. `path` None = TCP connect. Times in milliseconds."""

    interval_ms: int
    timeout_ms: int
    path: str | None = None
    host: str | None = None
    port: int | None = None
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"


class RetryBudget(Struct, frozen=True):
    """So many second attempts there may be at a time: `percent` of the requests of the last `interval_ms`, at least `least`."""

    percent: int
    interval_ms: int
    least: int


class ClientTLS(Struct, frozen=True):
    """TLS towards the endpoints (BackendTLSPolicy, GEP-1897). `ca` names a `Secret` of the proxy plan; None = the system's roots."""

    sni: str
    ca: str | None = None
    dns_names: tuple[str, ...] = ()
    """Subject alternative names of type DNS, one of which the endpoint's certificate must have; `sni` where the policy names none."""
    uris: tuple[str, ...] = ()
    certificate: str | None = None
    """The `Secret` that the proxy shows to endpoints which ask for a certificate (GEP-3155; XBackend spec.tls)."""


class Backend(Struct, frozen=True):
    """One distinct (backend, policy, TLS) of one proxy: one Envoy cluster, named by its content."""

    name: str
    """`<kind>/<namespace>/<name>/<port>/<digest>`; the digest covers everything below except `label`."""
    label: str
    """How people call it, without dots: `serviceimport/default/shop/8080`; also the name in Envoy's statistics."""
    kind: Literal["Service", "ServiceImport", "XBackend"]
    namespace: str
    service: str
    port: int
    endpoints: str
    """The `Endpoints` of the proxy plan behind it."""
    protocol: Literal["HTTP1", "HTTP2", "TCP", "UDP"]
    """HTTP2 = h2c or h2 by prior knowledge (appProtocol kubernetes.io/h2c, or a GRPCRoute); WebSocket upgrades go over HTTP1."""
    tls: ClientTLS | None = None
    health: HealthCheck | None = None
    fail_back_ms: int = 0
    """How long an endpoint that came back must be well before it counts (TrafficPolicy spec.failBack.after)."""
    close_on_failure: bool = False
    """End connections to an endpoint that the checks gave up (TCP: the connection itself is the request)."""
    strict_weights: bool = False
    """Locality weights decide the split inside a tier."""
    dns: bool = False
    """Addresses of its endpoints are names: the proxy asks DNS (XBackend)."""
    retry_budget: RetryBudget | None = None
    """Asked for by a policy; None = Flota's own."""
    connect_timeout_ms: int = 250
    """How long a connection may take: three round trips to the farthest place, if that is known and more than this."""


class Endpoint(Struct, frozen=True):
    """One address and port that answers for a backend."""

    address: str
    port: int
    state: State = "Healthy"
    cause: str = ""
    """Why it is in that state, one sentence; empty for a healthy one."""


class Locality(Struct, frozen=True):
    """The endpoints of one place. `weight` splits a tier where the backend has `strict_weights`; else None."""

    cluster: str
    region: str
    zone: str
    endpoints: tuple[Endpoint, ...]
    weight: int | None = None
    why: str = ""
    """Why this place is in this tier: `same zone`, `80 ms away`, `tiers[1] of policy default/shop`."""


class Tier(Struct, frozen=True):
    """Places of equal rank: one Envoy priority."""

    localities: tuple[Locality, ...]


class Endpoints(Struct, frozen=True):
    """All endpoints of one backend as one proxy ranks them: nearest tier first (EDS, priorities 0..N without gaps)."""

    name: str
    tiers: tuple[Tier, ...]
    overprovisioning: int = 140
    """Percent, Envoy's overprovisioning factor: the next tier gets a share when healthy% x this / 100 < 100."""
