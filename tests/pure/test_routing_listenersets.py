"""ListenerSets: who takes part, who gives way, and how routes attach to their listeners (Gateway API ListenerSet, GEP-1713)."""

from typing import Any

import pytest
import yaml
from routing_fleets import condition, plan_of, service, status_of, tls_secret

from flota.plan import Plan

GATEWAY = """
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: flota
  addresses: [{value: 127.0.0.10}]
  allowedListeners: {namespaces: %s}
  listeners: [{name: http, port: 80, protocol: HTTP, hostname: gw.org}]
"""
OPEN = GATEWAY % "{from: All}"


def listener(name: str, hostname: str | None = None, port: int = 80, protocol: str = "HTTP", **more: Any) -> dict[str, Any]:
    """A listener."""
    return {"name": name, "port": port, "protocol": protocol, **({"hostname": hostname} if hostname else {}), **more}


def listener_set(name: str, *listeners: dict[str, Any], namespace: str = "default", parent: dict[str, Any] | None = None) -> str:
    """A ListenerSet of the Gateway default/gw."""
    spec = {"parentRef": {"name": "gw", "namespace": "default", **(parent or {})}, "listeners": list(listeners)}
    return yaml.safe_dump({"kind": "ListenerSet", "metadata": {"name": name, "namespace": namespace}, "spec": spec})


def route(name: str, *parents: dict[str, Any], namespace: str = "default", **more: Any) -> str:
    """An HTTPRoute to the Service app of its own namespace."""
    spec = {"parentRefs": list(parents), "rules": [{"backendRefs": [{"name": "app", "port": 8080}]}], **more}
    return yaml.safe_dump({"kind": "HTTPRoute", "metadata": {"name": name, "namespace": namespace}, "spec": spec})


def to_set(name: str, **more: Any) -> dict[str, Any]:
    """A parentRef to a ListenerSet."""
    return {"kind": "ListenerSet", "name": name, "namespace": "default", **more}


def summary(plan: Plan, name: str, namespace: str = "default") -> tuple[tuple[str, str], tuple[str, str]]:
    """Accepted and Programmed of a ListenerSet."""
    status = status_of(plan, "ListenerSet", name, namespace)
    return condition(status, "Accepted"), condition(status, "Programmed")


def conflicted(plan: Plan, name: str) -> dict[str, str]:
    """Listeners of a set that are, with the reason, the same in Accepted, Programmed and Conflicted."""
    found = {}
    for each in status_of(plan, "ListenerSet", name).listeners:
        if condition(each, "Conflicted")[0] == "True":
            reasons = {condition(each, kind)[1] for kind in ("Accepted", "Programmed", "Conflicted")}
            assert len(reasons) == 1, reasons
            found[each.name] = reasons.pop()
    return found


NO = (("False", "NotAllowed"), ("False", "NotAllowed"))
YES = (("True", "Accepted"), ("True", "Programmed"))
NOT_VALID = (("False", "ListenersNotValid"), ("False", "ListenersNotValid"))


@pytest.mark.parametrize(
    ("allowed", "here", "there"),
    [
        ("{from: All}", YES, YES),
        ("{from: Same}", YES, NO),
        ("{from: None}", NO, NO),
        ("{from: Selector, selector: {matchLabels: {team: b}}}", NO, YES),
        ("{from: Selector}", NO, NO),
        (None, NO, NO),
    ],
)
def test_the_gateway_says_which_namespaces_take_part(allowed: str | None, here: object, there: object) -> None:
    namespace = "kind: Namespace\nmetadata: {name: b, labels: {team: b}}"
    gateway = (GATEWAY % allowed) if allowed else (GATEWAY % "X").replace("  allowedListeners: {namespaces: X}\n", "")
    sets = [listener_set("a", listener("a", "a.org")), listener_set("b", listener("b", "b.org"), namespace="b")]
    plan = plan_of(gateway, namespace, *sets)
    assert summary(plan, "a") == here
    assert summary(plan, "b", "b") == there
    assert status_of(plan, "Gateway", "gw").listener_sets == [here, there].count(YES)
    assert len(status_of(plan, "ListenerSet", "a").listeners) == (1 if here == YES else 0)


