"""What single builders write into Envoy's messages, without an Envoy."""

import pytest

from flota.envoy.clusters import ClusterBuilder
from flota.envoy.listeners import ListenerBuilder
from flota.envoy.options import Options
from flota.envoy.protos import Protos, load
from flota.envoy.routes import RouteBuilder
from flota.plan import Backend, FilterChain, Forward, Listener, Match, RouteEntry, RouteSource, WeightedBackend
from flota.plan.backends import PANIC_PERCENT
from flota.settings import Settings

FAR = Backend("b", "b", "Service", "default", "b", 80, "b", "HTTP1", connect_timeout_ms=450)


@pytest.fixture(scope="module")
def protos() -> Protos:
    return load()


@pytest.mark.parametrize(("grpc", "code"), [(True, "SERVICE_UNAVAILABLE"), (False, "INTERNAL_SERVER_ERROR")])
def test_the_share_of_an_unresolved_backend(protos: Protos, grpc: bool, code: str) -> None:
    """GRPCRouteRule.backendRefs: UNAVAILABLE, which is what Envoy makes of 503; HTTPRouteRule.backendRefs: 500."""
    shares = (WeightedBackend("b", 1), WeightedBackend(None, 1))
    entry = RouteEntry(RouteSource("GRPCRoute", "default", "r", 0), Match(grpc=grpc), Forward(shares))
    for route in RouteBuilder(protos, Settings()).routes(entry, "*"):
        action = route.route
        assert type(action).ClusterNotFoundResponseCode.Name(action.cluster_not_found_response_code) == code


def test_a_far_backend_has_the_time_and_the_guard_that_the_plan_says(protos: Protos) -> None:
    cluster = ClusterBuilder(protos, "/roots.pem").cluster(FAR)
    assert cluster.connect_timeout.ToMilliseconds() == FAR.connect_timeout_ms
    assert cluster.common_lb_config.healthy_panic_threshold.value == PANIC_PERCENT


def test_a_port_belongs_to_one_proxy(protos: Protos) -> None:
    """Else the Envoys of two clusters, or fleets, would share its connections, and neither would say so."""
    options = Options()
    listener = Listener("tcp/127.0.0.1/80", "127.0.0.1", 80, "TCP", (FilterChain("tcp", backends=()),))
    message = ListenerBuilder(protos, options).listener(listener, ())
    assert message.HasField("enable_reuse_port")
    assert not message.enable_reuse_port.value
