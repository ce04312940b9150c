"""Explain against a model that reads the specification literally, and what it says of each way a request can end."""

from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from routing_fleets import GATEWAY, all_of, cluster, fleet, plan_of, service, tls_secret

from flota.plan import ObjectRef
from flota.routing.explain import Answer, Request, explain_request
from flota.routing.paths import normalise, replace_prefix
from flota.routing.reasons import explain_object

HOSTS = ("a.example.com", "b.example.com", "x.a.example.com", "*.example.com", "*.a.example.com", "*.com", "c.org")
AUTHORITIES = (
    "a.example.com", "A.Example.COM:8080", "b.example.com", "x.a.example.com", "y.x.a.example.com", "example.com", "c.org:80", "d.net", "",
)  # fmt: skip
LISTENER_HOSTS = ("*", "*.example.com", "a.example.com", "*.a.example.com")
HEADERS = ((), (("x", "1"),), (("x", "2"), ("y", "1")), (("y", "2"),))
PATHS = ("/", "/a", "/a/", "/a/b", "/ab", "/a?x=1", "/a/b?x=2&x=1", "/c?y=&x=1")


class Rule(NamedTuple):
    """One match of a generated route."""

    kind: str
    path: str
    method: str | None
    headers: tuple[tuple[str, str], ...]
    query: tuple[tuple[str, str], ...]

    def manifest(self) -> dict[str, Any]:
        """As HTTPRouteMatch."""
        return {
            "path": {"type": self.kind, "value": self.path},
            "headers": [{"name": name, "value": value} for name, value in self.headers],
            "queryParams": [{"name": name, "value": value} for name, value in self.query],
            **({"method": self.method} if self.method else {}),
        }


class Route(NamedTuple):
    """A generated route; its place in the list is its age."""

    listener: str | None
    hosts: tuple[str, ...]
    rules: tuple[Rule, ...]


def rules() -> st.SearchStrategy[Rule]:
    """Matches that overlap."""
    pairs = st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from("12")), max_size=2, unique_by=lambda each: each[0]).map(tuple)
    return st.builds(
        Rule,
        st.sampled_from(["Exact", "PathPrefix"]),
        st.sampled_from(["/", "/a", "/a/", "/a/b", "/c"]),
        st.sampled_from([None, None, "GET", "POST"]),
        pairs,
        pairs,
    )


def routes(listeners: tuple[str, ...]) -> st.SearchStrategy[Route]:
    """Routes to any or all of the listeners."""
    hosts = st.lists(st.sampled_from(HOSTS), max_size=3, unique=True).map(tuple)
    return st.builds(Route, st.sampled_from([None, *listeners]), hosts, st.lists(rules(), min_size=1, max_size=3).map(tuple))


def covers(hostname: str, host: str) -> bool:
    """HTTPRouteSpec.hostnames: a wildcard stands for one label or more."""
    return hostname in ("*", host) or (hostname.startswith("*.") and host.endswith(hostname[1:]) and len(host) > len(hostname) - 1)


def weight(hostname: str) -> tuple[int, int]:
    """Characters in a matching non-wildcard hostname, then in any."""
    return (0 if "*" in hostname else len(hostname), 0 if hostname == "*" else len(hostname))


