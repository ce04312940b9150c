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
from flota.plan.filters import CrossOrigin, ExternalAuth, HeaderChanges, Mirror, Redirect, Rewrite, Session
from flota.plan.listeners import ClientCheck, FilterChain, Listener, Secret, ServerTLS
from flota.plan.plan import (
    GatewayStatus,
    ListenerSetStatus,
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
    Match,
    PathMatch,
    Replay,
    Respond,
    Retry,
    RouteEntry,
    RouteSource,
    RouteTable,
    ValueMatch,
    VirtualHost,
    WeightedBackend,
)

__all__ = [
    "Backend", "ClientCheck", "ClientTLS", "CrossOrigin", "Endpoint", "Endpoints", "ExternalAuth", "FilterChain", "Forward",
    "GatewayStatus", "HeaderChanges", "HealthCheck", "Listener", "ListenerSetStatus", "ListenerStatus", "Locality", "Match", "Mirror",
    "ObjectRef", "ParentStatus", "PathMatch", "Plan", "PolicyStatus", "ProxyPlan", "Redirect", "Replay", "Respond", "Retry", "Rewrite",
    "RouteEntry", "RouteSource", "RouteStatus", "RouteTable", "Secret", "ServerTLS", "Session", "State", "Tier", "ValueMatch",
    "VirtualHost", "WeightedBackend",
]
