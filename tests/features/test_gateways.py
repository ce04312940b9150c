"""What Gateways and ListenerSets ask for, through the whole product: files in, real clients out."""

import asyncio
import contextlib
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ads_harness import free_port
from certificates import Authority, Pair
from live_harness import Client, Live, Manifest, gateway, live, manifest, named_backend, served, to
from plan_harness import Seen, call, echo
from test_protocols import AUTHORITY, healthy, listener, route, secret, server_context, terminating

from flota.report.status import status


def roots(name: str, of: Authority) -> Manifest:
    """A ConfigMap with the certificate of an authority."""
    return manifest("ConfigMap", name, data={"ca.crt": of.roots.decode()})


def spec(of: Manifest, **more: Any) -> Manifest:
    """The object with more in its spec."""
    return {**of, "spec": {**of["spec"], **more}}


def context(shown: Pair | None = None) -> ssl.SSLContext:
    """A client's, that trusts only our authority and may show a certificate."""
    made = ssl.create_default_context(cadata=AUTHORITY.roots.decode())
    if shown is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "both.pem"
            path.write_bytes(shown.certificate + shown.key)
            made.load_cert_chain(path)
    return made


async def ask(port: int, name: str, host: str = "", shown: Pair | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Status and body over TLS for that server name. Raises OSError or IncompleteReadError where there is no connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context(shown), server_hostname=name)
    more = "".join(f"{key}: {value}\r\n" for key, value in (headers or {}).items())
    writer.write(f"GET / HTTP/1.1\r\nhost: {host or name}\r\n{more}\r\n".encode())
    try:
        async with asyncio.timeout(5):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = head.partition("content-length: ")[2].split()
            body = await reader.readexactly(int(length[0])) if length else b""
    finally:
        writer.close()
    return int(head.split()[1]), body.decode()


NO_CONNECTION = (OSError, asyncio.IncompleteReadError)


async def refused(port: int, name: str) -> None:
    """Until nobody answers there any more. The proxy acknowledges that a listener goes a moment before its workers let go of it."""
    deadline = time.monotonic() + 10
    with contextlib.suppress(*NO_CONNECTION):
        while True:
            answer = await ask(port, name)
            assert time.monotonic() < deadline, answer
            await asyncio.sleep(0.01)


async def test_listener_sets_add_listeners_that_their_own_routes_are_on() -> None:
    port, tls = free_port(), free_port()
    web = spec(gateway("web", listener(port, hostname="gw.test")), allowedListeners={"namespaces": {"from": "Same"}})
    parent = {"name": "web"}
    plain = manifest("ListenerSet", "plain", {"parentRef": parent, "listeners": [
        listener(port, hostname="set.test"), listener(port, hostname="gw.test") | {"name": "taken"}]})  # fmt: skip
    secure = manifest("ListenerSet", "secure", {"parentRef": parent, "listeners": [terminating(tls, "cert", hostname="tls.test")]})
    to_sets = [{"kind": "ListenerSet", "name": name} for name in ("plain", "secure")]
    async with named_backend("one") as one, named_backend("two") as two:
        us = [
            web, plain, secure, secret("cert", AUTHORITY.sign("tls.test")), *served("one", one), *served("two", two),
            route("HTTPRoute", "web", to("one")), spec(route("HTTPRoute", "sets", to("two")), parentRefs=to_sets),
        ]  # fmt: skip
        async with live(us) as fleet:
            assert [(await call(port, "/", host))[::2] for host in ("gw.test", "set.test")] == [(200, "one"), (200, "two")]
            assert await ask(tls, "tls.test") == (200, "two")
            assert [(row.kind, row.name, row.reason) for row in await fleet.problems()] == [("ListenerSet", "plain", "HostnameConflict")]
            await fleet.until(lambda: fleet.engine.proxies.states.get()["us"].phase == "Running")
            rows = {row.name: row for row in status(await fleet.reports.view()).listener_sets}
            assert {name: (row.gateway, row.accepted, row.programmed) for name, row in rows.items()} == {
                "plain": ("default/web", True, True), "secure": ("default/web", True, True),
            }  # fmt: skip
            assert [(each.name, each.programmed, each.attached_routes) for each in rows["plain"].listeners] == [
                ("http", True, 1), ("taken", False, 1),
            ]  # fmt: skip
            fleet.write("us/main.yaml", [spec(web, allowedListeners={"namespaces": {"from": "None"}}), *us[1:]])
            await fleet.settled()
            assert (await call(port, "/", "gw.test"))[2] == "one"
            assert (await call(port, "/", "set.test"))[0] == 404
            await refused(tls, "tls.test")