def model(listeners: tuple[str, ...], made: list[Route], request: Request) -> tuple[int, int] | None:
    """(route, rule) by the words of the specification; None = 404."""
    host = request.authority.lower().partition(":")[0]
    mine = max((each for each in listeners if covers(each, host)), key=weight, default=None)
    path, _, query = request.path.partition("?")
    params: dict[str, str] = {}
    for pair in query.split("&"):
        params.setdefault(pair.partition("=")[0], pair.partition("=")[2])
    found = []
    for age, route in enumerate(made):
        if mine is None or route.listener not in (None, mine):
            continue
        # A hostname of the route that the listener does not share is ignored.
        shared = [each for each in route.hosts or ("*",) if covers(each, host)]
        for at, rule in enumerate(route.rules if shared else ()):
            prefix = rule.path.rstrip("/")
            fits = path == rule.path if rule.kind == "Exact" else path == prefix or path.startswith(prefix + "/")
            fits = fits and rule.method in (None, request.method) and set(rule.headers) <= set(request.headers)
            if fits and all(params.get(name) == value for name, value in rule.query):
                best = max(map(weight, shared))
                order = (rule.kind != "Exact", -len(prefix or "/"), rule.method is None, -len(rule.headers), -len(rule.query))
                found.append(((-best[0], -best[1]), order, age, at))
    return min(found)[2:] if found else None


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_requests_go_where_the_specification_says(data: st.DataObject) -> None:
    dice = data.draw(st.randoms(use_true_random=False))
    listeners = tuple(data.draw(st.lists(st.sampled_from(LISTENER_HOSTS), min_size=1, unique=True)))
    made = data.draw(st.lists(routes(listeners), min_size=1, max_size=6))
    gateway = yaml.safe_load(GATEWAY)
    names = {each: f"l{at}" for at, each in enumerate(listeners)}
    gateway["spec"]["listeners"] = [
        {"name": names[each], "port": 80, "protocol": "HTTP"} | ({} if each == "*" else {"hostname": each}) for each in listeners
    ]
    manifests = [
        {
            "kind": "HTTPRoute",
            "metadata": {"name": f"r{at}", "creationTimestamp": f"2026-01-01T00:00:{at:02}Z"},
            "spec": {
                "parentRefs": [{"name": "gw"} | ({"sectionName": names[route.listener]} if route.listener else {})],
                "hostnames": list(route.hosts),
                "rules": [{"matches": [rule.manifest()], "backendRefs": [{"name": "app", "port": 8080}]} for rule in route.rules],
            },
        }
        for at, route in enumerate(made)
    ]
    proxy = plan_of(yaml.safe_dump(gateway), service("app"), more=manifests).proxies["us"]
    for authority in AUTHORITIES:
        for path in PATHS:
            request = Request(authority, path, method=dice.choice(["GET", "POST"]), headers=dice.choice(HEADERS), port=80)
            answer = explain_request(proxy, request)
            expected = model(listeners, made, request)
            found = (int(answer.source.name[1:]), answer.source.rule) if answer.source else None
            assert found == expected, (request, answer.why)
            assert answer.status == (404 if expected is None else None)


ROUTE = """
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  hostnames: [%s]
  rules:
  - matches: [{path: {value: /away}}]
    filters: [{type: RequestRedirect, requestRedirect: %s}]
  - matches: [{path: {value: /none}}]
    backendRefs: [{name: none, port: 80}]
  - matches: [{path: {value: /empty}}]
    backendRefs: [{name: empty, port: 8080}]
  - matches: [{path: {value: /half}}]
    backendRefs: [{name: none, port: 80}, {name: app, port: 8080, weight: 3}]
  - matches: [{path: {value: /app}}]
    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x, value: y}]}}
    - {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}
    backendRefs: [{name: app, port: 8080}]
"""


def ask(path: str, authority: str = "a.org", redirect: str = "{scheme: https}", hostname: str = "a.org", **more: Any) -> Answer:
    """What is said of a request to a Gateway with all the ends a request can have."""
    plan = plan_of(GATEWAY, service("app"), service("empty", addresses=()), ROUTE % (f'"{hostname}"', redirect))
    return explain_request(plan.proxies["us"], Request(authority, path, **more))


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/away", 302, "redirects"),
        ("/none", 500, "no backend"),
        ("/empty", 503, "no endpoint"),
        ("/half", None, "25%"),
        ("/app/x", None, "service/default/app/8080"),
        ("/else", 404, "none of its 5 matches"),
    ],
)
def test_ends(path: str, status: int | None, word: str) -> None:
    answer = ask(path)
    assert answer.status == status
    assert word in answer.why[-1] or word in " ".join(answer.why)
    assert answer.listener == "tcp/127.0.0.10/80"
    assert answer.host == "a.org"


def test_what_a_forwarded_request_meets() -> None:
    answer = ask("/app/x")
    assert [(each.label, each.share) for each in answer.candidates] == [("service/default/app/8080", 1.0)]
    assert answer.tiers[0].localities[0].endpoints[0].address == "127.0.1.1"
    assert answer.filters == ("request header x set to 'y'", "prefix /app becomes /")
    assert answer.source
    assert (answer.source.name, answer.source.rule) == ("r", 4)


def test_where_nothing_listens() -> None:
    assert ask("/", authority="a.org:81").listener is None
    assert ask("/", gateway=("default", "other")).listener is None
    assert ask("/", port=80, authority="a.org:81").status == 404
    assert ask("/", authority="b.org").status == 404
    assert ask("/app", scheme="https", authority="a.org:80").status is None


