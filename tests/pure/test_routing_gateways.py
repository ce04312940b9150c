"""Gateways and listeners: what is accepted, resolved, programmed, and by which reason (Gateway API conditions)."""

from typing import Any

import pytest
import yaml
from routing_fleets import GATEWAY, condition, plan_of, service, status_of, tls_secret

from flota.plan import Plan

CERTIFICATE = tls_secret("cert", "a.example.com")


def gateway(*listeners: dict[str, Any], name: str = "gw", **spec: Any) -> str:
    """A Gateway on 127.0.0.10 with these listeners."""
    fields = {"gatewayClassName": "flota", "addresses": [{"value": "127.0.0.10"}], **spec, "listeners": list(listeners)}
    return yaml.safe_dump({"kind": "Gateway", "metadata": {"name": name}, "spec": fields})


def http(name: str = "http", port: int = 80, **more: Any) -> dict[str, Any]:
    """An HTTP listener."""
    return {"name": name, "port": port, "protocol": "HTTP", **more}


def https(name: str, hostname: str | None = None, certificate: str = "cert", **more: Any) -> dict[str, Any]:
    """An HTTPS listener on 443."""
    host = {"hostname": hostname} if hostname else {}
    return {"name": name, "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": certificate}]}, **host, **more}


def stream(name: str, protocol: str, port: int = 90, **more: Any) -> dict[str, Any]:
    """A listener that carries bytes."""
    return {"name": name, "port": port, "protocol": protocol, **more}


def said(plan: Plan, kind: str, name: str = "gw") -> dict[str, tuple[str, str]]:
    """A condition of every listener of a Gateway."""
    return {each.name: condition(each, kind) for each in status_of(plan, "Gateway", name).listeners}


PASSTHROUGH = {"tls": {"mode": "Passthrough"}}


@pytest.mark.parametrize(
    ("listeners", "conflicted"),
    [
        ([http("a"), http("b", hostname="x.org")], {}),
        ([http("a"), http("b")], {"a": "HostnameConflict", "b": "HostnameConflict"}),
        ([http("a", hostname="x.org"), http("b", hostname="X.org".lower()), http("c")], {"a": "HostnameConflict", "b": "HostnameConflict"}),
        ([http("a"), stream("b", "TCP", 80)], {"a": "ProtocolConflict", "b": "ProtocolConflict"}),
        ([http("a", 443), https("b")], {"a": "ProtocolConflict", "b": "ProtocolConflict"}),
        ([stream("a", "TCP"), stream("b", "TCP"), stream("c", "TCP", 91)], {"a": "ProtocolConflict", "b": "ProtocolConflict"}),
        ([stream("a", "TCP"), stream("b", "UDP")], {}),
        ([https("a", "a.org"), stream("b", "TLS", 443, hostname="b.org", **PASSTHROUGH)], {}),
        (
            [https("a", "a.org"), stream("b", "TLS", 443, hostname="a.org", **PASSTHROUGH)],
            {"a": "HostnameConflict", "b": "HostnameConflict"},
        ),
    ],
)
def test_listeners_that_cannot_be_told_apart_all_lose(listeners: list[dict[str, Any]], conflicted: dict[str, str]) -> None:
    plan = plan_of(gateway(*listeners), more=[CERTIFICATE])
    found = {name: reason for name, (status, reason) in said(plan, "Conflicted").items() if status == "True"}
    assert found == conflicted
    assert {name for name, (status, _) in said(plan, "Accepted").items() if status == "False"} == set(conflicted)
    served = {each.name for each in status_of(plan, "Gateway", "gw").listeners if each.socket}
    assert served == {each["name"] for each in listeners} - set(conflicted)


