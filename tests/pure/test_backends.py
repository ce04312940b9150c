"""What a reference to a backend stands for."""

from datetime import UTC, datetime

import pytest
from backend_fleets import (
    IMPORT,
    IMPORTED,
    KEY,
    NOT_READY,
    SERVICE,
    STOPPING,
    cluster,
    endpoint,
    fleet,
    outcome,
    piece,
    places,
    policy,
    resolved,
    service,
    with_policy,
)
from msgspec.structs import replace

from flota.fleet.core import Endpoint, EndpointConditions, EndpointPort, ServicePort
from flota.fleet.drain import Drain
from flota.fleet.mcs import ServiceImportPort
from flota.fleet.meta import LabelSelector, ObjectMeta, TemplateMeta
from flota.fleet.pods import (
    Container,
    ContainerPort,
    Deployment,
    DeploymentSpec,
    HTTPGetAction,
    PodSpec,
    PodTemplateSpec,
    Probe,
    TCPSocketAction,
)
from flota.fleet.policy import FailBack, TrafficHealthCheck
from flota.fleet.signals import Signals
from flota.plan import HealthCheck
from flota.routing.backends import Unresolved
from flota.routing.view import BackendKey

US = cluster("us", "us-east")
EU = cluster("eu", "eu-west")
PAIR = fleet(US, EU, distances={("us-east", "eu-west"): 80})


def states(found):
    return {
        f"{each.address}:{each.port}": (each.state, each.cause)
        for tier in found.endpoints.tiers
        for place in tier.localities
        for each in place.endpoints
    }


def addresses(found):
    return sorted(states(found))


def test_a_service_has_the_endpoints_of_its_own_cluster():
    found = resolved(PAIR, ref=SERVICE)
    assert places(found.endpoints) == [["us"]]
    assert found.backend.kind == "Service"
    assert found.backend.label == found.endpoints.name == "service/default/shop/80"
    assert found.backend.name.startswith("service/default/shop/80/")


def test_an_import_has_those_of_all_clusters_that_export_it():
    assert places(resolved(PAIR).endpoints) == [["us"], ["eu"]]
    kept_home = fleet(US, cluster("eu", "eu-west", exported=False))
    assert places(resolved(kept_home).endpoints) == [["us"]]
    assert places(resolved(kept_home, "eu").endpoints) == [["us"]]


def test_the_name_says_the_content():
    name = resolved(PAIR).backend.name
    assert resolved(fleet(EU, US, distances=PAIR.distances)).backend.name == name, "order of clusters"
    more = fleet(cluster("us", "us-east", 5), EU, distances=PAIR.distances)
    assert resolved(more).backend.name == name, "endpoints come and go without a new cluster in the proxy"
    assert resolved(PAIR, hint="GRPC").backend.name != name
    assert resolved(with_policy(PAIR, policy(health_check=TrafficHealthCheck("/up")))).backend.name != name
    assert resolved(with_policy(PAIR, policy(replay="None"))).backend.fail_back_ms == 2_000


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        (SERVICE._replace(name="nowhere"), "BackendNotFound"),
        (IMPORT._replace(name="nowhere"), "BackendNotFound"),
        (SERVICE._replace(port=81), "BackendNotFound"),
        (IMPORT._replace(port=81), "BackendNotFound"),
        (SERVICE._replace(port=None), "BackendNotFound"),
        (BackendKey("", "Pod", "default", "shop", 80), "InvalidKind"),
        (BackendKey("", "ServiceImport", "default", "shop", 80), "InvalidKind"),
    ],
)
def test_what_does_not_resolve(ref, reason):
    found = outcome(PAIR, ref=ref)
    assert isinstance(found, Unresolved)
    assert found.reason == reason
    assert found.message


def test_an_import_of_one_port_needs_no_port():
    assert resolved(PAIR, ref=IMPORT._replace(port=None)).backend.port == 80