async def test_sets_come_and_go_on_a_socket_while_its_connections_go_on() -> None:
    port = free_port()
    cert = secret("cert", AUTHORITY.sign("a.test", "b.test"))
    web = spec(gateway("web", terminating(port, "cert", hostname="a.test")), allowedListeners={"namespaces": {"from": "Same"}})
    other = manifest("ListenerSet", "b", {"parentRef": {"name": "web"}, "listeners": [terminating(port, "cert", hostname="b.test")]})
    async with named_backend("one") as one, named_backend("two") as two:
        us = [web, cert, *served("one", one), *served("two", two), route("HTTPRoute", "web", to("one"))]
        more = [other, spec(route("HTTPRoute", "b", to("two")), parentRefs=[{"kind": "ListenerSet", "name": "b"}])]
        async with live(us) as fleet:
            kept, seen, stop = Client(port, ssl=context(), server_hostname="a.test"), Counter[Any](), asyncio.Event()
            await kept.send("a.test")
            mine = kept.connection

            async def go_on() -> None:
                while not stop.is_set():
                    seen[(await kept.send("a.test"))[2]] += 1

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(go_on(), name="client")
                for _ in range(4):
                    fleet.write("us/more.yaml", more)
                    await healthy(fleet)
                    assert await ask(port, "b.test") == (200, "two")
                    fleet.write("us/more.yaml", [])
                    await healthy(fleet)
                    await refused(port, "b.test")
                stop.set()
            assert set(seen) == {b"one"}
            assert kept.connection is mine, "the connection of a listener that stayed was ended"
            kept.close()


