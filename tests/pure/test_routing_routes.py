"""Routes: attachment, hostnames, precedence, and what each rule becomes (Gateway API routes)."""

from typing import Any

import pytest
import yaml
from routing_fleets import GATEWAY, all_of, condition, fleet, plan_of, service, status_of, tls_secret

from flota.fleet.signals import Signals
from flota.plan import Forward, Mirror, ObjectRef, PathMatch, Plan, Redirect, Respond, Retry, Rewrite, ValueMatch
from flota.routing.reasons import explain_object

TABLE = "http/127.0.0.10/80"
APP = {"name": "app", "port": 8080}
BASE = all_of(GATEWAY, service("app"), service("api"))


def route(*rules: dict[str, Any], name: str = "r", kind: str = "HTTPRoute", hosts: tuple[str, ...] = (), **more: Any) -> str:
    """A route to the Gateway; by default with one rule that sends to `app`."""
    spec: dict[str, Any] = {"parentRefs": [{"name": "gw"}], "rules": list(rules) or [{"backendRefs": [APP]}], **more}
    if hosts:
        spec["hostnames"] = list(hosts)
    return yaml.safe_dump({"kind": kind, "metadata": {"name": name}, "spec": spec})


def path(value: str, kind: str = "PathPrefix", **more: Any) -> dict[str, Any]:
    """A match of a path."""
    return {"path": {"type": kind, "value": value}, **more}


def order(plan: Plan, domain: str = "*", table: str = TABLE) -> list[str]:
    """Routes of a host's entries with their rule, in order of precedence."""
    return [f"{each.source.name}/{each.source.rule}" for each in plan.proxies["us"].tables[table].hosts[domain].entries]


def action(plan: Plan, at: int = 0) -> Any:
    """What the first entry of the table does."""
    return plan.proxies["us"].tables[TABLE].hosts["*"].entries[at].action


def accepted(plan: Plan, name: str = "r", kind: str = "HTTPRoute") -> tuple[str, str]:
    """The condition Accepted of the first parent."""
    return condition(status_of(plan, kind, name).parents[0], "Accepted")


def resolved(plan: Plan, name: str = "r", kind: str = "HTTPRoute") -> tuple[str, str]:
    """The condition ResolvedRefs of the first parent."""
    return condition(status_of(plan, kind, name).parents[0], "ResolvedRefs")


LISTENERS = """
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: flota
  addresses: [{value: 127.0.0.10}]
  listeners:
  - {name: any, port: 80, protocol: HTTP}
  - {name: wild, port: 80, protocol: HTTP, hostname: "*.example.com"}
  - {name: exact, port: 80, protocol: HTTP, hostname: a.example.com}
"""


def test_a_host_belongs_to_the_most_specific_listener_only() -> None:
    plan = plan_of(LISTENERS, service("app"), *(
        route(name=each, parentRefs=[{"name": "gw", "sectionName": each}]) for each in ("any", "wild")
    ))  # fmt: skip
    hosts = plan.proxies["us"].tables[TABLE].hosts
    assert {domain: [each.source.name for each in host.entries] for domain, host in hosts.items()} == {
        "*": ["any"], "*.example.com": ["wild"], "a.example.com": [],
    }
    # A route of a wide listener does not reach hosts of a narrower one, however exact its hostname is.
    far = plan_of(LISTENERS, service("app"), route(hosts=("b.example.com", "b.org"), parentRefs=[{"name": "gw", "sectionName": "any"}]))
    assert order(far, "b.org") == ["r/0"]
    assert "b.example.com" not in far.proxies["us"].tables[TABLE].hosts