def test_external_names_are_not_followed():
    external = cluster("us", "us-east", services={KEY: service(type="ExternalName", external_name="a.example")})
    found = outcome(fleet(external, EU), ref=SERVICE)
    assert isinstance(found, Unresolved)
    assert found.reason == "InvalidKind"
    assert places(resolved(fleet(external, EU)).endpoints) == [["eu"]], "nor exported"


def test_a_service_without_slices_is_empty_not_missing():
    found = resolved(fleet(cluster("us", "us-east", endpoint_slices={})), ref=SERVICE)
    assert found.endpoints.tiers == ()


def test_slices_merge():
    slices = {
        ("default", "a"): piece("a", [endpoint("10.0.0.1"), endpoint("10.0.0.2", conditions=STOPPING)]),
        ("default", "b"): piece("b", [endpoint("10.0.0.1"), endpoint("10.0.0.2"), endpoint("10.0.0.3", conditions=NOT_READY)]),
        ("default", "c"): piece("c", [endpoint("10.0.0.9")], service="other"),
        ("default", "d"): replace(piece("d", [endpoint("host.example")]), address_type="FQDN"),
        ("default", "e"): replace(piece("e", [endpoint("10.0.0.5")]), ports=(EndpointPort(9, "metrics"), EndpointPort(7, "http"))),
        ("default", "f"): replace(piece("f", [endpoint("10.0.0.6")]), ports=(EndpointPort(None, "http"),)),
        ("default", "g"): replace(piece("g", [endpoint("10.0.0.7")]), ports=(EndpointPort(7, "http", "UDP"),)),
    }
    found = resolved(fleet(cluster("us", "us-east", endpoint_slices=slices)), ref=SERVICE)
    assert addresses(found) == ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.5:7", "10.0.0.6:80"]
    assert set(states(found).values()) == {("Healthy", "")}


@pytest.mark.parametrize(
    ("ready", "serving", "terminating", "state"),
    [
        (None, None, None, "Healthy"),
        (True, None, None, "Healthy"),
        (False, None, None, None),
        (False, True, None, None),
        (False, True, True, "Draining"),
        (None, None, True, "Draining"),
        (False, None, True, None),
        (True, False, True, None),
    ],
)
def test_conditions_of_endpoints(ready, serving, terminating, state):
    one = Endpoint(("10.0.0.1",), EndpointConditions(ready, serving, terminating))
    found = states(resolved(fleet(cluster("us", "us-east", [one])), ref=SERVICE))
    assert [each for each, _ in found.values()] == ([state] if state else [])


def test_published_before_they_are_ready():
    services = {KEY: service(publish_not_ready_addresses=True)}
    early = cluster("us", "us-east", [endpoint("10.0.0.1", conditions=NOT_READY)], services=services)
    assert addresses(resolved(fleet(early), ref=SERVICE)) == ["10.0.0.1:8080"]


def test_one_family_of_a_service_that_names_its_families():
    four, six = piece("a", [endpoint("10.0.0.1")]), replace(piece("b", [endpoint("fd00::1")]), address_type="IPv6")
    slices = {("default", "a"): four, ("default", "b"): six}

    def of(*families):
        services = {KEY: service(ip_families=families)}
        return addresses(resolved(fleet(cluster("us", "us", services=services, endpoint_slices=slices)), ref=SERVICE))

    assert of() == ["10.0.0.1:8080", "fd00::1:8080"]
    assert of("IPv6", "IPv4") == ["fd00::1:8080"]
    assert of("IPv4") == ["10.0.0.1:8080"]


def test_endpoints_that_leave_cost_no_share():
    leaving = cluster("us", "us-east", [endpoint("10.0.0.1"), endpoint("10.0.0.2", conditions=STOPPING)])
    found = resolved(fleet(leaving, EU))
    assert places(found.endpoints) == [["us"], ["eu"], ["us"]]
    assert states(found)["10.0.0.2:8080"] == ("Draining", "its pod is stopping")


