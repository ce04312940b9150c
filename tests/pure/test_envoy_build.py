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
    message = protos.to_dict(ListenerBuilder(protos, options).resource(listener).body)
    assert message["enable_reuse_port"] is False


def test_chains_that_stay_are_not_encoded_again(protos: Protos, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    builder = ListenerBuilder(protos, Options())
    encode = builder._chain
    monkeypatch.setattr(builder, "_chain", lambda of, chain, links: (made.append(chain.name), encode(of, chain, links))[1])
    chains = [FilterChain(f"tls/{at}", (f"{at}.org",), backends=()) for at in range(3)]
    for several in (chains[:2], chains, chains[1:]):
        listener = Listener("tcp/127.0.0.1/443", "127.0.0.1", 443, "TCP", tuple(several))
        found = builder.resource(listener)
        assert found.version == ListenerBuilder(protos, Options()).resource(listener).version
        assert [each["name"] for each in protos.to_dict(found.body)["filter_chains"]] == [each.name for each in several]
    assert made == ["tls/0", "tls/1", "tls/2"]
    builder.forget_others(())
    builder.resource(listener)
    assert made == ["tls/0", "tls/1", "tls/2", "tls/1", "tls/2"]