@pytest.mark.parametrize(
    ("listeners", "accepted", "programmed"),
    [
        ([http()], ("True", "Accepted"), ("True", "Programmed")),
        ([http(), stream("odd", "example.com/QUIC")], ("True", "ListenersNotValid"), ("True", "Programmed")),
        ([stream("odd", "example.com/QUIC")], ("False", "ListenersNotValid"), ("False", "Invalid")),
        ([https("tls", certificate="none")], ("True", "Accepted"), ("False", "Invalid")),
    ],
)
def test_the_gateway_sums_up_its_listeners(
    listeners: list[dict[str, Any]], accepted: tuple[str, str], programmed: tuple[str, str]
) -> None:
    status = status_of(plan_of(gateway(*listeners)), "Gateway", "gw")
    assert condition(status, "Accepted") == accepted
    assert condition(status, "Programmed") == programmed
    assert all(each.observed_generation == 1 for each in status.conditions)


def test_unsupported_values() -> None:
    asked = gateway(stream("odd", "SCTP"), https("pass", **PASSTHROUGH), http())
    plan = plan_of(asked, more=[CERTIFICATE])
    assert said(plan, "Accepted") == {
        "odd": ("False", "UnsupportedProtocol"),
        "pass": ("False", "UnsupportedValue"),
        "http": ("True", "Accepted"),
    }


def broken(**data: bytes) -> dict[str, Any]:
    """The certificate with some of its data replaced."""
    names = {"crt": "tls.crt", "key": "tls.key"}
    return {**CERTIFICATE, "data": {**CERTIFICATE["data"], **{names[each]: value for each, value in data.items()}}}


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        (None, "does not exist"),
        (broken(crt=b""), "no tls.crt"),
        (broken(crt=b"rubbish"), "tls.crt is not a certificate"),
        (broken(key=b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"), "tls.key is not an unencrypted private key"),
        (broken(key=tls_secret("x", "x")["data"]["tls.key"]), "does not belong to the first certificate"),
    ],
)
def test_a_certificate_that_cannot_be_used(secret: dict[str, Any] | None, text: str) -> None:
    plan = plan_of(gateway(https("tls")), more=[secret] if secret else [])
    listener = status_of(plan, "Gateway", "gw").listeners[0]
    assert condition(listener, "ResolvedRefs") == ("False", "InvalidCertificateRef")
    assert text in next(each.message for each in listener.conditions if each.type == "ResolvedRefs")
    assert condition(listener, "Programmed") == ("False", "Invalid")
    assert not plan.proxies["us"].listeners


def test_one_good_certificate_of_two_serves() -> None:
    both = https("tls")
    both["tls"]["certificateRefs"].append({"name": "none"})
    plan = plan_of(gateway(both), more=[CERTIFICATE])
    listener = status_of(plan, "Gateway", "gw").listeners[0]
    assert condition(listener, "ResolvedRefs") == ("False", "InvalidCertificateRef")
    assert condition(listener, "Programmed") == ("True", "Programmed")
    chain = plan.proxies["us"].listeners["tcp/127.0.0.10/443"].chains[0]
    assert chain.tls
    assert chain.tls.certificates == ("secret/default/cert",)
    assert plan.proxies["us"].secrets["secret/default/cert"].key == CERTIFICATE["data"]["tls.key"]


GRANT = """
kind: ReferenceGrant
metadata: {name: g, namespace: certs}
spec: {from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: default}], to: [{group: "", kind: Secret%s}]}
"""


@pytest.mark.parametrize(
    ("grant", "reason"),
    [(None, "RefNotPermitted"), ("", "ResolvedRefs"), (", name: far", "ResolvedRefs"), (", name: other", "RefNotPermitted")],
)
def test_a_certificate_of_another_namespace_needs_a_grant(grant: str | None, reason: str) -> None:
    far = https("tls")
    far["tls"]["certificateRefs"] = [{"name": "far", "namespace": "certs"}]
    texts = [gateway(far)] + ([GRANT % grant] if grant is not None else [])
    plan = plan_of(*texts, more=[tls_secret("far", "a.org", namespace="certs")])
    assert said(plan, "ResolvedRefs")["tls"][1] == reason


