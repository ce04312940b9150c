"""A planner that remembers says what a new one would say, and does no more than what changed."""

from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from routing_fleets import GATEWAY, all_of, cluster, documents, fleet, parse, service, tls_secret, with_objects, without

from flota.fleet.drain import Drain
from flota.fleet.fleet import Cluster, Fleet
from flota.fleet.signals import Signals
from flota.routing.planner import Planner

NAMESPACES = ("default", "shop")
HOSTS = ("a.example.com", "b.example.com", "*.example.com", "*.com", "x.org")
SECTIONS = (None, "any", "wild", "exact", "tcp", "tls", "none")


TLS = {"tls": {"certificateRefs": [{"name": "cert"}]}}
CERTIFICATE = tls_secret("cert", "*.example.com")
ROOTS = {"ca.crt": CERTIFICATE["data"]["tls.crt"].decode()}


X = "gateway.networking.x-k8s.io"
SPACES: list[dict[str, Any]] = [{"from": "All"}, {"from": "Same"}, {"from": "Selector", "selector": {"matchLabels": {"team": "a"}}}]
CHECK = {"validation": {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "roots"}]}}
GATEWAY_TLS: list[dict[str, Any]] = [
    {}, {"frontend": {"default": CHECK, "perPort": [{"port": 444, "tls": {}}]}}, {"backend": {"clientCertificateRef": {"name": "cert"}}},
]  # fmt: skip


def listeners(dice: Random) -> list[dict[str, Any]]:
    """Some of a few listeners."""
    pool = [
        {"name": "any", "port": 80, "protocol": "HTTP"},
        {"name": "wild", "port": 80, "protocol": "HTTP", "hostname": "*.example.com"},
        {"name": "exact", "port": dice.choice([80, 81]), "protocol": "HTTP", "hostname": "a.example.com"},
        {"name": "tcp", "port": dice.choice([80, 90, 90]), "protocol": "TCP"},
        {"name": "tls", "port": 443, "protocol": "TLS", "tls": {"mode": "Passthrough"}},
        {"name": "udp", "port": 53, "protocol": "UDP"},
        {"name": "secure", "port": 443, "protocol": dice.choice(["HTTPS", "HTTPS", "TLS"]), "hostname": "a.example.com", **TLS},
        {"name": "secure-wild", "port": 443, "protocol": "HTTPS", "hostname": dice.choice(["*.example.com", "*.com"]), **TLS},
    ]
    found = dice.sample(pool, dice.randint(1, len(pool)))
    return [{**each, "allowedRoutes": {"namespaces": dice.choice(SPACES)}} for each in found]


def gateway(dice: Random) -> dict[str, Any]:
    """A Gateway, or a ListenerSet of one."""
    if dice.random() < 0.4:
        meta = {"name": dice.choice(["gw", "set"]), "namespace": dice.choice(NAMESPACES)}
        parent = {"name": dice.choice(["gw", "gw", "gw2", "none"]), "namespace": "default"}
        return {"kind": "ListenerSet", "metadata": meta, "spec": {"parentRef": parent, "listeners": listeners(dice)}}
    spec: dict[str, Any] = {"gatewayClassName": dice.choice(["flota", "flota", "flota", "other"]), "listeners": listeners(dice)}
    spec |= {"allowedListeners": {"namespaces": dice.choice(SPACES)}, "defaultScope": dice.choice(["All", "None"])}
    spec["tls"] = dice.choice(GATEWAY_TLS)
    if dice.random() < 0.7:
        spec["addresses"] = [{"value": dice.choice(["127.0.0.10", "127.0.0.11"])}]
    return {"kind": "Gateway", "metadata": {"name": dice.choice(["gw", "gw2"])}, "spec": spec}


def reference(dice: Random) -> dict[str, Any]:
    """A reference to a backend that may be there."""
    ref: dict[str, Any] = {"name": dice.choice(["app", "api"]), "port": 8080, "weight": dice.choice([0, 1, 2])}
    if dice.random() < 0.4:
        ref |= {"group": "multicluster.x-k8s.io", "kind": "ServiceImport"}
    elif dice.random() < 0.2:
        ref |= {"group": X, "kind": "XBackend"}
    if dice.random() < 0.5:
        ref["namespace"] = dice.choice(NAMESPACES)
    return ref