def test_drains_move_imports_and_leave_services_alone():
    until = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)
    for target, word in (("us", "cluster us"), ("us-east", "region us-east")):
        drained = replace(PAIR, drains=(Drain(target, until),))
        found = resolved(drained)
        assert places(found.endpoints) == [["eu"], ["us"]]
        assert found.endpoints.tiers[1].localities[0].endpoints[0].cause == f"{word} is drained until 2031-01-02T03:04:05Z"
        assert resolved(drained, ref=SERVICE).endpoints == resolved(PAIR, ref=SERVICE).endpoints


def test_states_by_cause():
    told = Signals(dead={("us", "10.232.0.1:8080"): "takes requests and answers none"}, suspect={"eu": "no word for 9 s"})
    found = states(resolved(replace(PAIR, signals=told)))
    assert found["10.232.0.1:8080"] == ("Dead", "takes requests and answers none")
    assert found["10.232.0.2:8080"] == ("Healthy", "")
    assert found["10.218.0.1:8080"] == ("Suspect", "cluster eu is silent (no word for 9 s), but its data path works")


def test_the_last_ones_are_never_dropped():
    told = Signals(dead={("us", "10.232.0.1:8080"): "silent", ("us", "10.232.0.2:8080"): "silent"})
    only = states(resolved(replace(fleet(US), signals=told)))
    assert set(only.values()) == {("Unknown", "kept, as nothing else is left: silent")}
    assert {state for state, _ in states(resolved(replace(PAIR, signals=told))).values()} == {"Dead", "Healthy"}


def test_the_same_address_in_two_clusters_counts_once():
    shared = [endpoint("10.0.0.1")]
    world = fleet(cluster("us", "us-east", shared), cluster("eu", "eu-west", shared))
    assert places(resolved(world).endpoints) == [["us"]]
    assert places(resolved(world, "eu").endpoints) == [["eu"]]


def test_an_imported_port_is_found_by_name_then_number():
    by_name = cluster("eu", "eu-west", services={KEY: service(ServicePort(8000, "http"))})
    by_number = cluster("ap", "ap", [endpoint("10.1.1.1")], services={KEY: service(ServicePort(80, "web"))})
    slices = {("default", "a"): replace(piece("a", [endpoint("10.1.1.1")]), ports=(EndpointPort(8080, "web"),))}
    neither = cluster("sa", "sa", services={KEY: service(ServicePort(81, "web"))})
    world = fleet(US, by_name, replace(by_number, endpoint_slices=slices), neither)
    assert places(resolved(world).endpoints) == [["us"], ["ap"], ["eu"]]


@pytest.mark.parametrize(
    ("app_protocol", "hint", "expected"),
    [
        (None, "HTTP", "HTTP1"),
        (None, "GRPC", "HTTP2"),
        (None, "TCP", "TCP"),
        ("kubernetes.io/h2c", "HTTP", "HTTP2"),
        ("kubernetes.io/ws", "HTTP", "HTTP1"),
        ("grpc", "HTTP", "HTTP2"),
        ("http", "HTTP", "HTTP1"),
        ("mysql", "TCP", "TCP"),
        ("mysql", "TLS", "TCP"),
        ("mysql", "HTTP", None),
        ("kubernetes.io/wss", "HTTP", None),
        ("https", "HTTP", None),
        (None, "UDP", None),
    ],
)
def test_protocols(app_protocol, hint, expected):
    world = fleet(cluster("us", "us", services={KEY: service(ServicePort(80, "http", app_protocol=app_protocol))}))
    for ref in (SERVICE, IMPORT):
        found = outcome(world, ref=ref, hint=hint)
        if expected is None:
            assert isinstance(found, Unresolved)
            assert found.reason == "UnsupportedProtocol"
        else:
            assert found.backend.protocol == expected


