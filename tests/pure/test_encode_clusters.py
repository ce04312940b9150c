"""Backends and endpoints as Envoy has them."""

from typing import Any

import pytest
from encode_plans import backend, endpoints
from google.protobuf import json_format

from flota.envoy.clusters import ClusterBuilder, needs
from flota.envoy.endpoints import EndpointsBuilder
from flota.envoy.protos import load
from flota.envoy.wire import EDS, SDS
from flota.plan import Backend, ClientTLS, Endpoint, Endpoints, HealthCheck, Locality, State, Tier

PROTOS = load()
ROOTS = "/roots.pem"


def cluster(one: Backend) -> dict[str, Any]:
    message = ClusterBuilder(PROTOS, ROOTS).cluster(one)
    return json_format.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=PROTOS._pool)


def assignment(one: Endpoints, check_port: int | None = None) -> dict[str, Any]:
    message = EndpointsBuilder(PROTOS).assignment(one, check_port)
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def test_what_keeps_requests_from_failing() -> None:
    got = cluster(backend("a"))
    assert got["name"] == backend("a").name
    assert "service_name" not in got["eds_cluster_config"]
    assert got["alt_stat_name"] == "service/default/a/80"
    assert got["ignore_health_on_host_removal"]
    assert got["common_lb_config"] == {"update_merge_window": "0s", "healthy_panic_threshold": {"value": 10.0}}
    assert got["circuit_breakers"]["thresholds"][0]["retry_budget"] == {"budget_percent": {"value": 20.0}, "min_retry_concurrency": 100}
    check = got["health_checks"][0]
    assert (check["interval"], check["no_traffic_interval"], check["timeout"]) == ("0.250s", "0.250s", "0.200s")
    assert (check["unhealthy_threshold"], check["healthy_threshold"], check["tcp_health_check"]) == (2, 1, {})
    outlier = got["outlier_detection"]
    assert (outlier["base_ejection_time"], outlier["max_ejection_time"], outlier["max_ejection_percent"]) == ("2s", "8s", 100)
    off = [name for name, value in outlier.items() if name.startswith("enforcing") and value == 0]
    assert len(off) == 5


@pytest.mark.parametrize(("after", "threshold", "base", "most"), [
    (0, 1, "2s", "8s"), (2000, 8, "2s", "8s"), (2100, 9, "2.100s", "8s"), (10_000, 40, "10s", "10s")])
def test_fail_back(after: int, threshold: int, base: str, most: str) -> None:
    got = cluster(backend("a", fail_back_ms=after))
    assert got["health_checks"][0]["healthy_threshold"] == threshold
    assert (got["outlier_detection"]["base_ejection_time"], got["outlier_detection"]["max_ejection_time"]) == (base, most)


def test_http_checks() -> None:
    got = cluster(backend("a", "HTTP2", health=HealthCheck(1000, 500, path="/ready", host="h")))["health_checks"][0]["http_health_check"]
    assert (got["path"], got["host"], got["codec_client_type"]) == ("/ready", "h", "HTTP2")
    assert got["expected_statuses"] == [{"start": "200", "end": "400"}]


@pytest.mark.parametrize(("tls", "scheme", "port", "own"), [
    (None, "HTTP", None, None), (None, "HTTP", 81, None), (None, "HTTPS", 81, "tls"), (None, "HTTPS", None, None),
    (ClientTLS("x"), "HTTP", 81, "raw_buffer"), (ClientTLS("x"), "HTTPS", 81, None), (ClientTLS("x"), "HTTP", None, None),
])
def test_checks_on_a_port_of_their_own(tls: ClientTLS | None, scheme: Any, port: int | None, own: str | None) -> None:
    got = cluster(backend("a", tls=tls, health=HealthCheck(1000, 500, path="/", port=port, scheme=scheme)))
    matches = got.get("transport_socket_matches", [])
    assert [each["transport_socket"]["name"] for each in matches] == ([f"envoy.transport_sockets.{own}"] if own else [])
    assert ("transport_socket_match_criteria" in got["health_checks"][0]) == bool(own)