def test_the_gateway_comes_first_then_the_older_set() -> None:
    plan = plan_of(
        OPEN,
        listener_set("z-old", listener("own", "old.org"), listener("gw", "gw.org"), listener("both", "both.org")),
        listener_set("a-new", listener("own", "new.org"), listener("both", "both.org")),
        listener_set("none", listener("gw", "gw.org")),
    )
    assert conflicted(plan, "z-old") == {"gw": "HostnameConflict"}
    assert conflicted(plan, "a-new") == {"both": "HostnameConflict"}
    assert conflicted(plan, "none") == {"gw": "HostnameConflict"}
    assert summary(plan, "z-old") == (("True", "ListenersNotValid"), ("True", "Programmed"))
    assert summary(plan, "none") == NOT_VALID
    assert condition(status_of(plan, "Gateway", "gw").listeners[0], "Accepted") == ("True", "Accepted")
    assert condition(status_of(plan, "Gateway", "gw"), "Accepted") == ("True", "Accepted")
    assert status_of(plan, "Gateway", "gw").listener_sets == 2
    leaks = [each.message for each in plan.problems if "z-old" in each.message]
    assert leaks == [], "nobody is told who else there is"


def test_protocols() -> None:
    plan = plan_of(
        OPEN,
        # TCP loses against the Gateway's HTTP; what it stood beside in its own set is none the worse for it.
        listener_set("one", listener("web", "one.org"), listener("tcp", protocol="TCP"), listener("db", port=90, protocol="TCP")),
        listener_set("two", listener("db", port=90, protocol="TCP"), listener("a", port=91), listener("b", port=91, protocol="TCP")),
        listener_set("three", listener("c", "c.org", port=91)),
    )
    assert conflicted(plan, "one") == {"tcp": "ProtocolConflict"}
    assert conflicted(plan, "two") == {"db": "ListenerConflict", "a": "ProtocolConflict", "b": "ProtocolConflict"}
    assert conflicted(plan, "three") == {"c": "ProtocolConflict"}, "a place that two quarrel about is free for nobody"
    assert sorted(plan.proxies["us"].listeners) == ["tcp/127.0.0.10/80", "tcp/127.0.0.10/90"]


def test_certificates_are_judged_by_the_grants_of_the_set() -> None:
    grant = """
kind: ReferenceGrant
metadata: {name: %s, namespace: certs}
spec: {from: [{group: gateway.networking.k8s.io, kind: %s, namespace: default}], to: [{group: "", kind: Secret}]}
"""
    tls = {"tls": {"certificateRefs": [{"name": "far", "namespace": "certs"}]}}
    asked = listener_set("tls", listener("tls", "tls.org", 443, "HTTPS", **tls))
    secret = tls_secret("far", "tls.org", namespace="certs")
    refused = plan_of(OPEN, asked, grant % ("g", "Gateway"), more=[secret])
    assert condition(status_of(refused, "ListenerSet", "tls").listeners[0], "ResolvedRefs") == ("False", "RefNotPermitted")
    assert summary(refused, "tls") == NOT_VALID
    allowed = plan_of(OPEN, asked, grant % ("g", "ListenerSet"), more=[secret])
    assert summary(allowed, "tls") == YES
    assert "secret/certs/far" in allowed.proxies["us"].secrets