def filter_of(dice: Random) -> dict[str, Any]:
    """One that refers to another backend, or none."""
    other = {name: value for name, value in reference(dice).items() if name != "weight"}
    return dice.choice([
        {"type": "RequestMirror", "requestMirror": {"backendRef": other}},
        {"type": "ExternalAuth", "externalAuth": {"protocol": "HTTP", "http": {}, "backendRef": other}},
        {"type": "CORS", "cors": {"allowOrigins": ["*"]}},
    ])  # fmt: skip


def any_route(dice: Random) -> dict[str, Any]:
    """A route of any kind."""
    kind = dice.choice(["HTTPRoute", "HTTPRoute", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"])
    section = dice.choice(SECTIONS)
    parent = {"name": dice.choice(["gw", "gw", "gw2"]), "namespace": "default"} | ({"sectionName": section} if section else {})
    if dice.random() < 0.4:
        parent |= {"kind": "ListenerSet", "name": dice.choice(["gw", "set"]), "namespace": dice.choice(NAMESPACES)}
    spec: dict[str, Any] = {"parentRefs": [parent], "useDefaultGateways": dice.choice(["All", "None", "None"])}
    if kind in ("HTTPRoute", "GRPCRoute", "TLSRoute"):
        spec["hostnames"] = dice.sample(HOSTS, dice.randint(0, 2))
    rule: dict[str, Any] = {"backendRefs": [reference(dice) for _ in range(dice.randint(1, 2))]}
    if dice.random() < 0.5:
        rule["name"] = "named"
    if kind == "HTTPRoute":
        rule["matches"] = [{"path": {"value": dice.choice(["/", "/a", "/b"])}}]
        if dice.random() < 0.3:
            rule["filters"] = [filter_of(dice)]
        if dice.random() < 0.3:
            rule["backendRefs"][0]["filters"] = [filter_of(dice)]
        if dice.random() < 0.2:
            rule["sessionPersistence"] = {"type": dice.choice(["Cookie", "Header"])}
        if dice.random() < 0.2:
            rule = {"filters": [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 301}}]}
    spec["rules"] = [rule]
    meta = {"name": dice.choice(["r1", "r2", "r3"]), "namespace": dice.choice(NAMESPACES)}
    return {"kind": kind, "metadata": meta, "spec": spec}


def other(dice: Random) -> dict[str, Any]:
    """What routes refer to, or what lets them."""
    meta = {"name": dice.choice(["app", "api"]), "namespace": dice.choice(NAMESPACES)}
    kinds = ["HTTPRoute", "GRPCRoute", "TCPRoute"]
    grant = {
        "from": [{"group": "gateway.networking.k8s.io", "kind": each, "namespace": dice.choice(NAMESPACES)} for each in kinds],
        "to": [{"group": "", "kind": "Service"}],
    }
    slice_ = {
        "kind": "EndpointSlice",
        "metadata": {**meta, "labels": {"kubernetes.io/service-name": meta["name"]}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [dice.choice(["127.0.1.1", "127.0.1.2"])]}],
        "ports": [{"port": 8080}],
    }
    targets = [
        {"group": "", "kind": "Service", "name": "app"},
        {"group": "multicluster.x-k8s.io", "kind": "ServiceImport", "name": "app"},
        {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "r1", "sectionName": "named"},
    ]
    policy = {"targetRefs": [dice.choice(targets)], "replay": dice.choice(["All", "None"])}
    trusted = {"hostname": "app.example", "wellKnownCACertificates": "System"}
    tls_policy = {"targetRefs": [dice.choice(targets[:2])], "validation": trusted}
    own = {"mode": "ClientAndServer", "clientCertificateRef": {"name": "cert", "namespace": dice.choice(NAMESPACES)}}
    trust = {"mode": "ServerOnly", "validation": {"hostname": "api.org", "caCertificateRefs": CHECK["validation"]["caCertificateRefs"]}}
    outside = {"type": "ExternalHostname", "externalHostname": {"hostname": "api.org"}, "port": {"port": 8080}}
    outside["tls"] = dice.choice([None, own, trust])
    traffic = {"targetRefs": [dice.choice([*targets[:2], {"group": X, "kind": "XBackend", "name": "app"}])]}
    traffic |= dice.choice([{"sessionPersistence": {}}, {"retryConstraint": {"budget": {"percent": dice.choice([10, 20])}}}])
    granted = {"from": [{"group": X, "kind": "XBackend", "namespace": "shop"}], "to": [{"group": "", "kind": "Secret"}]}
    controller = dice.choice(["flota.dev/gateway-controller", "flota.dev/gateway-controller", "example.com/x"])
    labels = {"team": dice.choice("ab")}
    return dice.choice(
        [
            dice.choice([CERTIFICATE, {**CERTIFICATE, "data": {}}]),
            {"kind": "ConfigMap", "metadata": {"name": "roots"}, "data": dice.choice([{}, ROOTS])},
            {"kind": "BackendTLSPolicy", "metadata": meta, "spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": "app"}],
                "validation": {"hostname": "app.org", "wellKnownCACertificates": "System"}}},
            {"kind": "Service", "metadata": meta, "spec": {"ports": [{"port": dice.choice([8080, 8080, 8081])}]}},
            slice_,
            {"kind": "ServiceExport", "metadata": meta},
            {"kind": "ServiceImport", "metadata": meta, "spec": {"type": "ClusterSetIP", "ports": [{"port": 8080}]}},
            {"kind": "ReferenceGrant", "metadata": meta, "spec": grant},
            {"kind": "Namespace", "metadata": {"name": dice.choice(NAMESPACES), "labels": labels}},
            {"kind": "GatewayClass", "metadata": {"name": dice.choice(["flota", "other"])}, "spec": {"controllerName": controller}},
            {"kind": "TrafficPolicy", "metadata": meta, "spec": policy},
            {"kind": "XBackend", "metadata": meta, "spec": outside},
            {"kind": "XBackendTrafficPolicy", "metadata": meta, "spec": traffic},
            {"kind": "ReferenceGrant", "metadata": {"name": "keys"}, "spec": granted},
            {"kind": "BackendTLSPolicy", "metadata": meta, "spec": tls_policy},
        ]
    )