@pytest.mark.parametrize(
    ("listener", "hosts", "expected"),
    [
        (None, (), ["*"]),
        (None, ("a.org", "*.b.org"), ["*.b.org", "a.org"]),
        ("a.example.com", (), ["a.example.com"]),
        ("a.example.com", ("*.example.com", "*.com", "x.org"), ["a.example.com"]),
        ("*.example.com", ("a.example.com", "a.b.example.com", "example.com", "x.org"), ["a.b.example.com", "a.example.com"]),
        ("*.example.com", ("*.com",), ["*.example.com"]),
        ("*.example.com", ("*.b.example.com",), ["*.b.example.com"]),
        ("a.example.com", ("b.example.com",), None),
        ("*.example.com", ("example.com",), None),
    ],
)
def test_hostnames_intersect(listener: str | None, hosts: tuple[str, ...], expected: list[str] | None) -> None:
    given = {**yaml.safe_load(GATEWAY)}
    given["spec"]["listeners"][0] |= {"hostname": listener} if listener else {}
    plan = plan_of(yaml.safe_dump(given), service("app"), route(hosts=hosts))
    if expected is None:
        assert accepted(plan) == ("False", "NoMatchingListenerHostname")
        assert status_of(plan, "Gateway", "gw").listeners[0].attached_routes == 0
    else:
        assert accepted(plan) == ("True", "Accepted")
        assert sorted(plan.proxies["us"].tables[TABLE].hosts) == expected


@pytest.mark.parametrize(
    ("parent", "allowed", "expected"),
    [
        ({"name": "gw"}, {}, "Accepted"),
        ({"name": "gw", "sectionName": "http", "port": 80}, {}, "Accepted"),
        ({"name": "gw", "sectionName": "http", "port": 81}, {}, "NoMatchingParent"),
        ({"name": "gw", "sectionName": "none"}, {}, "NoMatchingParent"),
        ({"name": "gw", "port": 81}, {}, "NoMatchingParent"),
        ({"name": "gw"}, {"kinds": [{"kind": "GRPCRoute"}]}, "NotAllowedByListeners"),
        ({"name": "gw"}, {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "a"}}}}, "Accepted"),
        ({"name": "gw"}, {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "b"}}}}, "NotAllowedByListeners"),
        (
            {"name": "gw"},
            {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}},
            "Accepted",
        ),
    ],
)
def test_attachment(parent: dict[str, Any], allowed: dict[str, Any], expected: str) -> None:
    given = yaml.safe_load(GATEWAY)
    given["spec"]["listeners"][0]["allowedRoutes"] = allowed
    space = "kind: Namespace\nmetadata: {name: default, labels: {team: a}}"
    plan = plan_of(yaml.safe_dump(given), space, service("app"), route(parentRefs=[parent]))
    assert accepted(plan)[1] == expected
    assert bool(plan.proxies["us"].tables[TABLE].hosts) == (expected == "Accepted")


def test_parents_that_are_not_ours_or_not_there() -> None:
    theirs = """
kind: GatewayClass
metadata: {name: theirs}
spec: {controllerName: example.com/x}
---
kind: Gateway
metadata: {name: far}
spec: {gatewayClassName: theirs, listeners: [{name: http, port: 80, protocol: HTTP}]}
"""
    parents = [{"name": "far"}, {"name": "none"}, {"group": "", "kind": "Service", "name": "app"}]
    plan = plan_of(BASE, theirs, route(parentRefs=parents))
    assert status_of(plan, "HTTPRoute", "r").parents == ()
    assert sorted(each.reason for each in plan.problems) == ["NoMatchingParent", "UnsupportedValue"]


def test_precedence_within_a_host() -> None:
    rules = [
        {"matches": [match], "backendRefs": [APP]}
        for match in (
            path("/"),
            path("/a"),
            path("/a/b"),
            path("/a", "Exact"),
            path("/a.*", "RegularExpression"),
            path("/a", headers=[{"name": "x", "value": "1"}]),
            path("/a", queryParams=[{"name": "x", "value": "1"}]),
            path("/a", method="GET"),
            path("/a", headers=[{"name": "x", "value": "1"}, {"name": "y", "value": "1"}]),
            path("/a", headers=[{"name": "x", "value": "1"}, {"name": "X", "value": "2"}], queryParams=[{"name": "x", "value": "1"}]),
        )
    ]
    expected = [3, 4, 2, 7, 8, 9, 5, 6, 1, 0]
    assert order(plan_of(BASE, route(*rules))) == [f"r/{each}" for each in expected]


