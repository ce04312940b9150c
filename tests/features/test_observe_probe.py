"""What a probe says of servers that answer, answer badly, or only accept."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest
from certificates import Authority

from flota.observe.probe import Verdict, look


@pytest.mark.parametrize(("said", "verdict"), [
    (b"HTTP/1.1 200 OK\r\n\r\n", "Answers"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "Answers"),
    (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", "Answers"),
    (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "Sick"),
    (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", "Sick"),
    (b"hello", "Answers"),
    (b"", "Sick"),
])
async def test_verdicts(said: bytes, verdict: Verdict) -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        assert await look("127.0.0.1", server.sockets[0].getsockname()[1], "HTTP1", 5) == verdict
        await ended.wait()


async def test_who_only_accepts_is_silent() -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        assert await look("127.0.0.1", server.sockets[0].getsockname()[1], "HTTP1", 0.2) == "Silent"
        await ended.wait()


async def test_over_tls_the_handshake_is_the_sign(tmp_path: Path) -> None:
    pair = Authority().sign("shop.test")
    (tmp_path / "both.pem").write_bytes(pair.certificate + pair.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "both.pem")
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
            writer.close()
            await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        assert await look("127.0.0.1", port, "TLS", 5) == "Answers"
        await ended.wait()
