"""Does a process still answer? A look at the data path itself, for endpoints that are under suspicion.

A stopped process still accepts connections (its kernel does), so only bytes from the process count. `OPTIONS *` (RFC 9110 section 9.3.7)
asks the server, not an application resource; any answer at all, an error too, is a sign of life. Over TLS the finished handshake is the
sign. Of a server whose protocol is unknown: that it ends a connection which its client has ended (most do; it has to be seen first).
"""

import asyncio
import contextlib
import re
import ssl
from typing import Literal

Protocol = Literal["HTTP1", "HTTP2", "TLS", "TCP"]
Verdict = Literal["Answers", "Sick", "Silent"]
"""Sick: it answers, but as a gateway does that has lost what is behind it (502, 503, 504), or it hangs up, which a process that hangs
cannot do."""

_SICK = re.compile(rb"HTTP/1\.[01] 50[234] ")
_HELLO = {
    "HTTP1": b"OPTIONS * HTTP/1.1\r\nhost: flota-probe\r\nuser-agent: flota-probe\r\nconnection: close\r\n\r\n",
    "HTTP2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
}


async def look(address: str, port: int, protocol: Protocol, seconds: float) -> Verdict:
    """What the process behind address:port says within that time.

    Its kernel opens the connection even when it hangs, so that tells the distance, and who is far gets two more round trips.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(seconds) as limit:
            reader, writer = await asyncio.open_connection(address, port)
            limit.reschedule(loop.time() + seconds + 2 * (loop.time() - began))
            try:
                return await _ask(reader, writer, protocol)
            finally:
                writer.close()
    except (TimeoutError, OSError):
        return "Silent"


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: Protocol) -> Verdict:
    if protocol == "TLS":
        await writer.start_tls(_context())
        return "Answers"
    if protocol == "TCP":
        writer.write_eof()
        with contextlib.suppress(ConnectionResetError):  # a way to end it
            await reader.read(64)
        return "Answers"
    writer.write(_HELLO[protocol])
    said = await reader.read(64)
    return "Sick" if not said or _SICK.match(said) else "Answers"


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # a sign of life is wanted, not an identity
    return context
