"""WebSockets where HTTP/2 is spoken (RFC 8441), towards clients and towards backends, through a real Envoy."""

import asyncio
import base64
import os
import struct

import pytest
from h2_tunnel import browser, tunnel_server
from plan_harness import backend, call, echo, endpoints, entry, http_listener, plan, running_proxy, table, to

from flota.plan import Backend, Listener, ProxyPlan


def frame(text: bytes) -> bytes:
    """A masked text frame (RFC 6455, 5.2)."""
    mask = os.urandom(4)
    return struct.pack("!BB", 0x81, 0x80 | len(text)) + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(text))


def serving(one: Backend, port: int) -> tuple[Listener, ProxyPlan]:
    of = table({"ws.test": [entry(to(one))]})
    at = http_listener(of)
    return at, plan([at], [of], [one], [endpoints(one.endpoints, [port])])


async def test_a_client_of_http2_and_a_backend_of_http1() -> None:
    async with running_proxy() as proxy, echo("one") as port:
        at, wanted = serving(backend("one"), port)
        await proxy.serve(wanted)
        async with browser(at.port) as client:
            one_socket, other = await client.open("ws.test"), await client.open("ws.test")
            assert client.offers_connect()
            assert (one_socket.headers[":status"], other.headers[":status"]) == ("200", "200")
            for each, text in ((one_socket, b"hi"), (other, b"ho"), (one_socket, b"he")):
                assert await each.say(frame(text)) == b"\x81\x07echo " + text


async def test_a_client_and_a_backend_of_http2() -> None:
    async with running_proxy() as proxy, tunnel_server() as (port, seen):
        at, wanted = serving(backend("one", "HTTP2"), port)
        await proxy.serve(wanted)
        async with browser(at.port) as client:
            one_socket, other = await client.open("ws.test"), await client.open("ws.test")
            for each, text in ((one_socket, b"hi"), (other, b"ho"), (one_socket, b"he")):
                assert await each.say(text) == text.upper()
        assert (seen[0][":method"], seen[0][":protocol"]) == ("CONNECT", "websocket")


async def test_a_client_of_http1_and_a_backend_of_http2() -> None:
    async with running_proxy() as proxy, tunnel_server() as (port, seen):
        at, wanted = serving(backend("one", "HTTP2"), port)
        await proxy.serve(wanted)
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = ["GET / HTTP/1.1", "host: ws.test", "connection: Upgrade", "upgrade: websocket", f"sec-websocket-key: {key}",
                 "sec-websocket-version: 13", "", ""]  # fmt: skip
        writer.write("\r\n".join(lines).encode())
        async with asyncio.timeout(5):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            writer.write(b"hello")
            assert await reader.read(100) == b"HELLO"
        writer.close()
        assert (seen[0][":method"], seen[0][":protocol"]) == ("CONNECT", "websocket")


@pytest.mark.parametrize("spoken", ["HTTP1", "HTTP2"])
async def test_a_plain_connect_leads_nowhere(spoken: str) -> None:
    """A proxy that carried any CONNECT would be an open door."""
    async with running_proxy() as proxy, tunnel_server() as (port, seen):
        at, wanted = serving(backend("one", spoken), port)  # type: ignore[arg-type]
        await proxy.serve(wanted)
        status, _, _ = await call(at.port, "ws.test:80", "ws.test:80", "CONNECT")
        assert status == 404
        async with browser(at.port) as client:
            assert (await client.connect("ws.test:80")).headers[":status"] == "404"
        assert seen == []