def test_routes_attach_to_the_set_or_to_the_gateway_and_never_to_the_other() -> None:
    everything = {"allowedRoutes": {"namespaces": {"from": "All"}}}
    plan = plan_of(
        OPEN, service("app"),
        listener_set("set", listener("one", "one.org"), listener("two", "two.org", **everything)),
        listener_set("shut", listener("http", "shut.org"), namespace="far", parent={"name": "other"}),
        route("gateway", {"name": "gw"}), route("set", to_set("set")), route("section", to_set("set", sectionName="two")),
        route("both", {"name": "gw"}, to_set("set")), route("wrong", {"name": "gw", "sectionName": "one"}, to_set("set", port=81)),
        route("foreign", to_set("set"), namespace="far"),
    )  # fmt: skip
    counts = {each.name: each.attached_routes for each in status_of(plan, "ListenerSet", "set").listeners}
    assert counts == {"one": 2, "two": 4}
    assert [each.attached_routes for each in status_of(plan, "Gateway", "gw").listeners] == [2]
    hosts = plan.proxies["us"].tables["http/127.0.0.10/80"].hosts
    assert {name: {each.source.name for each in host.entries} for name, host in hosts.items()} == {
        "gw.org": {"gateway"}, "one.org": {"set"}, "two.org": {"set"},
    }  # fmt: skip
    wrong = status_of(plan, "HTTPRoute", "wrong").parents
    assert [(each.kind, condition(each, "Accepted")) for each in wrong] == [
        ("Gateway", ("False", "NoMatchingParent")), ("ListenerSet", ("False", "NoMatchingParent")),
    ]  # fmt: skip
    assert [each.kind for each in status_of(plan, "HTTPRoute", "both").parents] == ["Gateway", "ListenerSet"]
    foreign = status_of(plan, "HTTPRoute", "foreign", "far").parents[0]
    assert condition(foreign, "Accepted") == ("True", "Accepted"), "one of the two listeners takes it"


def test_a_route_of_a_set_that_may_not_take_part_is_told() -> None:
    plan = plan_of(GATEWAY % "{from: None}", service("app"), listener_set("set", listener("one", "one.org")), route("r", to_set("set")))
    parent = status_of(plan, "HTTPRoute", "r").parents[0]
    assert condition(parent, "Accepted") == ("False", "NoMatchingParent")
    assert "ListenerSet default/set is not attached to its Gateway" in parent.conditions[0].message


@pytest.mark.parametrize(
    ("parent", "reason"), [({"name": "none"}, "NoMatchingParent"), ({"kind": "Service", "group": ""}, "UnsupportedValue")]
)
def test_a_set_without_a_gateway_has_no_status_but_a_problem(parent: dict[str, Any], reason: str) -> None:
    plan = plan_of(OPEN, listener_set("set", listener("one", "one.org"), parent=parent), route("r", to_set("set")))
    assert status_of(plan, "ListenerSet", "set") is None
    assert [(each.kind, each.reason) for each in plan.problems if each.name == "set"] == [("ListenerSet", reason)]
    assert status_of(plan, "HTTPRoute", "r").parents == ()


def test_what_the_gateway_lacks_its_sets_lack() -> None:
    refused = OPEN.replace("{value: 127.0.0.10}", "{type: Hostname, value: a.org}")
    plan = plan_of(refused, listener_set("set", listener("one", "one.org")))
    assert summary(plan, "set") == (("False", "ParentNotAccepted"), ("False", "ParentNotProgrammed"))
    assert status_of(plan, "Gateway", "gw").listener_sets == 0
    waiting = plan_of(OPEN.replace("  addresses: [{value: 127.0.0.10}]\n", ""), listener_set("set", listener("one", "one.org")))
    assert summary(waiting, "set") == (("True", "Accepted"), ("False", "ParentNotProgrammed"))


def test_a_gateway_whose_own_listeners_are_bad_lives_by_its_sets() -> None:
    odd = OPEN.replace("protocol: HTTP, hostname: gw.org", "protocol: SCTP")
    plan = plan_of(odd, listener_set("set", listener("one", "one.org")))
    gateway = status_of(plan, "Gateway", "gw")
    assert (condition(gateway, "Accepted"), condition(gateway, "Programmed")) == (("True", "ListenersNotValid"), ("True", "Programmed"))
    assert summary(plan, "set") == YES


def test_what_is_wrong_with_the_gateways_roots_is_told_without_their_names() -> None:
    check = "tls: {frontend: {default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: hidden}]}}}}"
    asked = listener_set("tls", listener("tls", "tls.org", 443, "HTTPS", tls={"certificateRefs": [{"name": "cert"}]}))
    plan = plan_of(f"{OPEN.rstrip()}\n  {check}\n", asked, more=[tls_secret("cert", "tls.org")])
    entry = status_of(plan, "ListenerSet", "tls").listeners[0]
    assert condition(entry, "Accepted") == ("False", "NoValidCACertificate")
    assert condition(entry, "ResolvedRefs") == ("False", "InvalidCACertificateRef")
    assert summary(plan, "tls") == NOT_VALID
    assert not any("hidden" in each.message for each in plan.problems)
