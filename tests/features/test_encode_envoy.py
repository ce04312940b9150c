"""Plans made by hand, real requests through a real Envoy: what a request meets on its way."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from ads_harness import until
from plan_harness import (
    Proxy,
    Seen,
    backend,
    call,
    echo,
    endpoints,
    entry,
    http_listener,
    plan,
    running_proxy,
    table,
    to,
)

from flota.plan import (
    Forward,
    HeaderChanges,
    Match,
    Mirror,
    PathMatch,
    Redirect,
    Respond,
    Rewrite,
    ValueMatch,
    WeightedBackend,
)

ONE, TWO = backend("one"), backend("two")


class World:
    """A proxy with two backends; `routes` puts entries on hosts."""

    def __init__(self, proxy: Proxy, ports: tuple[int, int], seen: tuple[Seen, Seen]) -> None:
        self.proxy = proxy
        self.parts = {"backends": [ONE, TWO], "endpoints": [endpoints("one", [ports[0]]), endpoints("two", [ports[1]])]}
        self.seen = seen
        self.listener = http_listener(table({}))
        self.port = self.listener.port

    async def routes(self, hosts: dict[str, list[Any]]) -> None:
        await self.proxy.serve(plan([self.listener], [table(hosts)], **self.parts))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    seen = Seen(), Seen()
    async with running_proxy() as proxy, echo("one", seen[0]) as one, echo("two", seen[1]) as two:
        yield World(proxy, (one, two), seen)


async def test_matches(world: World) -> None:
    header = ValueMatch("x-color", "Exact", "blue")
    query = ValueMatch("page", "Regex", "[0-9]+")
    await world.routes({"a.test": [
        entry(Respond(201), Match(PathMatch("Exact", "/exact"))),
        entry(Respond(202), Match(PathMatch("Prefix", "/pre/"))),
        entry(Respond(203), Match(PathMatch("Regex", "/re/[a-z]+"))),
        entry(Respond(204), Match(method="PATCH")),
        entry(Respond(205), Match(headers=(header,))),
        entry(Respond(206), Match(query=(query,))),
    ]})
    expected = {
        ("/exact", "GET", ""): 201, ("/exact/", "GET", ""): 404, ("/exact?q=1", "GET", ""): 201, ("/EXACT", "GET", ""): 404,
        ("/pre", "GET", ""): 202, ("/pre/", "GET", ""): 202, ("/pre/x", "GET", ""): 202, ("/prefix", "GET", ""): 404,
        ("/re/abc", "GET", ""): 203, ("/re/abc1", "GET", ""): 404, ("/re/", "GET", ""): 404,
        ("/other", "PATCH", ""): 204, ("/other", "GET", "blue"): 205, ("/other", "GET", "red"): 404,
        ("/other?page=12", "GET", ""): 206, ("/other?page=1x", "GET", ""): 404, ("/other?page=1&page=x", "GET", ""): 206,
        ("/x/../exact", "GET", ""): 201, ("//exact", "GET", ""): 201, ("/%65xact", "GET", ""): 201, ("/pre%2Fx", "GET", ""): 404,
    }
    got = {}
    for path, method, color in expected:
        got[path, method, color] = (await call(world.port, path, method=method, headers={"x-color": color} if color else {}))[0]
    assert got == expected


# Gateway API, HTTPPathModifier, its table for ReplacePrefixMatch; then what it leaves open.
PREFIXES = [
    ("/foo/bar", "/foo", "/xyz", "/xyz/bar"), ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"), ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
    ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"), ("/foo", "/foo", "/xyz", "/xyz"), ("/foo/", "/foo", "/xyz", "/xyz/"),
    ("/foo/bar", "/foo", "", "/bar"), ("/foo/", "/foo", "", "/"), ("/foo", "/foo", "", "/"), ("/foo/", "/foo", "/", "/"),
    ("/foo", "/foo", "/", "/"), ("/foo/bar", "/foo", "/", "/bar"), ("/foo?q=/foo", "/foo", "/", "/?q=/foo"),
    ("/bar", "/", "/xyz", "/xyz/bar"), ("/", "/", "/xyz", "/xyz/"), ("/bar", "/", "/", "/bar"),
    ("/f.o+(x)/bar", "/f.o+(x)", "/", "/bar"),
]


async def test_prefix_rewrite_and_redirect(world: World) -> None:
    hosts: dict[str, list[Any]] = {}
    for number, (_, prefix, replacement, _) in enumerate(PREFIXES):
        match = Match(PathMatch("Prefix", prefix))
        hosts[f"w{number}.test"] = [entry(to(ONE, rewrite=Rewrite(prefix=replacement)), match)]
        hosts[f"r{number}.test"] = [entry(Redirect(prefix=replacement), match)]
    await world.routes(hosts)
    for number, (path, _, _, expected) in enumerate(PREFIXES):
        status, _, got = await call(world.port, path, host=f"w{number}.test")
        assert (status, got["path"]) == (200, expected), PREFIXES[number]
        status, headers, _ = await call(world.port, path, host=f"r{number}.test")
        assert (status, headers["location"]) == (302, f"http://r{number}.test{expected}"), PREFIXES[number]


async def test_whole_path_and_host(world: World) -> None:
    await world.routes({
        "full.test": [entry(to(ONE, rewrite=Rewrite(host="inner.example", full_path=r"/a\1/b")))],
        "set.test": [entry(to(ONE), request_headers=HeaderChanges(set=(("Host", "set.example"),)))],
    })
    got = (await call(world.port, "/some/where?x=1", host="full.test"))[2]
    assert (got["path"], got["host"]) == (r"/a\1/b?x=1", "inner.example")
    assert (await call(world.port, "/", host="set.test"))[2]["host"] == "set.example"


@pytest.mark.parametrize(("action", "host", "location"), [
    (Redirect(scheme="https", port=0), "a.test:8080", "https://a.test/x?q=1"),
    (Redirect(scheme="https", port=0), "b.wild.test:8080", "https://b.wild.test:443/x?q=1"),
    (Redirect(port=0), "a.test:8080", "http://a.test/x?q=1"),
    (Redirect(port=8443, scheme="https"), "a.test:8080", "https://a.test:8443/x?q=1"),
    (Redirect(host="other.example", port=0), "a.test:8080", "http://other.example/x?q=1"),
    (Redirect(host="other.example", port=81), "a.test:8080", "http://other.example:81/x?q=1"),
    (Redirect(full_path="/new", status=308), "a.test", "http://a.test/new?q=1"),
])
async def test_redirect(world: World, action: Redirect, host: str, location: str) -> None:
    await world.routes({"a.test": [entry(action)], "*.wild.test": [entry(action)]})
    status, headers, _ = await call(world.port, "/x?q=1", host=host)
    assert (status, headers["location"]) == (action.status, location)


async def test_header_changes(world: World) -> None:
    rule = HeaderChanges(set=(("x-set", "rule 100%"),), add=(("x-add", "more"),), remove=("x-gone",))
    of_backend = HeaderChanges(set=(("x-set", "backend"),), add=(("x-empty", ""),))
    shares = (WeightedBackend(ONE.name, 1, of_backend, HeaderChanges(set=(("server", "hidden"),))),)
    await world.routes({
        "a.test": [entry(to(ONE), request_headers=rule, response_headers=HeaderChanges(add=(("x-more", "%x"),), remove=("x-backend",)))],
        "b.test": [entry(Forward(shares), request_headers=rule)],
    })
    sent = {"x-set": "client", "x-add": "first", "x-gone": "here", "x-flota-scope": "forged", "x-envoy-max-retries": "3"}
    _, headers, got = await call(world.port, host="a.test", headers=sent)
    arrived = [(name, value) for name, value in got["headers"] if name in sent]
    assert sorted(arrived) == [("x-add", "first"), ("x-add", "more"), ("x-set", "rule 100%")]
    assert (headers["x-more"], headers.get("x-backend"), headers["server"]) == ("%x", None, "echo")
    assert [name for name, _ in [*got["headers"], *headers.items()] if name.startswith("x-envoy")] == []
    _, headers, got = await call(world.port, host="b.test", headers=sent)
    changed = sorted(pair for pair in map(tuple, got["headers"]) if pair[0] in (*sent, "x-empty"))
    assert changed == [("x-add", "first"), ("x-add", "more"), ("x-empty", ""), ("x-set", "backend")]
    assert headers["server"] == "hidden"


async def test_weights_and_shares_without_backend(world: World) -> None:
    half = Forward((WeightedBackend(ONE.name, 50), WeightedBackend(None, 50), WeightedBackend(TWO.name, 0)))
    await world.routes({
        "half.test": [entry(half)],
        "none.test": [entry(Forward((WeightedBackend(None),)))],
        "zero.test": [entry(Forward((WeightedBackend(ONE.name, 0),)))],
    })
    statuses = [(await call(world.port, host="half.test"))[0] for _ in range(100)]
    assert set(statuses) == {200, 500}
    assert 25 < statuses.count(500) < 75
    assert (await call(world.port, host="none.test"))[0] == 500
    assert (await call(world.port, host="zero.test"))[0] == 500
    assert not world.seen[1].requests


async def test_mirrors(world: World) -> None:
    await world.routes({
        "all.test": [entry(to(ONE, mirrors=(Mirror(TWO.name),)))],
        "some.test": [entry(to(ONE, mirrors=(Mirror(TWO.name, 1, 4),)))],
        "never.test": [entry(to(ONE, mirrors=(Mirror(TWO.name, 0),)))],
    })
    for _ in range(100):
        await asyncio.gather(*(call(world.port, f"/{name}", host=f"{name}.test") for name in ("all", "some", "never")))
    await until(lambda: world.seen[1].paths["/all"] == 100)
    assert world.seen[0].paths == {"/all": 100, "/some": 100, "/never": 100}
    assert 5 <= world.seen[1].paths["/some"] <= 50
    assert world.seen[1].paths["/never"] == 0
    assert {one["host"] for one in world.seen[1].requests} == {"all.test", "some.test"}


async def test_access_log_tells_where_a_request_went(world: World) -> None:
    await world.routes({"a.test": [entry(to(ONE), name="shop")]})
    await call(world.port, "/cart?x=1", headers={"user-agent": "test"})
    await call(world.port, host="unknown.test")
    found, missed = await until(lambda: (log := world.proxy.access_log()) and len(log) == 2 and log)
    assert found["route"].startswith("HTTPRoute/default/shop/")
    wanted = {"status": 200, "backend": ONE.label, "cluster": "us", "region": "us-region", "attempts": 1, "path": "/cart?x=1",
              "host": "a.test", "method": "GET", "user_agent": "test"}
    assert {name: found[name] for name in wanted} == wanted
    assert (missed["status"], missed["details"], missed["backend"]) == (404, "route_not_found", None)


async def test_timeouts(world: World) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    world.parts["endpoints"] = [endpoints("one", [server.sockets[0].getsockname()[1]]), endpoints("two", [])]
    await world.routes({
        "request.test": [entry(to(ONE, timeout_ms=100))],
        "attempt.test": [entry(to(ONE, try_timeout_ms=100, timeout_ms=0))],
    })
    assert (await call(world.port, host="request.test"))[0] == 504
    assert (await call(world.port, host="attempt.test"))[0] == 504
    server.close()