def test_precedence_of_ties() -> None:
    texts = [route(name=name) for name in ("z", "b", "a")]
    assert order(plan_of(BASE, *texts))[0] == "z/0", "the oldest"
    old = [yaml.safe_load(each) for each in texts]
    for each in old:
        each["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    assert order(plan_of(BASE, more=old))[0] == "a/0", "by name"
    two = route({"backendRefs": [APP], "matches": [path("/x")]}, {"backendRefs": [APP], "matches": [path("/x")]})
    assert order(plan_of(BASE, two)) == ["r/0", "r/1"]


def test_more_specific_hostnames_go_first_and_wider_ones_follow() -> None:
    plan = plan_of(
        BASE,
        route({"backendRefs": [APP], "matches": [path("/x", "Exact")]}, name="none"),
        route({"backendRefs": [APP], "matches": [path("/x", "Exact")]}, name="wide", hosts=("*.com",)),
        route({"backendRefs": [APP], "matches": [path("/x", "Exact")]}, name="wild", hosts=("*.example.com",)),
        route({"backendRefs": [APP], "matches": [path("/a")]}, name="exact", hosts=("a.example.com",)),
    )
    assert order(plan, "a.example.com") == ["exact/0", "wild/0", "wide/0", "none/0"]
    assert order(plan, "*.example.com") == ["wild/0", "wide/0", "none/0"]
    assert order(plan, "*") == ["none/0"]
    # What nothing can reach is left out.
    last = plan_of(BASE, route(name="none"), route(name="exact", hosts=("a.example.com",)))
    assert order(last, "a.example.com") == ["exact/0"]


def test_grpc_calls_come_before_requests_on_a_shared_host() -> None:
    rules = [
        {"backendRefs": [APP], **({"matches": [{"method": method}]} if method else {})}
        for method in (None, {"service": "a.B"}, {"service": "a.B", "method": "C"}, {"method": "C"})
    ]
    plan = plan_of(BASE, route(name="h"), route(*rules, name="g", kind="GRPCRoute"))
    assert order(plan) == ["g/2", "g/1", "g/3", "g/0", "h/0"]
    matches = [each.match for each in plan.proxies["us"].tables[TABLE].hosts["*"].entries]
    assert [each.path for each in matches[:4]] == [
        PathMatch("Exact", "/a.B/C"), PathMatch("Prefix", "/a.B"), PathMatch("Regex", "/[^/]+/C"), PathMatch("Prefix", "/"),
    ]
    assert [each.grpc for each in matches] == [True] * 4 + [False]


def test_matches() -> None:
    headers = [{"name": "X-A", "value": "1"}, {"name": "x-a", "value": "2"}, {"name": "b", "value": "c.*", "type": "RegularExpression"}]
    query = [{"name": "q", "value": "1"}, {"name": "Q", "value": "2", "type": "RegularExpression"}]
    plan = plan_of(BASE, route({"matches": [path("/a/", headers=headers, queryParams=query, method="PUT")], "backendRefs": [APP]}))
    match = plan.proxies["us"].tables[TABLE].hosts["*"].entries[0].match
    assert match.path == PathMatch("Prefix", "/a")
    assert match.headers == (ValueMatch("x-a", "Exact", "1"), ValueMatch("b", "Regex", "c.*"))
    assert match.query == (ValueMatch("q", "Exact", "1"), ValueMatch("Q", "Regex", "2"))
    assert match.method == "PUT"


@pytest.mark.parametrize(
    ("refs", "expected", "reason"),
    [
        ([], 500, "ResolvedRefs"),
        ([{"name": "none", "port": 80}], 500, "BackendNotFound"),
        ([{**APP, "weight": 0}], 500, "ResolvedRefs"),
        ([{"name": "app", "port": 8080, "kind": "Odd"}], 500, "InvalidKind"),
        ([{"name": "app", "port": 8080, "namespace": "far"}], 500, "RefNotPermitted"),
        ([APP, {"name": "none", "port": 80, "weight": 3}], [1, 3], "BackendNotFound"),
        ([{**APP, "weight": 2}, {"name": "api", "port": 8080}, {"name": "app", "port": 8080, "weight": 0}], [2, 1], "ResolvedRefs"),
    ],
)
def test_backends(refs: list[dict[str, Any]], expected: int | list[int], reason: str) -> None:
    plan = plan_of(BASE, route({"backendRefs": refs}))
    assert resolved(plan)[1] == reason
    assert accepted(plan) == ("True", "Accepted")
    found = action(plan)
    if isinstance(expected, int):
        assert found == Respond(expected)
    else:
        assert [each.weight for each in found.backends] == expected
        assert [each.backend is None for each in found.backends] == [False, reason != "ResolvedRefs"]


def test_grpc_without_a_backend_is_unavailable() -> None:
    assert action(plan_of(BASE, route({"backendRefs": []}, kind="GRPCRoute"))) == Respond(503)


def test_imports_are_backends_of_every_kind() -> None:
    imported = """
kind: ServiceExport
metadata: {name: app}
---
kind: ServiceImport
metadata: {name: app}
spec: {type: ClusterSetIP, ports: [{port: 8080}]}
"""
    ref = {"group": "multicluster.x-k8s.io", "kind": "ServiceImport", "name": "app", "port": 8080}
    plan = plan_of(BASE, imported, route({"backendRefs": [ref, APP]}))
    names = [each.backend.rsplit("/", 1)[0] for each in action(plan).backends]
    assert names == ["serviceimport/default/app/8080", "service/default/app/8080"]
    assert plan.problems == ()


def filtered(*filters: dict[str, Any], **rule: Any) -> Any:
    """The first entry of a route whose rule has these filters."""
    plan = plan_of(BASE, route({"backendRefs": [APP], "filters": list(filters), **rule}))
    return plan.proxies["us"].tables[TABLE].hosts["*"].entries[0]


def test_header_filters() -> None:
    changes = {"set": [{"name": "A", "value": "1"}], "add": [{"name": "B", "value": "2"}], "remove": ["C", "c"]}
    found = filtered(
        {"type": "RequestHeaderModifier", "requestHeaderModifier": changes},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["Server"]}},
        backendRefs=[{**APP, "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": changes}]}],
    )
    assert found.request_headers.set == (("a", "1"),)
    assert found.request_headers.add == (("b", "2"),)
    assert found.request_headers.remove == ("c",)
    assert found.response_headers.remove == ("server",)
    assert found.action.backends[0].response_headers.set == (("a", "1"),)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, Redirect(302, port=0)),
        ({"scheme": "https"}, Redirect(302, "https", port=0)),
        ({"scheme": "http"}, Redirect(302, "http", port=0)),
        ({"port": 8080}, Redirect(302, port=8080)),
        ({"port": 80}, Redirect(302, port=0)),
        ({"scheme": "https", "port": 80}, Redirect(302, "https", port=80)),
        ({"scheme": "https", "port": 443, "statusCode": 308}, Redirect(308, "https", port=0)),
        ({"hostname": "b.org", "path": {"type": "ReplaceFullPath", "replaceFullPath": "/x"}}, Redirect(302, None, "b.org", 0, "/x")),
        ({"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/y"}}, Redirect(302, port=0, prefix="/y")),
    ],
)
def test_redirects(asked: dict[str, Any], expected: Redirect) -> None:
    assert filtered({"type": "RequestRedirect", "requestRedirect": asked}, backendRefs=[]).action == expected


