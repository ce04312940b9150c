"""`flota explain request` against the whole product: folders full of overlapping routes, real Envoy, every answer compared.

`FLOTA_TEST_WORLDS` (default 12) folders of 250 requests each, from `FLOTA_TEST_SEED` (default 1) on. A failure names its seed.
"""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any, NamedTuple

from ads_harness import free_port
from grpclib.server import Server
from live_harness import Client, Live, Manifest, gateway, live, manifest, named_backend, served, to, to_import
from test_routing_explain_envoy import AUTHORITIES, HEADERS, PATHS, QUERIES, a_match, a_redirect

from flota.report.explain_request import AskedRequest, RequestExplanation, explain_request
from flota.report.view import View

HOSTS = ("a.example.com", "b.example.com", "x.a.example.com", "*.example.com", "*.a.example.com", "*.x.a.example.com", "*.com", "c.org")
WORLDS = int(os.environ.get("FLOTA_TEST_WORLDS", "12"))
SEED = int(os.environ.get("FLOTA_TEST_SEED", "1"))
REQUESTS = 250
MORE_AUTHORITIES = (*AUTHORITIES, "z.y.x.a.example.com", "x.a.example.com:443", "xn--bcher-kva.example.com", "127.0.0.1", "[::1]:8080")
MORE_PATHS = (*PATHS, "/a/" + "b" * 3000, "/a;v=1/b", "/a/b;", "/a/.", "/a//", "/a/%2F", "/rpc.S/Call", "/rpc.S", "/rpc.S/Other", "/*")
METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH")
GRPC = [("content-type", "application/grpc")]
PREFLIGHT = [("origin", "http://a.test"), ("access-control-request-method", "PUT")]


class Ports(NamedTuple):
    """Of the two Gateways' listeners."""

    web: int
    side: int


def a_backend(dice: Random) -> list[dict[str, Any]]:
    """References of a rule; only one of them gets requests."""
    names = ("one", "two", "one", "two", "none", "empty", "empty")
    whole = dice.choice([*(to(name) for name in names), *(to_import(name) for name in ("both", "both", "far", "none"))])
    spare = {**dice.choice([to("one"), to("two"), to("none")]), "weight": 0}
    found = dice.choice([*([whole],) * 6, *([whole, spare],) * 2, *([{**whole, "weight": 100}, spare],) * 2, [spare], []])
    return [dict(each) for each in found]


def an_http_rule(dice: Random, label: str) -> dict[str, Any]:
    """A rule that marks its answers with `label`."""
    if dice.random() < 0.15:
        rule = a_redirect(dice)
    else:
        rule = {"matches": [a_match(dice) for _ in range(dice.randint(1, 2))], "backendRefs": a_backend(dice), "filters": []}
        path = dice.choice([None, None, None, {"type": "ReplaceFullPath", "replaceFullPath": "/full"}])
        if path:
            rule["filters"].append({"type": "URLRewrite", "urlRewrite": {"hostname": "inner.test", "path": path}})
        if dice.random() < 0.2:
            change = {"set": [{"name": "host", "value": "set.test"}], "remove": ["x-none"], "add": [{"name": "Y", "value": "12"}]}
            rule["filters"].append({"type": "RequestHeaderModifier", "requestHeaderModifier": change})
        if dice.random() < 0.2 and len(rule["backendRefs"]) == 1:
            moved = {"type": "RequestRedirect", "requestRedirect": {"hostname": "one.test", "statusCode": 307}}
            changed = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/one"}}}
            rule["backendRefs"][0]["filters"] = [dice.choice([moved, changed])]
        if dice.random() < 0.1:
            rule["sessionPersistence"] = {}
        if dice.random() < 0.1:
            guard = {"protocol": "HTTP", "http": {}, "backendRef": to(dice.choice(["one", "none"]))}
            rule["filters"].append({"type": "ExternalAuth", "externalAuth": guard})
    if dice.random() < 0.2:
        origins = dice.choice([["*"], ["http://a.test"], ["http://other.test"]])
        rule["filters"].append({"type": "CORS", "cors": {"allowOrigins": origins}})
    mark = {"set": [{"name": "x-rule", "value": label}]}
    rule["filters"].append({"type": "ResponseHeaderModifier", "responseHeaderModifier": mark})
    return rule


