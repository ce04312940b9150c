"""What decisions say and edges obey: our intermediate model. It knows no Envoy message, no file and no API server."""

from flota.plan.backends import (
    Backend,
    ClientTLS,
    Endpoint,
    Endpoints,
    HealthCheck,
    Locality,
    State,
    Tier,
)
from flota.plan.listeners import FilterChain, Listener, Secret, ServerTLS
from flota.plan.plan import (
    GatewayStatus,
    ListenerStatus,
    ObjectRef,
    ParentStatus,
    Plan,
    PolicyStatus,
    ProxyPlan,
    RouteStatus,
)
from flota.plan.routes import (
    Forward,
    HeaderChanges,
    Match,
    Mirror,
    PathMatch,
    Redirect,
    Replay,
    Respond,
    Retry,
    Rewrite,
    RouteEntry,
    RouteSource,
    RouteTable,
    ValueMatch,
    VirtualHost,
    WeightedBackend,
)

__all__ = [
    "Backend", "ClientTLS", "Endpoint", "Endpoints", "FilterChain", "Forward", "GatewayStatus", "HeaderChanges", "HealthCheck",
    "Listener", "ListenerStatus", "Locality", "Match", "Mirror", "ObjectRef", "ParentStatus", "PathMatch", "Plan", "PolicyStatus",
    "ProxyPlan", "Redirect", "Replay", "Respond", "Retry", "Rewrite", "RouteEntry", "RouteSource", "RouteStatus", "RouteTable",
    "Secret", "ServerTLS", "State", "Tier", "ValueMatch", "VirtualHost", "WeightedBackend",
]