def test_a_redirect_keeps_the_port_of_each_listener() -> None:
    two = GATEWAY.replace("listeners: [", "listeners: [{name: more, port: 8080, protocol: HTTP}, ")
    plan = plan_of(two, route({"filters": [{"type": "RequestRedirect", "requestRedirect": {}}]}))
    ports = {name: table.hosts["*"].entries[0].action.port for name, table in plan.proxies["us"].tables.items()}  # type: ignore[union-attr]
    assert ports == {TABLE: 0, "http/127.0.0.10/8080": 8080}


def test_rewrites_mirrors_timeouts_and_retries() -> None:
    found = filtered(
        {"type": "URLRewrite", "urlRewrite": {"hostname": "b.org", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": ""}}},
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "api", "port": 8080}, "percent": 5}},
        {"type": "RequestMirror", "requestMirror": {"backendRef": APP, "fraction": {"numerator": 1, "denominator": 3}}},
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "none", "port": 1}}},
        timeouts={"request": "1s500ms", "backendRequest": "0s"},
        retry={"codes": [500, 503], "attempts": 2, "backoff": "10ms"},
    ).action
    assert isinstance(found, Forward)
    assert found.rewrite == Rewrite("b.org", prefix="")
    assert [(each.numerator, each.denominator) for each in found.mirrors] == [(5, 100), (1, 3)]
    assert all(isinstance(each, Mirror) for each in found.mirrors)
    assert (found.timeout_ms, found.try_timeout_ms) == (1500, 0)
    assert found.retry == Retry((500, 503), 2, 10)