def a_grpc_rule(dice: Random, label: str) -> dict[str, Any]:
    """A rule for calls."""
    method = dice.choice([None, {"service": "rpc.S"}, {"service": "rpc.S", "method": "Call"}, {"method": "Call"},
                          {"type": "RegularExpression", "service": "rpc.*", "method": "C.*"}])  # fmt: skip
    match: dict[str, Any] = {"method": method} if method else {}
    if dice.random() < 0.3:
        match["headers"] = [{"name": "x", "value": "1"}]
    mark = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "x-rule", "value": label}]}}
    refs = dice.choice([[to("rpc")], [to("rpc")], [to("none")], [to("empty")]])
    return {"matches": [match], "backendRefs": [dict(each) for each in refs], "filters": [mark]}


def a_route(dice: Random, at: int) -> Manifest:
    """A route on some of the listeners."""
    kind = "GRPCRoute" if dice.random() < 0.25 else "HTTPRoute"
    parents = [{"name": "web"}, *({"name": "web", "sectionName": section} for section in ("any", "wild", "deep")), {"name": "side"}]
    rule = a_grpc_rule if kind == "GRPCRoute" else an_http_rule
    spec = {
        "parentRefs": dice.choice([parents[:1], parents[1:3], parents[2:3], parents[3:4], parents[4:], [parents[0], parents[4]]]),
        "hostnames": dice.sample(HOSTS, dice.randint(0, 3)),
        "rules": [rule(dice, f"r{at}/{number}") for number in range(dice.randint(1, 3))],
    }
    return manifest(kind, f"r{at}", spec)


def base(ports: Ports, one: int, two: int, rpc: int) -> list[Manifest]:
    """What stays the same: Gateways and backends of us. `both` is served in two clusters, `far` only in eu."""
    web = {"port": ports.web, "protocol": "HTTP"}
    wild, deep = ({"name": name, "hostname": host, **web} for name, host in (("wild", "*.example.com"), ("deep", "*.a.example.com")))
    return [
        gateway("web", {"name": "any", **web}, wild, deep),
        gateway("side", {"name": "http", "port": ports.side, "protocol": "HTTP"}),
        *served("one", one),
        *served("two", two),
        *served("rpc", rpc),
        *served("empty", 1, addresses=()),
        *served("both", one),
        manifest("ServiceExport", "both"),
    ]


def far(two: int) -> list[Manifest]:
    """What eu has."""
    return [*served("both", two), manifest("ServiceExport", "both"), *served("far", two), manifest("ServiceExport", "far")]


@contextlib.asynccontextmanager
async def grpc_backend() -> AsyncIterator[int]:
    """Speaks HTTP/2 and answers every call with UNIMPLEMENTED."""
    server, port = Server([]), free_port()
    await server.start("127.0.0.1", port)
    try:
        yield port
    finally:
        server.close()
        await server.wait_closed()


def asked(dice: Random, ports: Ports) -> tuple[AskedRequest, str, int]:
    """A request as it is typed for explain, its path as sent, its port."""
    port = ports.web if dice.random() < 0.8 else ports.side
    path = dice.choice(MORE_PATHS) + dice.choice(QUERIES)
    headers = list(dice.choice(HEADERS).items())
    if dice.random() < 0.15:
        headers, path = GRPC, dice.choice(["/rpc.S/Call", "/rpc.S/Other", "/rpc.T/Call"])
    method = dice.choice(METHODS)
    if dice.random() < 0.1:
        headers, method = PREFLIGHT, "OPTIONS"
    lines = [f"host: {dice.choice(MORE_AUTHORITIES)}", *(f"{name}: {value}" for name, value in headers)]
    return AskedRequest(f"http://127.0.0.1:{port}{path}", "us", None, method, lines), path, port


def expected(said: RequestExplanation) -> dict[str, Any]:
    """What explain promises, in the words of answer and access log."""
    route = said.route
    place = said.tiers[0].localities[0].cluster if said.status is None and said.tiers else None
    # What answers a preflight stands before the router, which would put the rule's mark on it.
    marked = route and route.kind != "Gateway" and not any("browser asks" in each for each in said.why)
    return {
        "status": said.status,
        "rule": f"{route.name}/{said.rule}" if route and marked else None,
        "route": f"{route.kind}/{route.namespace}/{route.name}" if route else None,
        "location": said.location,
        "backend": said.backend if said.status is None else None,
        "cluster": place,
    }


