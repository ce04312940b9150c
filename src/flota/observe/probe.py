"""Does a process still answer? A look at the data path itself, for endpoints that are under suspicion.

A stopped process still accepts connections (its kernel does), so only bytes from the process count. `OPTIONS *` (RFC 9110 section 9.3.7)
asks the server, not an application resource; any answer at all, an error too, is a sign of life. Over TLS the finished handshake is the
sign. Of a server whose protocol is unknown: that it ends a connection which its client has ended (most do; it has to be seen first).
"""

import asyncio
import re
import ssl
from typing import Literal

Protocol = Literal["HTTP1", "HTTP2", "TLS", "TCP"]
Verdict = Literal["Answers", "Sick", "Silent"]
"""Sick: it answers, but as a gateway does that has lost what is behind it (502, 503, 504)."""

_SICK = re.compile(rb"HTTP/1\.[01] 50[234] ")
_HELLO = {
    "HTTP1": b"OPTIONS * HTTP/1.1\r\nhost: flota-probe\r\nuser-agent: flota-probe\r\nconnection: close\r\n\r\n",
    "HTTP2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
}


async def look(address: str, port: int, protocol: Protocol, seconds: float) -> Verdict:
    """What the process behind address:port says within that time."""
    try:
        async with asyncio.timeout(seconds):
            if protocol == "TLS":
                return await _handshake(address, port)
            if protocol == "TCP":
                return await _end(address, port)
            said = await _bytes_back(address, port, _HELLO[protocol])
    except (TimeoutError, OSError):
        return "Silent"
    if not said:
        return "Silent"
    return "Sick" if _SICK.match(said) else "Answers"


async def _bytes_back(address: str, port: int, hello: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(hello)
        return await reader.read(64)
    finally:
        writer.close()


async def _handshake(address: str, port: int) -> Verdict:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # a sign of life is wanted, not an identity
    _, writer = await asyncio.open_connection(address, port, ssl=context)
    writer.close()
    return "Answers"


async def _end(address: str, port: int) -> Verdict:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write_eof()
        await reader.read(64)
    except ConnectionResetError:
        pass  # a way to end it
    finally:
        writer.close()
    return "Answers"
