"""Every kind of route and listener through the whole product: files in, real clients out."""

import asyncio
import base64
import contextlib
import socket
import ssl
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from ads_harness import free_port
from certificates import Authority, Pair
from grpclib.client import Channel
from grpclib.const import Cardinality
from grpclib.exceptions import GRPCError
from live_harness import Client, Clients, Live, Manifest, gateway, live, manifest, named_backend, served, to, to_import
from plan_harness import Seen, call, echo
from test_encode_protocols import Raw, banner, datagram, greeter, port_of, tcp_server, udp_server

AUTHORITY = Authority()


def secret(name: str, pair: Pair) -> Manifest:
    """A Secret of type kubernetes.io/tls."""
    data = {"tls.crt": base64.b64encode(pair.certificate).decode(), "tls.key": base64.b64encode(pair.key).decode()}
    return manifest("Secret", name, type="kubernetes.io/tls", data=data)


def route(kind: str, name: str, *refs: dict[str, Any], hosts: tuple[str, ...] = (), **rule: Any) -> Manifest:
    """A route with one rule, attached to the Gateway of its own name."""
    spec = {"parentRefs": [{"name": name}], "rules": [{"backendRefs": list(refs), **rule}]}
    return manifest(kind, name, {**spec, "hostnames": list(hosts)} if hosts else spec)


def listener(port: int, protocol: str = "HTTP", **more: Any) -> dict[str, Any]:
    """A listener named by its protocol."""
    return {"name": protocol.lower(), "port": port, "protocol": protocol, **more}


def terminating(port: int, *names: str, protocol: str = "HTTPS", **more: Any) -> dict[str, Any]:
    """A listener that has the certificates of these Secrets."""
    return listener(port, protocol, tls={"mode": "Terminate", "certificateRefs": [{"name": name} for name in names]}, **more)


def trusting() -> ssl.SSLContext:
    """A client's context that trusts only our authority."""
    return ssl.create_default_context(cadata=AUTHORITY.roots.decode())


@contextlib.contextmanager
def server_context(pair: Pair) -> Iterator[ssl.SSLContext]:
    """For servers; the ssl module wants files."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both.pem"
        path.write_bytes(pair.certificate + pair.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        yield context


async def tls_answer(port: int, name: str) -> tuple[str, str]:
    """Who answers over TLS for that server name, and the subject of the certificate shown."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(), server_hostname=name)
    subject = writer.get_extra_info("peercert")["subjectAltName"][0][1]
    writer.write(f"GET / HTTP/1.1\r\nhost: {name}\r\n\r\n".encode())
    async with asyncio.timeout(5):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        body = await reader.readexactly(int(head.partition("content-length: ")[2].split()[0]))
    writer.close()
    return body.decode(), subject


async def healthy(fleet: Live) -> None:
    """Settled, without a problem."""
    await fleet.settled()
    assert await fleet.problems() == ()


async def test_certificates_by_server_name_and_their_live_rotation() -> None:
    port, plain = free_port(), free_port()
    listeners = [
        terminating(port, "a") | {"name": "a", "hostname": "a.test"},
        terminating(port, "wild") | {"name": "wild", "hostname": "*.wild.test"},
    ]
    redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "port": port}}
    with_pair = lambda pair: [gateway("web", *listeners), gateway("plain", listener(plain)), secret("a", pair),  # noqa: E731
                              secret("wild", AUTHORITY.sign("*.wild.test")), route("HTTPRoute", "web", to("one")),
                              route("HTTPRoute", "plain", filters=[redirect])]  # fmt: skip
    async with named_backend("one") as one, live([*with_pair(AUTHORITY.sign("a.test")), *served("one", one)]) as fleet:
        await healthy(fleet)
        assert await tls_answer(port, "a.test") == ("one", "a.test")
        assert await tls_answer(port, "x.wild.test") == ("one", "*.wild.test")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await tls_answer(port, "other.test")
        assert (await call(plain, "/x", "a.test"))[1]["location"] == f"https://a.test:{port}/x"
        seen, stop = Counter[Any](), asyncio.Event()

        async def ask() -> None:
            while not stop.is_set():
                seen[await tls_answer(port, "a.test")] += 1

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(), name="client")
            for at in range(5):
                await asyncio.to_thread(fleet.write, "us/main.yaml", [
                    *with_pair(AUTHORITY.sign("a.test", f"turn{at}.test")), *served("one", one)])  # fmt: skip
                await fleet.settled()
                assert await tls_answer(port, "a.test") == ("one", "a.test")
                assert await shown_names(port) == {"a.test", f"turn{at}.test"}
            stop.set()
        assert set(seen) == {("one", "a.test")}
        assert seen.total() >= 5