def observed(answer: tuple[int, dict[str, str], bytes], log: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """What happened."""
    status, headers, _ = answer
    forwarded = log["details"] == "via_upstream"
    return {
        "status": None if forwarded else status,
        "rule": headers.get("x-rule"),
        "route": "/".join(log["route"].split("/")[:3]) if log["route"] else None,
        "location": headers.get("location"),
        "backend": labels.get(log["backend"], log["backend"]) if forwarded else None,
        "cluster": log["cluster"] if forwarded else None,
    }


def a_mark(parent: str, host: str) -> Manifest:
    """A route that tells when a proxy's workers have what was written."""
    rule = {"filters": [{"type": "RequestRedirect", "requestRedirect": {"hostname": "done.test"}}]}
    return manifest("HTTPRoute", f"mark-{parent}", {"parentRefs": [{"name": parent}], "hostnames": [host], "rules": [rule]})


async def arrived(client: Client, host: str) -> None:
    """Until a mark answers: acknowledged is a moment before the workers have it."""
    for _ in range(500):
        if (await client.send(host))[0] == 302:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(host)


async def one_world(fleet: Live, ports: Ports, dice: Random, world: int) -> tuple[list[str], Counter[int | None]]:
    """Serve generated routes, ask, compare. Gives what differs, and how often which status was said."""
    marks = [a_mark(name, f"world-{world}.test") for name in ("web", "side")]
    routes = [a_route(dice, at) for at in range(dice.randint(6, 14))]
    for each in routes[: dice.randint(0, 3)]:  # so that not most of the requests end with 404
        each["spec"].pop("hostnames")
        each["spec"]["rules"][-1].update({"matches": []})
    fleet.write("us/routes.yaml", [*routes, *marks])
    await fleet.settled()
    clients = {port: Client(port) for port in ports}
    for client in clients.values():
        await arrived(client, f"world-{world}.test")
    view: View = await fleet.reports.view(observed=False)
    labels = {each.name: each.label for each in view.plan.proxies["us"].backends.values()}
    sent = []
    for at in range(REQUESTS):
        question, path, port = asked(dice, ports)
        pairs = [(name, value) for name, _, value in (line.partition(": ") for line in question.headers)]
        mark = f"w{world}-{at}"
        answer = await clients[port].send(pairs[0][1], path, question.method, [*pairs[1:], ("user-agent", mark)])
        sent.append((mark, question, answer))
    for client in clients.values():
        client.close()
    await fleet.until(lambda: {mark for mark, _, _ in sent} <= {line["user_agent"] for line in fleet.access_log()})
    log = {line["user_agent"]: line for line in fleet.access_log()}
    wrong, seen = [], Counter[int | None]()
    for mark, question, answer in sent:
        said = explain_request(view, question)
        assert isinstance(said, RequestExplanation), said
        seen[said.status] += 1
        promised, got = expected(said), observed(answer, log[mark], labels)
        if promised != got:
            differs = {name: (value, got[name]) for name, value in promised.items() if value != got[name]}
            wrong.append(f"{question}\n  (explain, envoy): {differs}\n  {said.why}\n  {log[mark]}")
    return wrong, seen


async def test_explain_says_what_envoy_does() -> None:
    ports, seen = Ports(free_port(), free_port()), Counter[int | None]()
    async with (
        named_backend("one") as one,
        named_backend("two") as two,
        grpc_backend() as rpc,
        live(base(ports, one, two, rpc), far(two)) as fleet,
    ):
        for world in range(SEED, SEED + WORLDS):
            wrong, counts = await one_world(fleet, ports, Random(world), world)
            assert not wrong, "\n".join([f"{len(wrong)} of {REQUESTS} differ; FLOTA_TEST_SEED={world} FLOTA_TEST_WORLDS=1", *wrong[:6]])
            seen += counts
    assert WORLDS < 6 or {None, 404, 500, 503} <= seen.keys(), seen
