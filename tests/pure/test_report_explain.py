"""`flota explain`, `whatif`, `drain`, `check` and `render --as objects`: the report around the decision."""

from datetime import timedelta

import msgspec
import pytest
from msgspec.structs import replace
from report_views import NOW, fleet, origin_of, pod, seen, view, with_proxy

from flota.cli.whatif_table import drain_text
from flota.fleet.drain import Drain
from flota.fleet.problem import Problem
from flota.plan import ObjectRef
from flota.report.check import check
from flota.report.conditions import advance
from flota.report.explain_object import ObjectExplanation, explain_object
from flota.report.explain_request import AskedRequest, RequestExplanation, explain_request
from flota.report.failed import Failed
from flota.report.named import Asked, kind_named
from flota.report.objects import objects
from flota.report.view import Seen, View
from flota.report.whatif import DrainReport, UndrainReport, WhatIfReport, drain_report, undrain_report, what_if

ROUTES = """
---
kind: HTTPRoute
metadata: {name: rules}
spec:
  parentRefs: [{name: gw}]
  hostnames: [a.example.com]
  rules:
  - matches: [{path: {type: Exact, value: /one}}]
    name: first
    backendRefs: [{name: shop, port: 80}]
  - matches: [{path: {value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]
  - matches: [{path: {value: /split}, method: POST, headers: [{name: x-a, value: b}]}]
    backendRefs:
    - {name: shop, port: 80, weight: 3}
    - {name: missing, port: 80, weight: 1}
"""


def asked(url: str, **more: object) -> RequestExplanation:
    found = explain_request(view(fleet(us=ROUTES)), AskedRequest(url, "us", **more))
    assert isinstance(found, RequestExplanation), found
    return found


def explained(of: View, kind: str, name: str, **more: object) -> ObjectExplanation:
    found = explain_object(of, Asked(kind, name, **more))
    assert isinstance(found, ObjectExplanation), found
    return found


def test_request_is_forwarded() -> None:
    found = asked("http://127.0.0.10:8080/")
    assert (found.status, found.listener, found.gateway) == (None, "tcp/127.0.0.10/8080", "default/gw")
    assert found.route is not None
    assert (found.route.kind, found.route.namespace, found.route.name, found.rule) == ("HTTPRoute", "default", "shop", 0)
    assert found.backend == "serviceimport/default/shop/80"
    assert [[place.cluster for place in tier.localities] for tier in found.tiers] == [["us"], ["eu"]]
    assert [tier.why for tier in found.tiers] == ["same zone", "region eu-west, 80 ms away"]
    assert found.why


def test_host_of_a_header_and_a_named_rule() -> None:
    found = asked("http://127.0.0.10:8080/one", headers=["Host: A.example.com:1234"])
    assert (found.host, found.rule, found.rule_name) == ("a.example.com", 0, "first")
    assert found.backend == "service/default/shop/80"


def test_redirect() -> None:
    found = asked("http://a.example.com:8080/old/x?q=1")
    assert (found.status, found.location) == (301, "http://a.example.com:8080/new/x?q=1")
    assert (found.rule, found.backend, found.backends) == (1, None, ())


def test_shares() -> None:
    found = asked("http://a.example.com:8080/split", method="post", headers=["X-A: b"])
    assert (found.rule, found.method) == (2, "POST")
    assert [(each.backend, each.share) for each in found.backends] == [("service/default/shop/80", 0.75), (None, 0.25)]
    assert found.status is None


def test_no_route_and_no_listener() -> None:
    only = "---\nkind: HTTPRoute\nmetadata: {name: shop}\nspec: {parentRefs: [{name: gw}], hostnames: [shop.example.com]}\n"
    found = explain_request(view(fleet(us=only)), AskedRequest("http://a.example.com:8080/", "us"))
    assert isinstance(found, RequestExplanation)
    assert (found.status, found.route, found.rule, found.backend) == (404, None, None, None)
    missed = asked("http://a.example.com:81/")
    assert (missed.status, missed.listener) == (None, None)
    assert "8080" in missed.why[0]


def test_a_url_without_port_means_the_only_one() -> None:
    found = asked("http://a.example.com/one")
    assert (found.listener, found.rule) == ("tcp/127.0.0.10/8080", 0)
    assert "8080" in found.why[0]


@pytest.mark.parametrize(
    ("request_", "reason", "code"),
    [
        (AskedRequest("ftp://x/", "us"), "BadURL", 2),
        (AskedRequest("http://x:99999/", "us"), "BadURL", 2),
        (AskedRequest("/only/a/path", "us"), "BadURL", 2),
        (AskedRequest("http://x/", "mars"), "UnknownCluster", 2),
        (AskedRequest("http://x/", "us", gateway="default/none"), "NoGateway", 2),
        (AskedRequest("http://x/", "us", gateway="a/b/c"), "BadGateway", 2),
        (AskedRequest("http://x/", "us", headers=["no colon"]), "BadHeader", 2),
    ],
)
def test_asked_wrongly(request_: AskedRequest, reason: str, code: int) -> None:
    found = explain_request(view(), request_)
    assert isinstance(found, Failed)
    assert (found.reason, found.code) == (reason, code)