def test_route_kinds() -> None:
    kinds = [{"kind": "HTTPRoute"}, {"kind": "TCPRoute"}, {"group": "example.com", "kind": "HTTPRoute"}]
    some, none = http("some", allowedRoutes={"kinds": kinds}), http("none", 81, allowedRoutes={"kinds": kinds[1:]})
    plan = plan_of(gateway(some, none, http("all", 82)))
    status = status_of(plan, "Gateway", "gw")
    assert {each.name: [kind for _, kind in each.supported_kinds] for each in status.listeners} == {
        "some": ["HTTPRoute"], "none": [], "all": ["HTTPRoute", "GRPCRoute"],
    }
    assert said(plan, "ResolvedRefs") == {
        "some": ("False", "InvalidRouteKinds"), "none": ("False", "InvalidRouteKinds"), "all": ("True", "ResolvedRefs"),
    }


def test_addresses() -> None:
    found = {("us", "default", "gw"): ("127.7.7.1",)}
    assert status_of(plan_of(gateway(http(), addresses=[]), addresses=found), "Gateway", "gw").addresses == ("127.7.7.1",)
    any_one = plan_of(gateway(http(), addresses=[{"type": "IPAddress"}]), addresses=found)
    assert status_of(any_one, "Gateway", "gw").addresses == ("127.7.7.1",)
    waiting = status_of(plan_of(gateway(http(), addresses=[])), "Gateway", "gw")
    assert condition(waiting, "Accepted") == ("True", "Accepted")
    assert condition(waiting, "Programmed") == ("False", "AddressNotAssigned")
    named = status_of(plan_of(gateway(http(), addresses=[{"type": "Hostname", "value": "a.org"}])), "Gateway", "gw")
    assert condition(named, "Accepted") == ("False", "UnsupportedAddress")
    both = plan_of(gateway(http(), addresses=[{"value": "127.0.0.10"}, {"value": "::1"}]))
    assert sorted(both.proxies["us"].listeners) == ["tcp/127.0.0.10/80", "tcp/::1/80"]
    assert {each.chains[0].table for each in both.proxies["us"].listeners.values()} == {"http/127.0.0.10/80"}


def test_an_address_that_nothing_can_listen_on_is_told_and_the_others_serve() -> None:
    asked = [{"value": "127.0.0.10"}, {"value": "192.0.2.1"}]
    plan = plan_of(gateway(http(), addresses=asked), unusable={("us", "192.0.2.1"): "192.0.2.1 is not an address of this machine"})
    status = status_of(plan, "Gateway", "gw")
    assert condition(status, "Accepted") == ("True", "Accepted")
    assert condition(status, "Programmed") == ("False", "AddressNotUsable")
    assert status.addresses == ("127.0.0.10",)
    assert sorted(plan.proxies["us"].listeners) == ["tcp/127.0.0.10/80"]
    assert [each.message for each in plan.problems] == ["192.0.2.1 is not an address of this machine"]


def own(*gateways: str, **addresses: tuple[str, ...]) -> Plan:
    """Planned where each Gateway has a proxy of its own."""
    given = {("us", "default", name): each for name, each in addresses.items()}
    return plan_of(*gateways, addresses=given, own_proxies=frozenset({"us"}))


def test_gateways_with_their_own_proxies_share_ports_and_are_served_before_they_have_an_address() -> None:
    two = gateway(http(), stream("tcp", "TCP", 10080), name="b", addresses=[])
    plan = own(gateway(http(), name="a", addresses=[]), two, b=("192.0.2.7",))
    binds = {name: (each.address, each.port, each.bind) for name, each in plan.proxies["us"].listeners.items()}
    assert binds == {
        "tcp/default/a/80": ("default/a", 80, ("0.0.0.0", 10080)),
        "tcp/default/b/80": ("default/b", 80, ("0.0.0.0", 20080)),
        "tcp/default/b/10080": ("default/b", 10080, ("0.0.0.0", 10080)),
    }
    assert condition(status_of(plan, "Gateway", "a"), "Programmed") == ("False", "AddressNotAssigned")
    assert condition(status_of(plan, "Gateway", "b"), "Programmed") == ("True", "Programmed")
    assert status_of(plan, "Gateway", "b").addresses == ("192.0.2.7",)