def test_tcp_and_udp_on_one_number():
    ports = (ServicePort(53, "dns-tcp", "TCP"), ServicePort(53, "dns", "UDP"))
    both = (EndpointPort(53, "dns-tcp"), EndpointPort(5353, "dns", "UDP"))
    slices = {("default", "a"): replace(piece("a", [endpoint("10.0.0.1")]), ports=both)}
    imported = replace(IMPORTED, spec=replace(IMPORTED.spec, ports=(ServiceImportPort(53, "dns", "UDP"),)))
    world = fleet(cluster("us", "us", services={KEY: service(*ports)}, endpoint_slices=slices, service_imports={KEY: imported}))
    udp, tcp = (resolved(world, ref=SERVICE._replace(port=53), hint=hint) for hint in ("UDP", "TCP"))
    assert (addresses(udp), addresses(tcp)) == (["10.0.0.1:5353"], ["10.0.0.1:53"])
    assert udp.endpoints.name != tcp.endpoints.name
    assert (udp.backend.protocol, udp.backend.health) == ("UDP", None)
    assert tcp.backend.close_on_failure
    assert addresses(resolved(world, ref=IMPORT._replace(port=53), hint="UDP")) == ["10.0.0.1:5353"]


def deployment(probe: Probe, name: str = "shop", app: str = "shop") -> Deployment:
    container = Container("app", ports=(ContainerPort(8080, "web"),), readiness_probe=probe)
    template = PodTemplateSpec(PodSpec((container,)), TemplateMeta(labels={"app": app}))
    return Deployment(ObjectMeta(name), DeploymentSpec(LabelSelector(), template))


PORT = ServicePort(80, "http", target_port="web")


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        (Probe(http_get=HTTPGetAction("web", "/ready")), HealthCheck(250, 1_000, "/ready")),
        (Probe(http_get=HTTPGetAction(9090, "/ready"), timeout_seconds=3), HealthCheck(250, 3_000, "/ready", port=9090)),
        (Probe(http_get=HTTPGetAction(8080, "/ready", scheme="HTTPS")), HealthCheck(250, 200)),
        (Probe(tcp_socket=TCPSocketAction(9090)), HealthCheck(250, 200, port=9090)),
        (Probe(), HealthCheck(250, 200)),
        (Probe(http_get=HTTPGetAction("nowhere", "/ready")), HealthCheck(250, 200)),
    ],
)
def test_readiness_probes_are_what_is_checked(probe, expected):
    more = {"services": {KEY: service(PORT, selector={"app": "shop"})}, "deployments": {KEY: deployment(probe)}}
    world = fleet(cluster("us", "us", **more))
    assert resolved(world, ref=SERVICE).backend.health == expected
    grpc = expected if expected.port else HealthCheck(250, 200)
    assert resolved(world, ref=SERVICE, hint="GRPC").backend.health == grpc, "kubelets speak HTTP/1.1"


def test_pods_that_are_probed_in_different_ways_are_connected_to():
    one, other = (Probe(http_get=HTTPGetAction("web", path)) for path in ("/a", "/b"))
    both = {KEY: deployment(one), ("default", "other"): deployment(other, "other")}
    services = {KEY: service(PORT, selector={"app": "shop"})}
    assert resolved(fleet(cluster("us", "us", services=services, deployments=both)), ref=SERVICE).backend.health == HealthCheck(250, 200)
    us, eu = (cluster(each, each, services=services, deployments={KEY: deployment(probe)}) for each, probe in (("us", one), ("eu", other)))
    assert resolved(fleet(us, eu)).backend.health == HealthCheck(250, 200)


def test_what_a_policy_declares():
    check = TrafficHealthCheck("/up", 9000, "shop.example", "1s", "300ms")
    found = resolved(with_policy(PAIR, policy(health_check=check, fail_back=FailBack("5s")))).backend
    assert found.health == HealthCheck(1_000, 300, "/up", "shop.example", 9000)
    assert found.fail_back_ms == 5_000


def test_far_places_get_the_time_they_need():
    assert resolved(PAIR).backend.connect_timeout_ms == 250
    assert resolved(PAIR).backend.health == HealthCheck(250, 240)
    far = resolved(fleet(US, EU, distances={("us-east", "eu-west"): 150})).backend
    assert (far.connect_timeout_ms, far.health) == (450, HealthCheck(250, 450))