def test_tiers_show_what_the_proxy_sees() -> None:
    dead = seen(view(), "us", {"10.0.0.1:9000": Seen("Dead", "connection refused")})
    found = explain_request(dead, AskedRequest("http://127.0.0.10:8080/", "us"))
    assert isinstance(found, RequestExplanation)
    first = found.tiers[0].localities[0].endpoints[0]
    assert (first.state, first.cause) == ("Dead", "connection refused")


@pytest.mark.parametrize(
    ("text", "kind"),
    [("httproute", "HTTPRoute"), ("HTTPRoutes", "HTTPRoute"), ("svc", "Service"), ("services", "Service"),
     ("gtw", "Gateway"), ("gatewayclasses", "GatewayClass"), ("trafficpolicies", "TrafficPolicy"), ("serviceimports", "ServiceImport"),
     ("deploy", "Deployment")],
)  # fmt: skip
def test_kinds_as_people_type_them(text: str, kind: str) -> None:
    found = kind_named(text)
    assert found is not None
    assert found.kind == kind


def test_object_in_every_cluster_that_has_it() -> None:
    of = view(fleet(us=ROUTES))
    assert [each.cluster for each in explained(of, "HTTPRoute", "shop").objects] == ["us", "eu"]
    assert [each.cluster for each in explained(of, "HTTPRoute", "rules").objects] == ["us"]
    assert [each.cluster for each in explained(of, "HTTPRoute", "shop", cluster="eu").objects] == ["eu"]


def test_conditions_and_why() -> None:
    of = replace(view(), origin=origin_of("us/gw.yaml", 7))
    row = explained(of, "gateway", "gw", cluster="us").objects[0]
    held = {(each.about, each.type): each.status for each in row.conditions}
    assert held["", "Programmed"] == "True"
    assert held["listener/http", "Accepted"] == "True"
    assert (row.file, row.line, row.addresses) == ("us/gw.yaml", 7, ("127.0.0.10",))
    assert row.why


def test_an_object_that_was_never_admitted_is_explained_by_its_refusal() -> None:
    refused = Problem("us", "HTTPRoute", "default", "bad", "Invalid", "spec.rules: unknown field", "us/a.yaml", 4)
    row = explained(view(problems=(refused,)), "httproute", "bad").objects[0]
    assert [each.message for each in row.problems] == ["spec.rules: unknown field"]


def test_objects_at_the_top() -> None:
    row = explained(view(), "clusterset", "shop").objects[0]
    assert row.cluster is None


@pytest.mark.parametrize(("kind", "name", "code"), [("nonsense", "x", 2), ("service", "nope", 1)])
def test_nothing_of_that_name(kind: str, name: str, code: int) -> None:
    found = explain_object(view(), Asked(kind, name))
    assert isinstance(found, Failed)
    assert found.code == code
    if code == 1:
        assert "default/shop" in found.message


def test_transition_times_move_only_with_the_status() -> None:
    first = view()
    first = replace(first, since=advance(None, first))
    socket = next(iter(first.plan.proxies["us"].listeners))
    later = replace(with_proxy(first, "us", pending=frozenset({socket})), now=NOW + timedelta(seconds=5))
    later = replace(later, since=advance(first, later))
    times = {
        (each.about, each.type): each.last_transition_time for each in explained(later, "gateway", "gw", cluster="us").objects[0].conditions
    }
    assert times["", "Programmed"] == NOW + timedelta(seconds=5)
    assert times["", "Accepted"] == NOW
    assert later.since[ObjectRef("us", "HTTPRoute", "default", "shop")] is first.since[ObjectRef("us", "HTTPRoute", "default", "shop")]
    back = replace(first, now=NOW + timedelta(seconds=9), since=later.since)
    assert advance(later, back)[ObjectRef("us", "Gateway", "default", "gw")]["", "Programmed", "True"] == NOW + timedelta(seconds=9)


def test_what_if() -> None:
    found = what_if(view(), ["us-east"], [])
    assert isinstance(found, WhatIfReport)
    row = next(each for each in found.services if each.source == "us")
    assert (row.before, row.after, row.left) == ({"us": 1.0}, {"eu": 1.0}, True)
    assert row.why


@pytest.mark.parametrize(("lose", "drain"), [([], []), (["mars"], []), ([], ["mars"])])
def test_what_if_asked_wrongly(lose: list[str], drain: list[str]) -> None:
    found = what_if(view(), lose, drain)
    assert isinstance(found, Failed)
    assert found.code == 2


