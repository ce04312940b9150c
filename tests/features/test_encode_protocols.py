"""Plans made by hand through a real Envoy: every protocol but plain HTTP/1.1, towards clients and towards backends."""

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from ads_harness import free_port, until
from certificates import Authority, Pair
from grpclib.client import Channel
from grpclib.const import Cardinality, Handler
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream
from plan_harness import (
    Proxy,
    backend,
    call,
    echo,
    endpoints,
    entry,
    http_listener,
    listener,
    plan,
    running_proxy,
    table,
    to,
)

from flota.envoy.grpc import RawCodec
from flota.plan import ClientTLS, FilterChain, Match, PathMatch, Secret, ServerTLS, WeightedBackend
from flota.settings import Settings

AUTHORITY = Authority()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async with running_proxy() as running:
        yield running


# ── gRPC, HTTP/2, WebSocket ─────────────────────────────────────────────────────────────────────────────────────────


class Greeter:
    """A gRPC service that says its name, or answers a stream word by word."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()

    async def hello(self, stream: Stream[Any, bytes]) -> None:
        await stream.recv_message()
        await stream.send_message(self._name)

    async def words(self, stream: Stream[Any, bytes]) -> None:
        async for word in stream:
            await stream.send_message(word)

    def __mapping__(self) -> dict[str, Handler]:
        return {"/demo.Greeter/Hello": Handler(self.hello, Cardinality.UNARY_UNARY, bytes, bytes),
                "/demo.Greeter/Words": Handler(self.words, Cardinality.STREAM_STREAM, bytes, bytes)}


class Raw(RawCodec):
    """Messages are bytes, both ways."""

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data


@contextlib.asynccontextmanager
async def greeter(name: str, **server: Any) -> AsyncIterator[int]:
    port = free_port()
    running = Server([Greeter(name)], codec=Raw())
    await running.start("127.0.0.1", port, **server)
    try:
        yield port
    finally:
        running.close()
        await running.wait_closed()


async def unknown(channel: Channel) -> None:
    async with channel.request("/demo.Greeter/None", Cardinality.UNARY_UNARY, bytes, bytes) as stream:
        await stream.send_message(b"x", end=True)
        await stream.recv_message()


async def test_grpc(proxy: Proxy) -> None:
    one = backend("one", "HTTP2")
    match = Match(PathMatch("Exact", "/demo.Greeter/Hello"), grpc=True)
    of = table({"grpc.test": [entry(to(one), match), entry(to(one), Match(PathMatch("Exact", "/demo.Greeter/Words"), grpc=True))]})
    at = http_listener(of)
    async with greeter("first") as port:
        await proxy.serve(plan([at], [of], [one], [endpoints("one", [port])]))
        async with Channel("127.0.0.1", at.port, codec=Raw()) as channel:
            channel._authority = "grpc.test"
            async with channel.request("/demo.Greeter/Hello", Cardinality.UNARY_UNARY, bytes, bytes) as stream:
                await stream.send_message(b"x", end=True)
                assert await stream.recv_message() == b"first"
            async with channel.request("/demo.Greeter/Words", Cardinality.STREAM_STREAM, bytes, bytes) as stream:
                for word in (b"a", b"b"):
                    await stream.send_message(word)
                    assert await stream.recv_message() == word
                await stream.end()
            with pytest.raises(GRPCError):
                await unknown(channel)
    assert (await call(at.port, "/demo.Greeter/Hello", host="grpc.test"))[0] == 404


async def test_a_grpc_stream_outlives_the_request_timeout() -> None:
    one = backend("one", "HTTP2")
    of = table({"grpc.test": [entry(to(one), Match(grpc=True))]})
    at = http_listener(of)
    async with running_proxy(settings=Settings(request_timeout_ms=200)) as proxy, greeter("first") as port:
        await proxy.serve(plan([at], [of], [one], [endpoints("one", [port])]))
        async with Channel("127.0.0.1", at.port, codec=Raw()) as channel:
            channel._authority = "grpc.test"
            async with channel.request("/demo.Greeter/Words", Cardinality.STREAM_STREAM, bytes, bytes) as stream:
                for word in (b"a", b"b", b"c"):
                    await stream.send_message(word)
                    assert await stream.recv_message() == word
                    await asyncio.sleep(0.15)
                await stream.end()


async def test_a_websocket_outlives_the_request_timeout() -> None:
    one = backend("one")
    of = table({"ws.test": [entry(to(one, hedge_ms=100))]})
    at = http_listener(of)
    async with running_proxy(settings=Settings(request_timeout_ms=200)) as proxy, echo("one") as port:
        await proxy.serve(plan([at], [of], [one], [endpoints("one", [port])]))
        async with aiohttp.ClientSession() as session, \
                session.ws_connect(f"http://127.0.0.1:{at.port}/", headers={"host": "ws.test"}) as web_socket:
            for word in ("a", "b", "c"):
                await web_socket.send_str(word)
                assert (await web_socket.receive_str()) == f"echo {word}"
                await asyncio.sleep(0.15)


# ── TLS ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def secret(name: str, pair: Pair) -> Secret:
    return Secret(name, pair.certificate, pair.key)


async def peer(port: int, name: str, alpn: tuple[str, ...] = ()) -> tuple[bytes, str | None]:
    """The certificate (DER) a client of this server name is shown, and the protocol agreed on."""
    context = ssl.create_default_context(cadata=AUTHORITY.roots.decode())
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(list(alpn))
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    shown = writer.get_extra_info("ssl_object")
    got = shown.getpeercert(binary_form=True), shown.selected_alpn_protocol()
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
    return got


def der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.certificate.decode())


async def test_certificates_by_name_and_their_rotation(proxy: Proxy) -> None:
    first, second, wild = AUTHORITY.sign("a.test"), AUTHORITY.sign("a.test"), AUTHORITY.sign("*.wild.test")
    one, of = backend("one"), table({"*": [entry(to(backend("one")))]})
    at = listener(FilterChain("a", ("a.test",), ServerTLS(("cert-a",)), table=of.name),
                  FilterChain("wild", ("*.wild.test",), ServerTLS(("cert-w",)), table=of.name))
    async with echo("one") as port:
        async def serve(certificate: Pair) -> None:
            await proxy.serve(plan([at], [of], [one], [endpoints("one", [port])], [secret("cert-a", certificate), secret("cert-w", wild)]))

        await serve(first)
        assert await peer(at.port, "a.test", ("h2", "http/1.1")) == (der(first), "h2")
        assert await peer(at.port, "x.wild.test", ("http/1.1",)) == (der(wild), "http/1.1")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await peer(at.port, "unknown.test")
        context = ssl.create_default_context(cadata=AUTHORITY.roots.decode())
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            request = {"url": f"https://127.0.0.1:{at.port}/x", "headers": {"host": "a.test"}, "server_hostname": "a.test"}
            async with session.get(**request) as answer:
                assert (await answer.json())["path"] == "/x"
            before = await proxy.admin("/stats?filter=^listener_manager.listener_")
            assert "listener_manager.listener_added: 1" in before
            await serve(second)
            assert (await peer(at.port, "a.test"))[0] == der(second)
            assert await proxy.admin("/stats?filter=^listener_manager.listener_") == before
            async with session.get(**request) as answer:  # the old connection goes on
                assert answer.status == 200


async def test_passthrough(proxy: Proxy) -> None:
    """The backend's own certificate reaches the client; Envoy only reads the name."""
    pair = AUTHORITY.sign("pass.test")
    one = backend("one", "TCP")
    at = listener(FilterChain("pass", ("pass.test",), backends=(WeightedBackend(one.name),)))
    async with echo("one", ssl_context=server_context(pair)) as port:
        await proxy.serve(plan([at], [], [one], [endpoints("one", [port])]))
        assert (await peer(at.port, "pass.test"))[0] == der(pair)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await peer(at.port, "other.test")


