"""Does a process still answer? A look at the data path itself, for endpoints that are under suspicion.

A stopped process still accepts connections (its kernel does), so only bytes from the process count. `OPTIONS *` (RFC 9110 section 9.3.7)
asks the server, not an application resource; any answer at all, an error too, is a sign of life. Over TLS the finished handshake is the
sign.
"""

import asyncio
import ssl
from typing import Literal

Protocol = Literal["HTTP1", "HTTP2", "TLS"]

_HELLO = {
    "HTTP1": b"OPTIONS * HTTP/1.1\r\nhost: flota-probe\r\nuser-agent: flota-probe\r\nconnection: close\r\n\r\n",
    "HTTP2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
}


async def answers(address: str, port: int, protocol: Protocol, seconds: float) -> bool:
    """True when the process behind address:port says anything within that time."""
    try:
        async with asyncio.timeout(seconds):
            if protocol == "TLS":
                return await _handshake(address, port)
            return await _bytes_back(address, port, _HELLO[protocol])
    except (TimeoutError, OSError):
        return False


async def _bytes_back(address: str, port: int, hello: bytes) -> bool:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(hello)
        return bool(await reader.read(1))
    finally:
        writer.close()


async def _handshake(address: str, port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # a sign of life is wanted, not an identity
    _, writer = await asyncio.open_connection(address, port, ssl=context)
    writer.close()
    return True