def test_a_mirror_that_does_not_resolve_costs_only_itself() -> None:
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "none", "port": 1}}}
    plan = plan_of(BASE, route({"backendRefs": [APP], "filters": [mirror]}))
    assert resolved(plan) == ("False", "BackendNotFound")
    assert isinstance(action(plan), Forward)


EXTENSION = {"type": "ExtensionRef", "extensionRef": {"group": "example.com", "kind": "Auth", "name": "x"}}


def test_what_cannot_be_done_is_never_skipped() -> None:
    guarded = {"matches": [path("/admin")], "filters": [EXTENSION], "backendRefs": [APP]}
    plan = plan_of(BASE, route(guarded, {"backendRefs": [APP]}))
    assert [type(each.action) for each in plan.proxies["us"].tables[TABLE].hosts["*"].entries] == [Respond, Forward]
    assert accepted(plan) == ("True", "Accepted")
    parent = status_of(plan, "HTTPRoute", "r").parents[0]
    assert condition(parent, "PartiallyInvalid") == ("True", "UnsupportedValue")
    text = next(each.message for each in parent.conditions if each.type == "PartiallyInvalid")
    assert text.startswith("Dropped Rule")
    assert "rules[0]" in text
    alone = plan_of(BASE, route(guarded), route(name="wide"))
    assert accepted(alone) == ("False", "UnsupportedValue")
    assert order(alone) == ["r/0", "wide/0"]
    assert action(alone) == Respond(500)
    assert status_of(alone, "Gateway", "gw").listeners[0].attached_routes == 1


def test_a_bad_expression_drops_its_rule_only() -> None:
    bad = {"matches": [path("/(", "RegularExpression")], "backendRefs": [APP]}
    plan = plan_of(BASE, route(bad, {"matches": [path("/good")], "backendRefs": [APP]}))
    assert order(plan) == ["r/1"]
    assert condition(status_of(plan, "HTTPRoute", "r").parents[0], "PartiallyInvalid") == ("True", "UnsupportedValue")


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("Request", {"remove": ["Host"]}, "rules[0]: a request has exactly one Host header"),
        ("Request", {"add": [{"name": "host", "value": "x"}]}, "rules[0]: a request has exactly one Host header"),
        ("Response", {"set": [{"name": "host", "value": "x"}]}, "rules[0]: a response has no Host header"),
        ("Request", {"set": [{"name": "host", "value": "x"}]}, None),
    ],
)
def test_what_cannot_be_done_to_the_host_header_is_said(kind: str, change: dict[str, Any], said: str | None) -> None:
    change = {"type": f"{kind}HeaderModifier", f"{kind.lower()}HeaderModifier": change}
    in_rule = plan_of(BASE, route({"backendRefs": [APP], "filters": [change]}))
    at_backend = plan_of(BASE, route({"backendRefs": [{**APP, "filters": [change]}]}))
    for plan in (in_rule, at_backend):
        assert [each.message.startswith(said or "-") for each in plan.problems] == [True] * bool(said)


def test_what_was_learnt() -> None:
    rule = {"backendRefs": [APP, {"name": "api", "port": 8080}], "timeouts": {"request": "1s"}}
    app, api = ("us", "service/default/app/8080"), ("us", "service/default/api/8080")

    def learnt(**signals: Any) -> tuple[int, bool]:
        found = action(plan_of(BASE, route(rule), signals=Signals(**signals)))
        return found.hedge_ms, found.sick

    assert learnt() == (800, False), "what holds before anything was learnt is more than the request has"
    assert learnt(per_try={app: 100}) == (800, False), "until all are known"
    assert learnt(per_try={app: 100, api: 300}, sick=frozenset({app})) == (300, False)
    assert learnt(per_try={app: 100, api: 3000}, sick=frozenset({app, api})) == (800, True)
    assert learnt(per_try={("eu", app[1]): 100, ("eu", api[1]): 300}) == (800, False), "of another proxy"


STREAMS = """
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: flota
  addresses: [{value: 127.0.0.10}]
  listeners:
  - {name: tcp, port: 90, protocol: TCP}
  - {name: udp, port: 90, protocol: UDP}
  - {name: any, port: 443, protocol: TLS, tls: {mode: Passthrough}}
  - {name: wild, port: 443, protocol: TLS, hostname: "*.example.com", tls: {mode: Terminate, certificateRefs: [{name: cert}]}}
"""