def test_what_depends_on_the_protocol() -> None:
    kinds = {protocol: cluster(backend("a", protocol, health=None)) for protocol in ("HTTP1", "HTTP2", "TCP", "UDP")}
    assert [name for name, one in kinds.items() if "typed_extension_protocol_options" in one] == ["HTTP1", "HTTP2"]
    assert [name for name, one in kinds.items() if "outlier_detection" not in one] == ["UDP"]
    assert not any("health_checks" in one for one in kinds.values())
    assert cluster(backend("a", "TCP", close_on_failure=True))["close_connections_on_host_health_failure"]
    assert "locality_weighted_lb_config" in cluster(backend("a", strict_weights=True))["common_lb_config"]


def test_tls_names_and_roots() -> None:
    one = backend("a", "HTTP2", tls=ClientTLS("sni.test", "ca", dns_names=("x.test",), uris=("spiffe://x",)))
    context = cluster(one)["transport_socket"]["typed_config"]
    combined = context["common_tls_context"]["combined_validation_context"]
    assert combined["validation_context_sds_secret_config"]["name"] == "ca"
    names = combined["default_validation_context"]["match_typed_subject_alt_names"]
    assert [(each["san_type"], each["matcher"]["exact"]) for each in names] == [("DNS", "x.test"), ("URI", "spiffe://x")]
    assert (context["sni"], context["common_tls_context"]["alpn_protocols"]) == ("sni.test", ["h2"])
    assert needs(one) == {(EDS, one.name), (SDS, "ca")}
    system = cluster(backend("a", tls=ClientTLS("sni.test")))["transport_socket"]["typed_config"]["common_tls_context"]
    assert system["validation_context"]["trusted_ca"] == {"filename": ROOTS}
    assert system["validation_context"]["match_typed_subject_alt_names"][0]["matcher"] == {"exact": "sni.test"}


def test_tiers_are_priorities_without_gaps() -> None:
    empty = Tier((Locality("c", "r", "", ()),))
    one, two = endpoints("a", 1, 2).tiers
    got = assignment(Endpoints("a", (empty, one, empty, two), overprovisioning=143))
    assert [each.get("priority", 0) for each in got["endpoints"]] == [0, 1]
    assert got["policy"] == {"overprovisioning_factor": 143}
    assert got["endpoints"][0]["locality"] == {"region": "r1", "sub_zone": "c1"}
    assert got["endpoints"][0]["lb_endpoints"][0]["metadata"]["filter_metadata"]["flota"] == {"cluster": "c1", "region": "r1"}


@pytest.mark.parametrize(("state", "health"), [
    ("Healthy", "HEALTHY"), ("Unknown", "HEALTHY"), ("Suspect", "HEALTHY"), ("Draining", "DRAINING"), ("Dead", "UNHEALTHY")])
def test_states(state: State, health: str) -> None:
    one = Endpoints("a", (Tier((Locality("c", "r", "z", (Endpoint("::1", 80, state),), weight=3),)),))
    got = assignment(one, check_port=81)["endpoints"][0]
    assert got["lb_endpoints"][0]["health_status"] == health
    assert got["lb_endpoints"][0]["endpoint"]["health_check_config"] == {"port_value": 81}
    assert got["load_balancing_weight"] == 3


def test_backends_that_share_endpoints_have_their_own_assignment() -> None:
    builder = EndpointsBuilder(PROTOS)
    one, two = (builder.resource(each, endpoints("a", 1)) for each in (backend("a"), backend("b")))
    assert PROTOS.to_dict(one.body)["cluster_name"] == backend("a").name
    assert PROTOS.to_dict(two.body) == {**PROTOS.to_dict(one.body), "cluster_name": backend("b").name}
