"""Features that a GatewayClass names (GEP-2162) and no other test here goes through from the file to the answer."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from ads_harness import free_port
from grpclib.client import Channel
from live_harness import Client, Manifest, gateway, live, named_backend, served, to
from plan_harness import Seen, call, echo
from test_encode_protocols import Raw, greeter
from test_gateways import spec
from test_protocols import AUTHORITY, healthy, hello, listener, route, secret, server_context, terminating, tls_answer


async def test_a_route_attaches_to_the_ports_that_it_names() -> None:
    one, two, three = free_port(), free_port(), free_port()
    listeners = [listener(at) | {"name": f"at-{at}"} for at in (one, two, three)]
    async with named_backend("app") as app:
        by_port = spec(route("HTTPRoute", "port", to("app")), parentRefs=[{"name": "web", "port": one}])
        by_both = spec(route("HTTPRoute", "both", to("app")), parentRefs=[{"name": "web", "port": two, "sectionName": f"at-{two}"}])
        wrong = spec(route("HTTPRoute", "wrong", to("app")), parentRefs=[{"name": "web", "port": three, "sectionName": f"at-{one}"}])
        async with live([gateway("web", *listeners), *served("app", app), by_port, by_both, wrong]) as fleet:
            assert [(await call(at))[0] for at in (one, two, three)] == [200, 200, 404]
            assert [(row.name, row.reason) for row in await fleet.problems()] == [("wrong", "NoMatchingParent")]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_have_their_status(status: int) -> None:
    port = free_port()
    moved = {"type": "RequestRedirect", "requestRedirect": {"hostname": "new.test", "statusCode": status}}
    async with live([gateway("web", listener(port)), route("HTTPRoute", "web", filters=[moved])]) as fleet:
        await healthy(fleet)
        found, headers, _ = await call(port, "/x", "old.test")
        assert (found, headers["location"]) == (status, f"http://new.test:{port}/x")


async def test_rules_have_names() -> None:
    port, rpc = free_port(), free_port()
    async with named_backend("one") as one, named_backend("two") as two, greeter("three") as three:
        rules = [{"name": "first", "backendRefs": [to("one")]},
                 {"name": "second", "matches": [{"path": {"value": "/two"}}], "backendRefs": [to("two")]}]  # fmt: skip
        greet = {"name": "greet", "matches": [{"method": {"method": "Hello"}}], "backendRefs": [to("three")]}
        grpc = spec(route("GRPCRoute", "rpc"), rules=[greet])
        us = [gateway("web", listener(port)), gateway("rpc", listener(rpc)), *served("one", one), *served("two", two),
              *served("three", three), spec(route("HTTPRoute", "web"), rules=rules), grpc]  # fmt: skip
        async with live(us) as fleet:
            await healthy(fleet)
            assert [(await call(port, path))[2] for path in ("/", "/two")] == ["one", "two"]
            async with Channel("127.0.0.1", rpc, codec=Raw()) as channel:
                assert await hello(channel) == b"three"
            table = next(each for name, each in fleet.engine.plan.get().proxies["us"].tables.items() if name.endswith(str(port)))
            assert {entry.source.rule_name for host in table.hosts.values() for entry in host.entries} == {"first", "second"}


async def test_tls_ends_for_one_host_and_passes_through_for_another_on_one_port() -> None:
    port = free_port()
    ended = terminating(port, "end", protocol="TLS", hostname="end.test") | {"name": "end"}
    passing = listener(port, "TLS", hostname="pass.test", tls={"mode": "Passthrough"}) | {"name": "pass"}
    with server_context(AUTHORITY.sign("pass.test")) as secure:
        async with named_backend("plain") as plain, named_backend("secure", ssl=secure) as behind:
            us = [
                gateway("web", ended, passing), secret("end", AUTHORITY.sign("end.test")),
                *served("plain", plain), *served("secure", behind),
                route("TLSRoute", "web", to("plain"), hosts=("end.test",)),
                spec(route("TLSRoute", "pass", to("secure"), hosts=("pass.test",)), parentRefs=[{"name": "web"}]),
            ]  # fmt: skip
            async with live(us) as fleet:
                await healthy(fleet)
                assert await tls_answer(port, "end.test") == ("plain", "end.test")
                assert await tls_answer(port, "pass.test") == ("secure", "pass.test")


@contextlib.asynccontextmanager
async def failing(way: str, times: int) -> AsyncIterator[int]:
    """A server that fails so many times, then answers 200. `status`: it answers 500, `silence`: never, `reset`: ends the connection."""
    count = itertools.count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                if next(count) < times:
                    if way == "reset":
                        break
                    if way == "silence":
                        continue
                    writer.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    port = free_port()
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield port
    finally:
        server.close()


@pytest.mark.parametrize(
    ("way", "rule"),
    [
        ("status", {"retry": {"codes": [500], "attempts": 3, "backoff": "10ms"}}),
        ("silence", {"retry": {"attempts": 3, "backoff": "10ms"}, "timeouts": {"request": "8s", "backendRequest": "500ms"}}),
        ("reset", {"retry": {"attempts": 3, "backoff": "10ms"}}),
    ],
)
async def test_what_a_rule_says_is_tried_again(way: str, rule: dict[str, Any]) -> None:
    port = free_port()
    async with failing(way, 2) as bad:
        web = gateway("web", listener(port))
        async with live([web, *served("bad", bad), route("HTTPRoute", "web", to("bad"), **rule)]) as fleet:
            await healthy(fleet)
            client = Client(port)
            assert (await client.send("a.test"))[::2] == (200, b"ok")
            client.close()


async def test_a_share_of_the_requests_is_mirrored_and_several_mirrors_get_it() -> None:
    port, half, whole = free_port(), Seen(), Seen()
    mirrors = [{"type": "RequestMirror", "requestMirror": {"backendRef": to("half"), "percent": 50}},
               {"type": "RequestMirror", "requestMirror": {"backendRef": to("whole")}}]  # fmt: skip
    async with named_backend("app") as app, echo("half", half) as one, echo("whole", whole) as two:
        us: list[Manifest] = [gateway("web", listener(port)), *served("app", app), *served("half", one), *served("whole", two)]
        async with live([*us, route("HTTPRoute", "web", to("app"), filters=mirrors)]) as fleet:
            await healthy(fleet)
            client = Client(port)
            for _ in range(200):
                assert (await client.send("a.test"))[2] == b"app"
            client.close()
            await fleet.until(lambda: len(whole.requests) == 200)
            assert 60 < len(half.requests) < 140, "all but certain: 50 % of 200, six standard deviations"