def step(before: Fleet, dice: Random) -> Fleet:
    """The fleet after something happened."""
    if dice.random() < 0.2:
        field, values = dice.choice([("signals", SIGNALS), ("drains", DRAINS), ("addresses", ADDRESSES), ("unusable", UNUSABLE)])
        return msgspec.structs.replace(before, **{field: dice.choice(values)})
    document = dice.choice([gateway, any_route, any_route, any_route, other, other, other])(dice)
    place = dice.choice(["us", "us", "eu"])
    home = before.clusters[place]
    field, key, made = parse(document, dice.randint(0, 3))
    if dice.random() < 0.2:
        home = without(home, field, key)
    else:
        home = msgspec.structs.replace(home, **{field: {**getattr(home, field), key: made}})
    return msgspec.structs.replace(before, clusters={**before.clusters, place: home})


SIGNALS = (
    Signals(),
    Signals(per_try={("us", "service/default/app/8080"): 300}),
    Signals(sick=frozenset({("us", "service/default/app/8080"), ("eu", "serviceimport/default/app/8080")})),
    Signals(dead={("us", "127.0.1.1:8080"): "refused"}, suspect={"eu": "silent"}),
)
DRAINS = ((), (Drain("eu", datetime(2027, 1, 1, tzinfo=UTC)),))
ADDRESSES = (
    {},
    {("us", "default", "gw"): ("127.7.0.1",)},
    {("us", "default", "gw"): ("127.7.0.2",), ("eu", "default", "gw2"): ("127.7.0.3",)},
)
UNUSABLE = ({}, {("us", "127.0.0.10"): "no address of this machine"})
START = all_of(GATEWAY, service("app"), service("api"), service("app", "shop"), service("api", "shop"))


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_memory_is_invisible(seed: int) -> None:
    dice = Random(seed)
    now = fleet(with_objects(cluster(START), [CERTIFICATE]), cluster(START, "eu", "eu-west"))
    planner = Planner()
    for _ in range(30):
        for _ in range(dice.choice([1, 1, 1, 2, 5])):
            now = step(now, dice)
        assert planner.plan(now) == Planner().plan(now)