def test_drain_dry_run_refusal_and_force() -> None:
    until = NOW + timedelta(minutes=30)
    dry = drain_report(view(), "us", until, dry_run=True, force=False)
    real = drain_report(view(), "us", until, dry_run=False, force=False)
    assert isinstance(dry, DrainReport)
    assert isinstance(real, DrainReport)
    assert (dry.applied, real.applied, real.refusals) == (False, True, ())
    assert dry.services == real.services
    half = view(fleet(drains=(Drain("eu", until),)))
    last = drain_report(half, "us", until, dry_run=False, force=False)
    assert isinstance(last, DrainReport)
    assert last.applied is False
    assert "default/shop" in last.refusals[0]
    forced = drain_report(half, "us", until, dry_run=False, force=True)
    assert isinstance(forced, DrainReport)
    tried = drain_report(half, "us-east", until, dry_run=True, force=True)
    assert isinstance(tried, DrainReport)
    assert (tried.applied, tried.forced, bool(tried.refusals)) == (False, True, True)
    assert drain_text(tried, False).startswith("us-east would be drained until")
    assert forced.applied is True
    assert isinstance(drain_report(view(), "mars", until, dry_run=False, force=False), Failed)


def test_what_the_proxies_find_dead_is_no_reserve() -> None:
    gone = {each: Seen("Dead", "health checks fail") for each in ("10.0.0.1:9000", "10.0.0.2:9000")}
    half = seen(seen(view(), "us", gone), "eu", gone)
    found = what_if(half, ["eu"], [])
    assert isinstance(found, WhatIfReport)
    assert [(each.before, each.after, each.left) for each in found.services if each.source == "us"] == [({"eu": 1.0}, {}, False)]
    refused = drain_report(half, "eu", NOW + timedelta(minutes=1), dry_run=False, force=False)
    assert isinstance(refused, DrainReport)
    assert (refused.applied, len(refused.refusals)) == (False, 1)
    told = explain_request(half, AskedRequest("http://127.0.0.10:8080/", "us"))
    assert isinstance(told, RequestExplanation)
    assert any("0 of 2 endpoints here" in each for each in told.why), told.why


def test_undrain() -> None:
    held = view(fleet(drains=(Drain("us", NOW + timedelta(minutes=1)),)))
    assert undrain_report(held, "us") == UndrainReport(target="us", applied=True)
    missed = undrain_report(held, "us-east")
    assert isinstance(missed, Failed)
    assert (missed.code, "us" in missed.message) == (1, True)


def test_check_tells_refused_from_unresolved() -> None:
    refused = Problem("us", "Service", "default", "bad", "Invalid", "no", "us/a.yaml", 4)
    extra = "---\nkind: HTTPRoute\nmetadata: {name: lost}\nspec: {parentRefs: [{name: nobody}]}\n"
    of = view(fleet(us=extra), problems=(refused,), refusals=frozenset({refused}))
    found = check(of)
    assert found.ok is False
    assert {each.name: each.refused for each in found.problems} == {"bad": True, "lost": False}
    assert check(replace(of, problems=(), refusals=frozenset())).ok is True
    assert check(view()).problems == ()


def test_objects_with_status() -> None:
    found = objects(view(), "us")
    assert not isinstance(found, Failed)
    kinds = {(each["kind"], each["metadata"]["name"]): each for each in found}
    gateway = kinds["Gateway", "gw"]
    assert gateway["status"]["addresses"] == [{"type": "IPAddress", "value": "127.0.0.10"}]
    assert gateway["status"]["listeners"][0]["attachedRoutes"] == 1
    route = kinds["HTTPRoute", "shop"]
    assert route["status"]["parents"][0]["parentRef"] == {
        "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "default", "name": "gw",
    }  # fmt: skip
    assert route["metadata"]["annotations"] == {"flota.dev/cluster": "us"}
    assert "namespace" not in kinds["GatewayClass", "flota"]["metadata"]
    assert isinstance(objects(view(), "mars"), Failed)
    assert msgspec.json.encode(found)


def test_what_the_proxy_finds_is_a_reason() -> None:
    dead = seen(view(), "us", {"10.0.0.1:9000": Seen("Dead", "connection refused")})
    found = explain_request(dead, AskedRequest("http://127.0.0.10:8080/", "us"))
    assert isinstance(found, RequestExplanation)
    assert found.why[-1] == "the proxy finds 1 of 2 endpoints in us dead: connection refused"


def test_a_workload_is_explained_by_its_pods() -> None:
    manifest = """
---
kind: Deployment
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  template: {metadata: {labels: {app: app}}, spec: {containers: [{name: a, command: [a]}]}}
"""
    pods = (pod("app-0", owner="Deployment/app"), pod("app-1", owner="Deployment/app", ready=False, reason="exit code 3"), pod("shop-0"))
    found = explain_object(view(fleet(us=manifest), pods=pods), Asked("Deployment", "app"))
    assert isinstance(found, ObjectExplanation)
    said = found.objects[0].why
    assert said == ("Pod app-0 at 127.1.2.3 is ready.", "Pod app-1 at 127.1.2.3 is not ready (Running): exit code 3.")