def server_context(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pair.pem"
        path.write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(path)
    return context


async def test_tls_towards_backends(proxy: Proxy) -> None:
    """Only a certificate for the right name, from the right authority, gets requests (BackendTLSPolicy)."""
    roots = Secret("roots", roots=AUTHORITY.roots)
    good = ClientTLS("inner.test", "roots")
    policies = {
        "good": good,
        "san": ClientTLS("any.test", "roots", dns_names=("inner.test",)),
        "name": ClientTLS("wrong.test", "roots"),
        "authority": ClientTLS("inner.test", "others"),
        "system": ClientTLS("inner.test"),
    }
    behind = {name: backend(name, tls=tls) for name, tls in policies.items()}
    of = table({f"{name}.test": [entry(to(one))] for name, one in behind.items()})
    at = http_listener(of)
    async with echo("one", ssl_context=server_context(AUTHORITY.sign("inner.test"))) as port:
        await proxy.serve(plan([at], [of], behind.values(), [endpoints(name, [port]) for name in behind],
                               [roots, Secret("others", roots=Authority("others").roots)]))
        got = {name: (await call(at.port, host=f"{name}.test"))[0] for name in policies}
    assert got == {"good": 200, "san": 200, "name": 503, "authority": 503, "system": 503}


# ── TCP and UDP ─────────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.asynccontextmanager
async def tcp_server(name: str) -> AsyncIterator[asyncio.Server]:
    """Sends its name, then echoes."""
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(name.encode() + b"\n")
            while data := await reader.read(1000):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server
    finally:
        server.close()


async def banner(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"x")
        return (await reader.readline()).decode().strip()
    except ConnectionError:
        return ""
    finally:
        writer.close()


def port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


async def test_tcp_by_weight_and_after_a_loss(proxy: Proxy) -> None:
    one, two = backend("one", "TCP", close_on_failure=True), backend("two", "TCP", close_on_failure=True)
    at = listener(FilterChain("tcp", backends=(WeightedBackend(one.name, 1), WeightedBackend(two.name, 3))))
    alone = listener(FilterChain("tcp", backends=(WeightedBackend(one.name),)))
    missing = listener(FilterChain("tcp", backends=(WeightedBackend(None),)))
    async with tcp_server("near") as near, tcp_server("far") as far, tcp_server("two") as other:
        behind = [endpoints("one", [port_of(near)], [port_of(far)]), endpoints("two", [port_of(other)])]
        await proxy.serve(plan([at, alone, missing], [], [one, two], behind))
        counted = Counter([await banner(at.port) for _ in range(80)])
        assert set(counted) == {"near", "two"}
        assert 40 <= counted["two"] <= 75
        assert await banner(missing.port) == ""
        near.close()
        loop = asyncio.get_running_loop()
        closed = loop.time()
        await until(lambda: _is(banner(alone.port), "far"), 3)
        assert loop.time() - closed < 2


async def _is(awaited: Any, value: Any) -> bool:
    return bool(await awaited == value)


class Datagrams(asyncio.DatagramProtocol):
    """Answers each datagram with its name."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._transport.sendto(self._name + b":" + data, address)


@contextlib.asynccontextmanager
async def udp_server(name: str) -> AsyncIterator[int]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Datagrams(name), ("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


def datagram(port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(0.5)
        one.sendto(b"x", ("127.0.0.1", port))
        try:
            return one.recv(100).decode()
        except TimeoutError:
            return ""


async def test_udp_by_weight(proxy: Proxy) -> None:
    one, two = backend("one", "UDP"), backend("two", "UDP")
    alone = listener(FilterChain("udp", backends=(WeightedBackend(one.name),)), protocol="UDP")
    mixed = listener(FilterChain("udp", backends=(WeightedBackend(one.name, 1), WeightedBackend(two.name, 4))), protocol="UDP")
    async with udp_server("one") as first, udp_server("two") as second:
        await proxy.serve(plan([alone, mixed], [], [one, two], [endpoints("one", [first]), endpoints("two", [second])]))
        assert await asyncio.to_thread(datagram, alone.port) == "one:x"
        counted = Counter([await asyncio.to_thread(datagram, mixed.port) for _ in range(100)])
        assert set(counted) == {"one:x", "two:x"}
        assert 65 <= counted["two:x"] <= 95


async def test_ipv6(proxy: Proxy) -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("this kernel has no IPv6 (/proc/net/if_inet6 is missing)")
    one, of = backend("one"), table({"*": [entry(to(backend("one")))]})
    at = listener(FilterChain("six", table=of.name), address="::1")
    async with echo("one") as port:
        await proxy.serve(plan([at], [of], [one], [endpoints("one", [port])]))
        async with aiohttp.ClientSession() as session, session.get(f"http://[::1]:{at.port}/six") as answer:
            assert (await answer.json())["path"] == "/six"