def validation(name: str, **more: Any) -> dict[str, Any]:
    """A check of clients by the roots in that ConfigMap."""
    return {"validation": {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": name}], **more}}


@contextlib.asynccontextmanager
async def checking(seen: Seen, port: int, other: int, frontend: dict[str, Any], *more: Manifest) -> AsyncIterator[Live]:
    """A Gateway with two HTTPS ports whose backend keeps what it has seen."""
    listeners = [terminating(port, "cert") | {"name": "a"}, terminating(other, "cert") | {"name": "b"}]
    web = spec(gateway("web", *listeners), tls={"frontend": frontend})
    async with echo("one", seen) as one:
        cert = secret("cert", AUTHORITY.sign("a.test"))
        async with live([web, cert, *more, *served("one", one), route("HTTPRoute", "web", to("one"))]) as fleet:
            yield fleet


def told(seen: Seen) -> str:
    """What the backend was told of the client's certificate in the last request."""
    return str(dict(seen.requests[-1]["headers"]).get("x-forwarded-client-cert", ""))


async def test_clients_are_let_in_by_their_certificates() -> None:
    port, other, seen = free_port(), free_port(), Seen()
    first, second = Authority("first"), Authority("second")
    frontend = {"default": validation("first"), "perPort": [{"port": other, "tls": validation("second")}]}
    forged = {"x-forwarded-client-cert": "By=forged"}
    async with checking(seen, port, other, frontend) as fleet:
        fleet.write("us/roots.yaml", [roots("first", first), roots("second", second)])
        await healthy(fleet)
        for at, good, bad in ((port, first, second), (other, second, first)):
            assert (await ask(at, "a.test", shown=good.sign("client.test"), headers=forged))[0] == 200
            assert "DNS=client.test" in told(seen)
            assert "forged" not in told(seen)
            for shown in (None, bad.sign("client.test")):
                with pytest.raises(NO_CONNECTION):
                    await ask(at, "a.test", shown=shown)
        assert len(seen.requests) == 2
        # Other roots take effect at once, and the listener is none the wiser.
        before = fleet.engine.plan.get().proxies["us"].listeners
        fleet.write("us/roots.yaml", [roots("first", second), roots("second", first)])
        await healthy(fleet)
        assert fleet.engine.plan.get().proxies["us"].listeners is before
        assert (await ask(port, "a.test", shown=second.sign("client.test")))[0] == 200
        with pytest.raises(NO_CONNECTION):
            await ask(port, "a.test", shown=first.sign("client.test"))


async def test_insecure_fallback_lets_everybody_in_and_leaves_the_judgement_to_the_backend() -> None:
    port, other, seen = free_port(), free_port(), Seen()
    first, stranger = Authority("first"), Authority("stranger")
    frontend = {"default": validation("first", mode="AllowInsecureFallback"), "perPort": [{"port": other, "tls": {}}]}
    async with checking(seen, port, other, frontend, roots("first", first)) as fleet:
        await healthy(fleet)
        for shown, cert in ((None, ""), (first.sign("c.test"), "Cert="), (stranger.sign("c.test"), "Cert=")):
            assert (await ask(port, "a.test", shown=shown))[0] == 200
            assert (cert in told(seen)) if cert else told(seen) == ""
            assert "DNS=" not in told(seen)
        assert (await ask(other, "a.test"))[0] == 200
        view = await fleet.reports.view()
        gateways = [each for ref, each in view.plan.statuses.items() if ref.kind == "Gateway"]
        assert "InsecureFrontendValidationMode" in {each.type for each in gateways[0].conditions}  # type: ignore[union-attr]


async def test_without_roots_nobody_gets_in_until_there_are_some() -> None:
    port, other, seen, first = free_port(), free_port(), Seen(), Authority("first")
    frontend = {"default": validation("first"), "perPort": [{"port": other, "tls": {}}]}
    async with checking(seen, port, other, frontend) as fleet:
        assert {row.reason for row in await fleet.problems()} >= {"NoValidCACertificate"}
        assert (await ask(other, "a.test"))[0] == 200
        with pytest.raises(NO_CONNECTION):
            await ask(port, "a.test", shown=first.sign("c.test"))
        fleet.write("us/roots.yaml", [roots("first", first)])
        await healthy(fleet)
        assert (await ask(port, "a.test", shown=first.sign("c.test")))[0] == 200


async def test_backends_are_shown_the_certificate_of_the_gateway_the_request_came_to() -> None:
    with_, without, ours = free_port(), free_port(), Authority("gateways")
    policy = {
        "targetRefs": [{"group": "", "kind": "Service", "name": "safe"}],
        "validation": {"hostname": "safe.test", "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}]},
    }
    with server_context(AUTHORITY.sign("safe.test")) as strict:
        strict.verify_mode = ssl.CERT_REQUIRED
        strict.load_verify_locations(cadata=ours.roots.decode())
        async with named_backend("safe", ssl=strict) as one:
            web = spec(gateway("web", listener(with_)), tls={"backend": {"clientCertificateRef": {"name": "shown"}}})
            us = [
                web, gateway("bare", listener(without)), manifest("BackendTLSPolicy", "safe", policy), roots("ca", AUTHORITY),
                *served("safe", one), spec(route("HTTPRoute", "web", to("safe")), parentRefs=[{"name": "web"}, {"name": "bare"}]),
            ]  # fmt: skip
            async with live([*us, secret("shown", ours.sign("gateway.test"))]) as fleet:
                await healthy(fleet)
                assert (await call(with_))[::2] == (200, "safe")
                assert (await call(without))[0] == 503
                fleet.write("us/main.yaml", us)
                await fleet.settled()
                assert {row.reason for row in await fleet.problems()} == {"InvalidClientCertificateRef"}
                fleet.write("us/main.yaml", [*us, secret("shown", ours.sign("renewed.test"))])
                await healthy(fleet)
                assert (await call(with_))[::2] == (200, "safe")


HTTPS_HOSTS = {"any": None, "exact": "second.test", "wild": "*.wild.test", "inner": "fourth.wild.test"}


MISDIRECTED = (
    ("first.test", "first.test", (200, "any")),
    ("first.test", "second.test", (421, "")),
    ("first.test", "unknown.test", (404, "")),
    ("second.test", "second.test", (200, "exact")),
    ("second.test", "first.test", (421, "")),
    ("second.test", "unknown.test", (421, "")),
    ("third.wild.test", "fifth.wild.test", (200, "wild")),
    ("third.wild.test", "fourth.wild.test", (421, "")),
    ("third.wild.test", "second.test", (421, "")),
    ("fourth.wild.test", "fifth.wild.test", (421, "")),
    ("unknown.test", "first.test", (200, "any")),
    ("unknown.test", "unknown.test", (404, "")),
)


async def test_requests_on_a_connection_for_another_listener_are_misdirected() -> None:
    port = free_port()
    cert = secret("cert", AUTHORITY.sign("first.test", "second.test", "unknown.test", "*.wild.test"))
    listeners = [
        terminating(port, "cert") | {"name": name} | ({"hostname": host} if host else {}) for name, host in HTTPS_HOSTS.items()
    ]
    async with contextlib.AsyncExitStack() as stack:
        us = [gateway("web", *listeners), cert]
        for name in HTTPS_HOSTS:
            at = await stack.enter_async_context(named_backend(name))
            hosts = {"hostnames": ["first.test"]} if name == "any" else {}
            us += [*served(name, at), spec(route("HTTPRoute", name, to(name)), parentRefs=[{"name": "web", "sectionName": name}], **hosts)]
        fleet = await stack.enter_async_context(live(us))
        await healthy(fleet)
        answers = {(name, host): await ask(port, name, host) for name, host, _ in MISDIRECTED}
        assert answers == {(name, host): answer for name, host, answer in MISDIRECTED}


async def test_hosts_belong_to_the_most_specific_listener_alone() -> None:
    port = free_port()
    hosts = {"any": None, "wide": "*.test", "narrow": "*.a.test", "exact": "x.a.test"}
    listeners = [listener(port) | {"name": name} | ({"hostname": host} if host else {}) for name, host in hosts.items()]
    us = [gateway("web", *listeners)]
    async with contextlib.AsyncExitStack() as stack:
        for name in hosts:
            at = await stack.enter_async_context(named_backend(name))
            matches = [{"path": {"type": "PathPrefix", "value": f"/{name}"}}]
            parents = [{"name": "web", "sectionName": name}]
            us += [*served(name, at), spec(route("HTTPRoute", name, to(name), matches=matches), parentRefs=parents)]
        fleet = await stack.enter_async_context(live(us))
        await healthy(fleet)
        for host, owner in {"b.org": "any", "b.test": "wide", "y.a.test": "narrow", "z.y.a.test": "narrow", "x.a.test": "exact"}.items():
            answers = {name: (await call(port, f"/{name}", host))[0] for name in hosts}
            assert answers == {name: 200 if name == owner else 404 for name in hosts}, host


async def test_default_gateways_take_routes_that_name_none() -> None:
    port, other = free_port(), free_port()
    async with named_backend("one") as one:
        web = gateway("web", listener(port))
        default = manifest("HTTPRoute", "r", {"useDefaultGateways": "All", "rules": [{"backendRefs": [to("one")]}]})
        us = [gateway("other", listener(other)), *served("one", one), default]
        async with live([spec(web, defaultScope="All"), *us]) as fleet:
            await healthy(fleet)
            assert [(await call(at))[0] for at in (port, other)] == [200, 404]
            fleet.write("us/main.yaml", [web, *us])
            await fleet.settled()
            assert [(await call(at))[0] for at in (port, other)] == [404, 404]
            assert [(row.kind, row.reason) for row in await fleet.problems()] == [("HTTPRoute", "NoMatchingParent")]


async def test_addresses_that_are_open_or_cannot_be_had() -> None:
    port = free_port()
    async with named_backend("one") as one:
        opened = spec(gateway("open", listener(port)), addresses=[{"type": "IPAddress"}])
        some = spec(gateway("some", listener(port)), addresses=[{"value": "127.0.0.1"}, {"value": "192.0.2.1"}])
        named = spec(gateway("named", listener(port)), addresses=[{"type": "Hostname", "value": "a.test"}])
        us = [opened, some, named, *served("one", one)]
        us += [spec(route("HTTPRoute", "r", to("one")), parentRefs=[{"name": "open"}, {"name": "some"}])]
        async with live(us) as fleet:
            assert (await call(port))[2] == "one"
            await fleet.until(lambda: fleet.engine.proxies.states.get()["us"].phase == "Running")
            rows = {row.name: row for row in status(await fleet.reports.view()).gateways}
            assert {name: (row.programmed, row.reason) for name, row in rows.items()} == {
                "open": (True, "Programmed"), "some": (False, "AddressNotUsable"), "named": (False, "UnsupportedAddress"),
            }  # fmt: skip
            assert rows["some"].addresses == ("127.0.0.1",)
            client = Client(port, rows["open"].addresses[0])
            assert (await client.send("a.test"))[2] == b"one"
            client.close()