@pytest.mark.parametrize(
    ("asked", "balanced", "programmed", "addresses"),
    [
        (["192.0.2.7"], ("192.0.2.7",), "Programmed", ("192.0.2.7",)),
        (["192.0.2.7", "192.0.2.8"], ("192.0.2.8", "192.0.2.9"), "AddressNotUsable", ("192.0.2.8",)),
        (["192.0.2.7"], (), "AddressNotUsable", ()),
        ([None], ("192.0.2.9",), "Programmed", ("192.0.2.9",)),
    ],
)
def test_addresses_asked_of_a_load_balancer(
    asked: list[str | None], balanced: tuple[str, ...], programmed: str, addresses: tuple[str, ...]
) -> None:
    named = [{"type": "IPAddress"} | ({"value": each} if each else {}) for each in asked]
    plan = own(gateway(http(), addresses=named), gw=balanced)
    assert condition(status_of(plan, "Gateway", "gw"), "Programmed")[1] == programmed
    assert status_of(plan, "Gateway", "gw").addresses == addresses
    assert "tcp/default/gw/80" in plan.proxies["us"].listeners


def test_of_two_gateways_on_one_port_the_older_has_it() -> None:
    plan = plan_of(gateway(http(), name="old"), gateway(http(), http("own", 81), name="new"))
    assert said(plan, "Accepted", "old") == {"http": ("True", "Accepted")}
    assert said(plan, "Accepted", "new") == {"http": ("False", "PortUnavailable"), "own": ("True", "Accepted")}
    assert plan.proxies["us"].listeners["tcp/127.0.0.10/80"].gateways == (("default", "old"),)
    assert condition(status_of(plan, "Gateway", "new"), "Accepted") == ("True", "ListenersNotValid")


def test_classes() -> None:
    classes = """
kind: GatewayClass
metadata: {name: mine}
spec: {controllerName: flota.dev/gateway-controller}
---
kind: GatewayClass
metadata: {name: tuned}
spec: {controllerName: flota.dev/gateway-controller, parametersRef: {group: "", kind: ConfigMap, name: x}}
---
kind: GatewayClass
metadata: {name: theirs}
spec: {controllerName: example.com/x}
"""
    names = ("mine", "tuned", "theirs", "nobodys")
    texts = [gateway(http(port=80 + at), name=each, gatewayClassName=each) for at, each in enumerate(names)]
    plan = plan_of(classes, *texts)
    assert condition(status_of(plan, "GatewayClass", "mine", ""), "SupportedVersion") == ("True", "SupportedVersion")
    assert condition(status_of(plan, "GatewayClass", "tuned", ""), "Accepted") == ("False", "InvalidParameters")
    assert status_of(plan, "GatewayClass", "theirs", "") is None
    assert condition(status_of(plan, "Gateway", "mine"), "Accepted") == ("True", "Accepted")
    assert condition(status_of(plan, "Gateway", "tuned"), "Accepted") == ("False", "InvalidParameters")
    assert status_of(plan, "Gateway", "theirs") is None
    assert [(each.name, each.reason) for each in plan.problems if each.reason == "NoSuchClass"] == [("nobodys", "NoSuchClass")]


TEMPLATE = """
kind: ProxyTemplate
metadata: {name: %s}
spec: %s
"""