@pytest.mark.parametrize("before", ["HTTP", "HTTPS", "TLS", "TCP", "UDP"])
@pytest.mark.parametrize("after", ["HTTP", "HTTPS", "TLS", "TCP", "UDP"])
def test_a_listener_may_change_its_protocol(before: str, after: str) -> None:
    """Routes of all kinds ask for it, so some lose their place and others get one."""
    kinds = ("HTTPRoute", "TLSRoute", "TCPRoute", "UDPRoute")
    spec = {"parentRefs": [{"name": "gw", "sectionName": "one"}], "rules": [{"backendRefs": [{"name": "app", "port": 8080}]}]}
    asking = [
        {"kind": kind, "metadata": {"name": "r"}, "spec": spec | ({"hostnames": ["a.example.com"]} if kind in kinds[:2] else {})}
        for kind in kinds
    ]

    def world(protocol: str) -> Fleet:
        one = {"name": "one", "port": 443, "protocol": protocol} | (TLS if protocol in ("HTTPS", "TLS") else {})
        spec = {"gatewayClassName": "flota", "addresses": [{"value": "127.0.0.10"}], "listeners": [one]}
        documents_ = [CERTIFICATE, {"kind": "Gateway", "metadata": {"name": "gw"}, "spec": spec}, *asking]
        return fleet(with_objects(cluster(service("app")), documents_))

    planner = Planner()
    planner.plan(world(before))
    assert planner.plan(world(after)) == Planner().plan(world(after))


def many(count: int) -> Cluster:
    """A cluster with `count` Services and an HTTPRoute for each."""
    manifests = documents(GATEWAY)
    for i in range(count):
        manifests += documents(service(f"s{i}"))
        manifests.append(route(i, "/a"))
    return with_objects(Cluster("us", "us-east"), manifests)


def route(i: int, path: str) -> dict[str, Any]:
    """An HTTPRoute for the host and Service of that number."""
    return {
        "kind": "HTTPRoute",
        "metadata": {"name": f"r{i}"},
        "spec": {
            "parentRefs": [{"name": "gw"}],
            "hostnames": [f"h{i}.example.com"],
            "rules": [{"matches": [{"path": {"value": path}}], "backendRefs": [{"name": f"s{i}", "port": 8080}]}],
        },
    }


@pytest.fixture(scope="module")
def big() -> Cluster:
    return many(300)


def test_a_changed_route_costs_one_route_and_its_host(big: Cluster) -> None:
    planner = Planner()
    before = planner.plan(fleet(big)).proxies["us"]
    state = planner.clusters["us"]
    planned, rebuilt = state.register.planned, state.tables["http/127.0.0.10/80"].rebuilt
    after = planner.plan(fleet(with_objects(big, [route(7, "/b")]))).proxies["us"]
    assert state.register.planned - planned == 1
    assert state.tables["http/127.0.0.10/80"].rebuilt - rebuilt == 1
    old, new = (each.tables["http/127.0.0.10/80"].hosts for each in (before, after))
    assert [name for name in new if new[name] is not old[name]] == ["h7.example.com"]
    assert new["h7.example.com"].entries[0].match.path.value == "/b"
    for part in ("listeners", "backends", "endpoints", "secrets"):
        assert getattr(after, part) is getattr(before, part)


def test_a_changed_endpoint_costs_no_route(big: Cluster) -> None:
    planner = Planner()
    before = planner.plan(fleet(big)).proxies["us"]
    planned = planner.clusters["us"].register.planned
    moved = with_objects(big, documents(service("s3", addresses=("127.0.1.9",)))[1:])
    after = planner.plan(fleet(moved)).proxies["us"]
    assert planner.clusters["us"].register.planned == planned
    for part in ("listeners", "tables", "backends", "secrets"):
        assert getattr(after, part) is getattr(before, part)
    assert [name for name in after.endpoints if after.endpoints[name] is not before.endpoints[name]] == ["service/default/s3/8080"]


def test_what_says_the_same_is_the_same_plan(big: Cluster) -> None:
    planner = Planner()
    before = planner.plan(fleet(big))
    assert planner.plan(fleet(big)) is before
    again = with_objects(big, [route(7, "/a")])
    # A younger route of the same content: its place in the order changes, what it says does not.
    assert planner.plan(fleet(again)).proxies["us"] is before.proxies["us"]


def test_a_wildcard_route_reaches_the_hosts_below_it(big: Cluster) -> None:
    planner = Planner()
    before = planner.plan(fleet(big)).proxies["us"].tables["http/127.0.0.10/80"].hosts
    wide = {**route(0, "/w"), "metadata": {"name": "wide"}}
    wide["spec"] = {**wide["spec"], "hostnames": ["*.example.com"]}
    after = planner.plan(fleet(with_objects(big, [wide]))).proxies["us"].tables["http/127.0.0.10/80"].hosts
    assert all(len(host.entries) == 2 for name, host in after.items() if name != "*.example.com")
    gone = planner.plan(fleet(big)).proxies["us"].tables["http/127.0.0.10/80"].hosts
    assert gone == before