def chains(plan: Plan, socket: str) -> dict[tuple[str, ...], str | None]:
    """Server names of a socket's chains with the route that has them."""
    found = plan.proxies["us"].listeners[socket].chains
    return {each.server_names: each.source.name if each.source else None for each in found}


def test_routes_that_carry_bytes() -> None:
    datagrams = service("dns", port=8080, protocol="UDP")
    plan = plan_of(
        STREAMS, service("app"), datagrams,
        route(name="t1", kind="TCPRoute", parentRefs=[{"name": "gw", "sectionName": "tcp"}]),
        route(name="t2", kind="TCPRoute", parentRefs=[{"name": "gw", "sectionName": "tcp"}]),
        route({"backendRefs": [{"name": "dns", "port": 8080}]}, name="u", kind="UDPRoute"),
        route(name="s1", kind="TLSRoute", hosts=("a.example.com", "x.org")),
        route(name="s2", kind="TLSRoute", hosts=("*.org", "a.example.com")),
        more=[tls_secret("cert", "*.example.com")],
    )  # fmt: skip
    assert chains(plan, "tcp/127.0.0.10/90") == {(): "t1"}, "the oldest has the connections"
    assert accepted(plan, "t2", "TCPRoute") == ("True", "Accepted")
    told = {each: explain_object(fleet(), plan, ObjectRef("us", "TCPRoute", "default", each)) for each in ("t1", "t2")}
    assert any("an older route has them (TCPRoute default/t1)" in each for each in told["t2"])
    assert not any("older" in each for each in told["t1"])
    losers = [(each.name, each.reason) for each in plan.problems if each.reason == "Outdone"]
    assert losers == [("t2", "Outdone")], "s2 has a name of its own, t2 has nothing"
    assert chains(plan, "udp/127.0.0.10/90") == {(): "u"}
    assert chains(plan, "tcp/127.0.0.10/443") == {
        (): None, ("x.org",): "s1", ("*.org",): "s2", ("*.example.com",): None, ("a.example.com",): "s1",
    }
    by_name = {each.server_names: each for each in plan.proxies["us"].listeners["tcp/127.0.0.10/443"].chains}
    assert by_name["x.org",].tls is None
    assert by_name["a.example.com",].tls is not None
    counts = {each.name: each.attached_routes for each in status_of(plan, "Gateway", "gw").listeners}
    assert counts == {"tcp": 2, "udp": 1, "any": 2, "wild": 2}


def test_connections_without_a_route_are_refused() -> None:
    plan = plan_of(STREAMS, more=[tls_secret("cert", "*.example.com")])
    found = {name: [each.backends for each in listener.chains] for name, listener in plan.proxies["us"].listeners.items()}
    assert found == {"tcp/127.0.0.10/90": [()], "udp/127.0.0.10/90": [()], "tcp/127.0.0.10/443": [(), ()]}


def test_a_route_of_the_wrong_kind_is_not_allowed() -> None:
    plan = plan_of(BASE, route(name="t", kind="TCPRoute"))
    assert accepted(plan, "t", "TCPRoute") == ("False", "NotAllowedByListeners")


def test_hosts_of_other_https_listeners_are_misdirected() -> None:
    listeners = [
        {"name": name, "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "cert"}]}} | host
        for name, host in (("a", {"hostname": "a.example.com"}), ("wild", {"hostname": "*.example.com"}), ("any", {}))
    ]
    gateway = yaml.safe_load(GATEWAY)
    gateway["spec"]["listeners"] = listeners
    plan = plan_of(yaml.safe_dump(gateway), service("app"), route(), more=[tls_secret("cert", "*.example.com")])

    def statuses(table: str) -> dict[str, int | None]:
        hosts = plan.proxies["us"].tables[f"https/127.0.0.10/443/{table}"].hosts
        return {name: getattr(host.entries[0].action, "status", None) for name, host in hosts.items()}

    assert statuses("a.example.com") == {"a.example.com": None, "*.example.com": 421, "*": 421}
    assert statuses("*.example.com") == {"a.example.com": 421, "*.example.com": None, "*": 421}
    assert statuses("*") == {"a.example.com": 421, "*.example.com": 421, "*": None}