@pytest.mark.parametrize(
    ("redirect", "request_", "location"),
    [
        ("{scheme: https}", "a.org/away/x?q=1", "https://a.org/away/x?q=1"),
        ("{scheme: https}", "a.org:80/away", "https://a.org/away"),
        ("{}", "A.org/away", "http://a.org/away"),
        ("{port: 8443}", "a.org/away", "http://a.org:8443/away"),
        ("{hostname: b.org}", "a.org:80/away", "http://b.org/away"),
        ("{path: {type: ReplaceFullPath, replaceFullPath: /new}}", "a.org/away/x?q", "http://a.org/new?q"),
        ("{path: {type: ReplacePrefixMatch, replacePrefixMatch: /new/}}", "a.org/away/x", "http://a.org/new/x"),
        ('{path: {type: ReplacePrefixMatch, replacePrefixMatch: ""}}', "a.org/away", "http://a.org/"),
    ],
)
def test_redirect_locations(redirect: str, request_: str, location: str) -> None:
    authority, _, path = request_.partition("/")
    assert ask("/" + path, authority, redirect, port=80).location == location


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("/a/../b", "/b"), ("/a/./b", "/a/b"), ("//a///b", "/a/b"), ("/%61", "/a"), ("/a%2Fb", "/a%2Fb"), ("/..", "/"), ("/a/..", "/"),
        ("/a/.", "/a/"), ("/%2e%2e/a", "/a"), ("/a\\b", "/a/b"), ("", "/"), ("/%zz", "/%zz"),
    ],
)  # fmt: skip
def test_paths_are_compared_normalised(sent: str, seen: str) -> None:
    assert normalise(sent) == seen


@pytest.mark.parametrize(
    ("path", "prefix", "replacement", "expected"),
    [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"), ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"), ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"), ("/foo/", "/foo", "/xyz", "/xyz/"), ("/foo/bar", "/foo", "", "/bar"), ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"), ("/foo/", "/foo", "/", "/"), ("/foo", "/foo", "/", "/"), ("/foo", "/", "/xyz", "/xyz/foo"),
    ],
)  # fmt: skip
def test_prefixes_are_replaced_by_whole_elements(path: str, prefix: str, replacement: str, expected: str) -> None:
    assert replace_prefix(path, prefix, replacement) == expected


def test_connections_that_are_carried() -> None:
    gateway = yaml.safe_load(GATEWAY)
    tls = {"mode": "Terminate", "certificateRefs": [{"name": "cert"}]}
    gateway["spec"]["listeners"] = [
        {"name": "pass", "port": 443, "protocol": "TLS", "tls": {"mode": "Passthrough"}, "hostname": "*.org"},
        {"name": "https", "port": 443, "protocol": "HTTPS", "tls": tls, "hostname": "h.example.com"},
    ]
    route = {
        "kind": "TLSRoute",
        "metadata": {"name": "t"},
        "spec": {"parentRefs": [{"name": "gw"}], "hostnames": ["a.org"], "rules": [{"backendRefs": [{"name": "app", "port": 8080}]}]},
    }
    plan = plan_of(yaml.safe_dump(gateway), service("app"), more=[route, tls_secret("cert", "h.example.com")])
    proxy = plan.proxies["us"]
    carried = explain_request(proxy, Request("a.org", scheme="https"))
    assert (carried.status, carried.chain, carried.source and carried.source.name) == (None, "tls/a.org", "t")
    assert [each.label for each in carried.candidates] == ["service/default/app/8080"]
    assert explain_request(proxy, Request("b.org", scheme="https")).source is None
    assert explain_request(proxy, Request("x.net", scheme="https")).chain is None
    assert explain_request(proxy, Request("h.example.com", scheme="https")).status == 404


def test_objects_in_sentences() -> None:
    text = all_of(GATEWAY, service("app"), ROUTE % ("a.org", "{}"))
    plan = plan_of(text)

    def why(kind: str, name: str) -> str:
        return " ".join(explain_object(fleet(cluster(text)), plan, ObjectRef("us", kind, "default", name)))

    assert "takes HTTPRoute, GRPCRoute and has 1 attached" in why("Gateway", "gw")
    assert "ResolvedRefs is False (BackendNotFound)" in why("HTTPRoute", "r")
    assert "1 endpoints in us" in why("Service", "app")
    assert "No route" in why("Service", "other")