def test_parameters() -> None:
    templates = [TEMPLATE % ("wide", "{replicas: 5, image: wide}"), TEMPLATE % ("own", "{image: own}")]
    mine = {"controllerName": "flota.dev/gateway-controller"}
    refs = {"good": {"name": "wide", "namespace": "default"}, "nowhere": {"name": "wide"}, "gone": {"name": "x", "namespace": "default"}}
    classes = [
        {"kind": "GatewayClass", "metadata": {"name": name},
         "spec": {**mine, "parametersRef": {"group": "flota.dev", "kind": "ProxyTemplate", **ref}}} for name, ref in refs.items()
    ]  # fmt: skip
    own = {"infrastructure": {"parametersRef": {"group": "flota.dev", "kind": "ProxyTemplate", "name": "own"}}}
    foreign = {"infrastructure": {"parametersRef": {"group": "x.io", "kind": "ProxyTemplate", "name": "own"}}}
    asked: dict[str, dict[str, Any]] = {
        "plain": {}, "own": own, "class": {"gatewayClassName": "good"}, "both": {"gatewayClassName": "good", **own},
        "foreign": foreign, "nowhere": {"gatewayClassName": "nowhere"}, "gone": {"gatewayClassName": "gone", **own},
    }  # fmt: skip
    gateways = [gateway(http(port=80 + at), name=name, **spec) for at, (name, spec) in enumerate(asked.items())]
    plan = plan_of(*templates, *gateways, more=classes, own_proxies=frozenset({"us"}))
    found = {name: status_of(plan, "Gateway", name).template for name in asked}
    shown = {name: (each.replicas, each.image) if each else None for name, each in found.items()}
    assert shown == {
        "plain": None, "own": (None, "own"), "class": (5, "wide"), "both": (5, "own"), "foreign": None, "nowhere": None, "gone": None,
    }  # fmt: skip
    reasons = {name: condition(status_of(plan, "Gateway", name), "Accepted") for name in asked}
    bad = ("False", "InvalidParameters")
    assert {name for name, each in reasons.items() if each == bad} == {"foreign", "nowhere", "gone"}
    assert {name: condition(status_of(plan, "GatewayClass", name, ""), "Accepted")[1] for name in refs} == {
        "good": "Accepted", "nowhere": "InvalidParameters", "gone": "InvalidParameters",
    }  # fmt: skip


def test_options_that_nobody_knows_are_told() -> None:
    asked = https("tls")
    asked["tls"]["options"] = {"example.com/ciphers": "x"}
    plan = plan_of(gateway(asked), more=[CERTIFICATE])
    accepted = status_of(plan, "Gateway", "gw").listeners[0].conditions[0]
    assert (accepted.status, accepted.message) == ("True", "tls.options has no option that Flota knows: example.com/ciphers")
    assert [(each.reason, each.message) for each in plan.problems] == [("UnsupportedValue", f"listener tls: {accepted.message}")]


def test_a_template_is_nothing_for_a_proxy_that_is_a_process() -> None:
    own = {"infrastructure": {"parametersRef": {"group": "flota.dev", "kind": "ProxyTemplate", "name": "own"}}}
    plan = plan_of(TEMPLATE % ("own", "{replicas: 5}"), gateway(http(), **own))
    assert condition(status_of(plan, "Gateway", "gw"), "Accepted") == ("True", "Accepted")
    assert [(each.kind, each.reason) for each in plan.problems] == [("Gateway", "UnsupportedValue")]


def test_overlapping_tls_hostnames_are_told_but_are_no_problem() -> None:
    plan = plan_of(gateway(https("a", "a.example.com"), https("b", "b.org"), https("c", "*.example.com")), more=[CERTIFICATE])
    listeners = status_of(plan, "Gateway", "gw").listeners
    assert {each.name for each in listeners if any(one.type == "OverlappingTLSConfig" for one in each.conditions)} == {"a", "c"}
    assert plan.problems == ()


def test_attached_routes_count_accepted_ones_whatever_the_listener_is() -> None:
    route = """
kind: HTTPRoute
metadata: {name: %s}
spec: {parentRefs: [{name: gw, sectionName: %s}], rules: [{backendRefs: [{name: %s, port: 8080}]}]}
"""
    plan = plan_of(
        gateway(http(), https("tls", certificate="none")),
        service("app"),
        route % ("a", "http", "app"), route % ("b", "http", "none"), route % ("c", "tls", "app"), route % ("d", "nowhere", "app"),
    )
    assert {each.name: each.attached_routes for each in status_of(plan, "Gateway", "gw").listeners} == {"http": 2, "tls": 1}


def test_nothing_is_wrong_with_a_healthy_fleet() -> None:
    assert plan_of(GATEWAY).problems == ()


def test_an_unknown_tls_option_is_said_and_the_listener_served() -> None:
    listener = https("tls")
    listener["tls"]["options"] = {"example.com/min-version": "1.3"}
    plan = plan_of(gateway(listener), more=[CERTIFICATE])
    assert said(plan, "Programmed")["tls"][0] == "True"
    assert [("example.com/min-version" in each.message, each.reason) for each in plan.problems] == [(True, "UnsupportedValue")]