async def shown_names(port: int) -> set[str]:
    """All names of the certificate that is shown for a.test."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(), server_hostname="a.test")
    names = {value for _, value in writer.get_extra_info("peercert")["subjectAltName"]}
    writer.close()
    return names


async def test_tls_routes_pass_through_and_terminate() -> None:
    through, ended = free_port(), free_port()
    passing = listener(through, "TLS", tls={"mode": "Passthrough"})
    with server_context(AUTHORITY.sign("a.test")) as a, server_context(AUTHORITY.sign("b.test")) as b:
        async with named_backend("a", ssl=a) as one, named_backend("b", ssl=b) as two, named_backend("plain") as plain:
            us = [
                gateway("pass", passing), gateway("end", terminating(ended, "c", protocol="TLS")), secret("c", AUTHORITY.sign("c.test")),
                *served("one", one), *served("two", two), *served("plain", plain),
                route("TLSRoute", "pass", to("one"), hosts=("a.test",)), route("TLSRoute", "end", to("plain"), hosts=("c.test",)),
                {**route("TLSRoute", "pass", to("two"), hosts=("*.test",)), "metadata": {"name": "pass-b"}},
            ]  # fmt: skip
            async with live(us) as fleet:
                await healthy(fleet)
                assert await tls_answer(through, "a.test") == ("a", "a.test")
                assert await tls_answer(through, "b.test") == ("b", "b.test")
                assert await tls_answer(ended, "c.test") == ("plain", "c.test")
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await tls_answer(through, "other.org")


async def test_grpc_h2c_and_websocket() -> None:
    port, seen = free_port(), Seen()
    us = [
        gateway("web", listener(port)),
        route("GRPCRoute", "web", to("greeter"), hosts=("grpc.test",), matches=[{"method": {"method": "Hello"}}]),
        {**route("HTTPRoute", "web", to("ws"), hosts=("ws.test",)), "metadata": {"name": "ws"}},
        {**route("HTTPRoute", "web", to("h2c"), hosts=("h2c.test",)), "metadata": {"name": "h2c"}},
    ]
    async with greeter("first") as one, echo("ws", seen) as two:
        us += [*served("greeter", one), *served("ws", two, appProtocol="kubernetes.io/ws")]
        async with live([*us, *served("h2c", one, appProtocol="kubernetes.io/h2c")]) as fleet, aiohttp.ClientSession() as session:
            await healthy(fleet)
            async with Channel("127.0.0.1", port, codec=Raw()) as channel:
                channel._authority = "grpc.test"
                assert await hello(channel) == b"first"
                with pytest.raises(GRPCError, match="UNIMPLEMENTED"):
                    await hello(channel, "Words")
            async with session.ws_connect(f"http://127.0.0.1:{port}/", headers={"host": "ws.test"}) as talk:
                await talk.send_str("hi")
                assert await talk.receive_str(timeout=5) == "echo hi"
            # The greeter speaks HTTP/2 only: its own words to a call that came as HTTP/1.1 show that h2c was spoken.
            _, headers, _ = await call(port, "/none", "h2c.test", "POST", {"content-type": "application/grpc", "te": "trailers"})
            assert headers["grpc-message"] == "Method not found"


async def test_tcp_and_udp_by_weight_of_service_and_import() -> None:
    tcp, udp = free_port(), free_port()
    async with tcp_server("near") as near, tcp_server("far") as far, udp_server("near") as near_udp, udp_server("far") as far_udp:
        us = [
            gateway("tcp", listener(tcp, "TCP")), gateway("udp", listener(udp, "UDP")),
            *served("near", port_of(near)), *served("near-udp", near_udp, "UDP"),
            route("TCPRoute", "tcp", to("near", weight=1), to_import("far", weight=1)),
            route("UDPRoute", "udp", to("near-udp", weight=1), to_import("far-udp", weight=1)),
        ]  # fmt: skip
        eu = [
            *served("far", port_of(far)), manifest("ServiceExport", "far"),
            *served("far-udp", far_udp, "UDP"), manifest("ServiceExport", "far-udp"),
        ]  # fmt: skip
        async with live(us, eu) as fleet:
            await healthy(fleet)
            assert {await banner(tcp) for _ in range(40)} == {"near", "far"}
            assert {await asyncio.to_thread(datagram, udp) for _ in range(40)} == {"near:x", "far:x"}


async def test_http_grpc_and_tls_by_weight_of_service_and_import() -> None:
    port, grpc, through = free_port(), free_port(), free_port()
    passing = listener(through, "TLS", tls={"mode": "Passthrough"})
    with server_context(AUTHORITY.sign("a.test")) as a:
        async with (
            named_backend("near") as near, named_backend("far") as far, greeter("near") as near_rpc, greeter("far") as far_rpc,
            named_backend("near", ssl=a) as near_tls, named_backend("far", ssl=a) as far_tls,
        ):  # fmt: skip
            us = [
                gateway("web", listener(port)), gateway("rpc", listener(grpc)), gateway("tls", passing),
                *served("web", near), *served("rpc", near_rpc), *served("tls", near_tls),
                route("HTTPRoute", "web", to("web"), to_import("far-web")), route("GRPCRoute", "rpc", to("rpc"), to_import("far-rpc")),
                route("TLSRoute", "tls", to("tls"), to_import("far-tls"), hosts=("a.test",)),
            ]  # fmt: skip
            there = {"far-web": far, "far-rpc": far_rpc, "far-tls": far_tls}
            eu = [each for name, at in there.items() for each in (*served(name, at), manifest("ServiceExport", name))]
            async with live(us, eu) as fleet:
                await healthy(fleet)
                client = Client(port)
                assert {(await client.send("a.test"))[2] for _ in range(40)} == {b"near", b"far"}
                client.close()
                assert {(await tls_answer(through, "a.test"))[0] for _ in range(40)} == {"near", "far"}
                async with Channel("127.0.0.1", grpc, codec=Raw()) as channel:
                    assert {await hello(channel) for _ in range(40)} == {b"near", b"far"}


async def hello(channel: Channel, method: str = "Hello") -> bytes | None:
    """One call."""
    async with channel.request(f"/demo.Greeter/{method}", Cardinality.UNARY_UNARY, bytes, bytes) as stream:
        await stream.send_message(b"x", end=True)
        said: bytes | None = await stream.recv_message()
        return said


async def test_backend_tls_policy_is_obeyed_and_never_fallen_back_from() -> None:
    port, other = free_port(), Authority()
    policy = {
        "targetRefs": [{"group": "", "kind": "Service", "name": "safe"}],
        "validation": {"hostname": "safe.test", "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}]},
    }

    def roots(of: Authority) -> list[Manifest]:
        return [manifest("BackendTLSPolicy", "safe", policy), manifest("ConfigMap", "ca", data={"ca.crt": of.roots.decode()})]

    with server_context(AUTHORITY.sign("safe.test")) as context:
        async with named_backend("safe", ssl=context) as one:
            us = [gateway("web", listener(port)), *served("safe", one), route("HTTPRoute", "web", to("safe"))]
            async with live([*us, *roots(other)]) as fleet:
                await healthy(fleet)
                assert (await call(port))[0] == 503
                fleet.write("us/main.yaml", [*us, *roots(AUTHORITY)])
                await healthy(fleet)
                assert (await call(port))[2] == "safe"
                fleet.write("us/main.yaml", [*us, roots(other)[0]])
                await fleet.settled()
                assert (await call(port))[0] == 500
                assert "BackendTLSPolicy" in {row.kind for row in await fleet.problems()}
                fleet.write("us/main.yaml", [*us, *roots(AUTHORITY)])
                await healthy(fleet)
                assert (await call(port))[2] == "safe"


async def test_other_roots_hold_at_once_and_cost_no_request() -> None:
    """Connections that were judged by the old roots take no further request; what is under way on them is finished."""
    port, other = free_port(), Authority("another authority")
    refs = [{"group": "", "kind": "ConfigMap", "name": "ca"}]
    validation = {"hostname": "safe.test", "caCertificateRefs": refs}
    policy = {"targetRefs": [{"group": "", "kind": "Service", "name": "safe"}], "validation": validation}

    def world(*trusted: Authority) -> list[Manifest]:
        text = "".join(each.roots.decode() for each in trusted)
        return [
            gateway("web", listener(port)), *served("safe", one), route("HTTPRoute", "web", to("safe")),
            manifest("BackendTLSPolicy", "safe", policy), manifest("ConfigMap", "ca", data={"ca.crt": text}),
        ]  # fmt: skip

    with server_context(AUTHORITY.sign("safe.test")) as context:
        async with echo("safe", ssl_context=context) as one, live(world(AUTHORITY)) as fleet, aiohttp.ClientSession() as session:
            await healthy(fleet)
            clients = Clients(port)
            async with asyncio.TaskGroup() as tasks, session.ws_connect(f"http://127.0.0.1:{port}/") as talk:
                tasks.create_task(clients.ask("safe", lambda answer: (answer[0],), "a.test"), name="client")
                await clients.more("safe", 20)
                for trusted in ((AUTHORITY, other), (AUTHORITY,), (other, AUTHORITY)):
                    fleet.write("us/main.yaml", world(*trusted))
                    await fleet.settled()
                    await clients.more("safe", 50)
                assert set(clients.answers["safe"]) == {(200,)}
                fleet.write("us/main.yaml", world(other))
                await fleet.settled()
                await fleet.until(lambda: (503,) in clients.answers["safe"])
                clients.stop()
                assert [(await call(port))[0] for _ in range(10)] == [503] * 10
                await talk.send_str("hi")
                assert await talk.receive_str(timeout=5) == "echo hi"


async def test_mirrors_reach_imports_and_change_no_answer() -> None:
    port, copied = free_port(), Seen()
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": to_import("copy")}}
    async with named_backend("main") as one, echo("copy", copied) as two:
        us = [gateway("web", listener(port)), *served("main", one), route("HTTPRoute", "web", to("main"), filters=[mirror])]
        async with live(us, [*served("copy", two), manifest("ServiceExport", "copy")]) as fleet:
            await healthy(fleet)
            for at in range(5):
                assert (await call(port, f"/{at}"))[2] == "main"
            await fleet.until(lambda: len(copied.requests) == 5)
            assert {one["path"] for one in copied.requests} == {f"/{at}" for at in range(5)}


async def test_ipv6_in_and_out() -> None:
    if not socket.has_ipv6 or "00000000000000000000000000000001" not in _addresses():
        pytest.skip("this machine has no [::1] (/proc/net/if_inet6)")
    port = free_port()
    async with named_backend("six", address="::1") as one:
        us = [gateway("web", listener(port), address="::1"), *served("six", one, addresses=["::1"]), route("HTTPRoute", "web", to("six"))]
        async with live(us) as fleet:
            await healthy(fleet)
            client = Client(port, "::1")
            assert (await client.send(f"[::1]:{port}"))[2] == b"six"
            client.close()


def _addresses() -> str:
    path = Path("/proc/net/if_inet6")
    return path.read_text() if path.exists() else ""
