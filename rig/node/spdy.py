"""SPDY/3.1 as far as `kubectl exec` speaks it to a node (draft-mbelshe-httpbis-spdy-00). Pure: bytes in, frames out, and back."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY = 1, 2, 3, 6, 7
FIN = 1
_VERSION = 3

# Both sides start from these words (section 2.6.10.1 of the draft).
_WORDS = """options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow
authorization cache-control connection content-base content-encoding content-language content-length content-location
content-md5 content-range content-type date etag expect expires from host if-match if-modified-since if-none-match
if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range
referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get
status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin"""
_CODES = (
    100, 101, 201, 202, 205, 206, 300, 302, 303, 304, 305, 306, 307, 402, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417,
    502, 504, 505,
)  # fmt: skip
_REASONS = (
    "203 Non-Authoritative Information", "204 No Content", "301 Moved Permanently", "400 Bad Request", "401 Unauthorized", "403 Forbidden",
    "404 Not Found", "500 Internal Server Error", "501 Not Implemented", "503 Service Unavailable",
)  # fmt: skip
_TAIL = (
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,"
    "image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8"
    "charset=iso-8859-1,utf-,*,enq=0."
)


def dictionary() -> bytes:
    """What header blocks are compressed against: 1,423 bytes."""
    words = [word.replace("_", " ") for word in _WORDS.split()]
    lengths = b"".join(len(word).to_bytes(4, "big") + word.encode() for word in words)
    return lengths + ("".join(map(str, _CODES)) + "".join(_REASONS) + _TAIL).encode()


class Frame(NamedTuple):
    """One frame. `kind` is None for data."""

    kind: int | None
    stream: int
    flags: int
    body: bytes
    """Of a data frame the data, of a control frame what follows the head."""
    headers: dict[str, str]
    """Of SYN_STREAM."""


class Reader:
    """Takes bytes as they come and gives whole frames. Header blocks share one compression state, so none may be left out."""

    def __init__(self) -> None:
        self._rest = b""
        self._unpack = zlib.decompressobj(zdict=dictionary())

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now. Raises ValueError for what is no SPDY/3."""
        self._rest += data
        while len(self._rest) >= 8:
            first, second = int.from_bytes(self._rest[:4], "big"), int.from_bytes(self._rest[4:8], "big")
            length, flags = second & 0xFFFFFF, second >> 24
            if len(self._rest) < 8 + length:
                return
            body, self._rest = self._rest[8 : 8 + length], self._rest[8 + length :]
            if not first >> 31:
                yield Frame(None, first, flags, body, {})
                continue
            if first >> 16 & 0x7FFF != _VERSION:
                raise ValueError(f"version {first >> 16 & 0x7FFF} of SPDY")
            yield self._control(first & 0xFFFF, flags, body)

    def _control(self, kind: int, flags: int, body: bytes) -> Frame:
        stream = int.from_bytes(body[:4], "big") & 0x7FFFFFFF
        headers = _pairs(self._unpack.decompress(body[10:])) if kind == SYN_STREAM else {}
        return Frame(kind, stream, flags, body, headers)


class Writer:
    """Makes frames."""

    def __init__(self) -> None:
        self._pack = zlib.compressobj(zdict=dictionary())

    def reply(self, stream: int) -> bytes:
        """SYN_REPLY without headers: the stream is accepted."""
        block = self._pack.compress(bytes(4)) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        return _control(SYN_REPLY, 0, stream.to_bytes(4, "big") + block)

    @staticmethod
    def data(stream: int, data: bytes, *, last: bool = False) -> bytes:
        """Data, at most 16 MiB."""
        return stream.to_bytes(4, "big") + ((FIN if last else 0) << 24 | len(data)).to_bytes(4, "big") + data

    @staticmethod
    def ping(body: bytes) -> bytes:
        """The answer to a PING."""
        return _control(PING, 0, body)

    @staticmethod
    def goaway(last_stream: int) -> bytes:
        """Nothing more will be accepted."""
        return _control(GOAWAY, 0, last_stream.to_bytes(4, "big") + bytes(4))


def _control(kind: int, flags: int, body: bytes) -> bytes:
    return (1 << 31 | _VERSION << 16 | kind).to_bytes(4, "big") + (flags << 24 | len(body)).to_bytes(4, "big") + body


def _pairs(block: bytes) -> dict[str, str]:
    words, place = [], 4
    for _ in range(2 * int.from_bytes(block[:4], "big")):
        length = int.from_bytes(block[place : place + 4], "big")
        words.append(block[place + 4 : place + 4 + length].decode("latin-1"))
        place += 4 + length
    return dict(zip(words[::2], words[1::2], strict=True))
