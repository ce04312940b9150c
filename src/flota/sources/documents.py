"""The bytes of a file → its documents, each with its place.

A file is cut at the document markers first (YAML 1.2.2 section 9.1: `---` and `...` in column 0 are never content), so a
document is known by the digest of its own bytes: moving it, or changing another document of the file, does not change it.
Pure.
"""

import codecs
import hashlib
import re
from collections.abc import Iterator
from heapq import merge

import msgspec

from flota.sources.yaml import MAX_DOCUMENT, Flaw

MAX_FILE = 8 * 1024 * 1024
"""Bytes of one file."""
MAX_DOCUMENTS = 20_000
"""Documents in one file, empty ones counted too."""

_MARKERS = tuple(brk + mark for brk in (b"\n", b"\r") for mark in (b"---", b"..."))
_AFTER = b" \t\r\n"
_PROLOGUE = re.compile(rb"(?:[ \t]*+(?:#[^\r\n]*+)?(?:\r\n|\r|\n))*+\Z")
_LONGEST_PROLOGUE = 65_536
_DIRECTIVE = re.compile(rb"%[^\r\n]*(?:\r\n|\r|\n|\Z)")
_VERSION = re.compile(rb"%YAML[ \t]+1\.[0-9]+[ \t]*(?:#[^\r\n]*)?\s*")
_CONTROL = bytes(code for code in (*range(32), 127) if code not in b"\t\n\r")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


class Chunk(msgspec.Struct, frozen=True):
    """The bytes of one document. `line` is the file's line (from 1) on which they start."""

    text: bytes
    line: int
    digest: bytes

    @classmethod
    def of(cls, text: bytes, line: int) -> "Chunk":
        """A chunk of that text."""
        return cls(text, line, hashlib.blake2b(text, digest_size=16).digest())


def encoding_flaw(text: bytes) -> Flaw | None:
    """Why these bytes are not UTF-8 text, or None."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return _flaw_at(text, error.start, f"the byte 0x{text[error.start]:02x} is not UTF-8; save the file as UTF-8")
    if len(text.translate(None, _CONTROL)) == len(text):
        return None
    offset = next(at for at, code in enumerate(text) if code in _CONTROL)
    return _flaw_at(text, offset, f"the control character 0x{text[offset]:02x} is not allowed; write it escaped, in quotes")


def split(data: bytes) -> Iterator[Chunk | Flaw]:
    """The documents of a file in order, empty ones left out. The last thing it gives may be a Flaw: the rest is not read."""
    if data.startswith(_UTF16):
        yield Flaw(1, 1, "this is UTF-16 or UTF-32; save the file as UTF-8")
        return
    data = data.removeprefix(codecs.BOM_UTF8)
    start, line, prologue, plain = 0, 1, True, b"\r" not in data
    for count, (end, marker) in enumerate(_cuts(data), 1):
        if count > MAX_DOCUMENTS:
            yield Flaw(line, 1, f"more than {MAX_DOCUMENTS:,} documents; spread them over several files")
            return
        text = data[start:end]
        if prologue:
            text, flaw = _without_directives(text, line)
            if flaw:
                yield flaw
                return
        chunk = _chunk(text, line)
        if chunk:
            yield chunk
        line += data.count(b"\n", start, end) if plain else lines_in(data[start:end])
        start, prologue = end, marker == b"..."
        if prologue:  # the end marker itself belongs to no document; what stands behind it on its line is the parser's to judge
            start = end + 3


def lines_in(text: bytes) -> int:
    """How many line breaks there are: LF, CR LF or CR."""
    breaks = len(text) - len(text.translate(None, b"\r\n"))
    return breaks - text.count(b"\r\n") if b"\r" in text else breaks


def _cuts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Where each document ends, and the marker that stands there."""
    if data[:3] in (b"---", b"...") and data[3:4] in _AFTER:
        yield 0, data[:3]
    for at in merge(*(_places(data, marker) for marker in _MARKERS)):
        if data[at + 4 : at + 5] in _AFTER:
            yield at + 1, data[at + 1 : at + 4]
    yield len(data), b""


def _places(data: bytes, what: bytes) -> Iterator[int]:
    at = data.find(what)
    while at >= 0:
        yield at
        at = data.find(what, at + 1)


def _without_directives(text: bytes, line: int) -> tuple[bytes, Flaw | None]:
    """Directive lines turned into comments: the version changes nothing for us, tag handles are of no use without tags."""
    at, seen = _directive_in(text), False
    while at >= 0:
        found = _DIRECTIVE.match(text, at)
        if found is None or seen or at > _LONGEST_PROLOGUE or not _VERSION.fullmatch(found.group()):
            name = text[at : at + 40].split()[0].decode(errors="replace")
            allowed = "only one %YAML 1.1 or %YAML 1.2 is, at the start"
            return text, Flaw(line + lines_in(text[:at]), 1, f"the directive {name} is not allowed; {allowed}")
        text = text[:at] + b"#" + text[at + 1 :]
        at, seen = _directive_in(text), True
    return text, None


def _directive_in(text: bytes) -> int:
    """Where the first directive line is: only blank lines and comments are before it. -1 = there is none."""
    if b"%" not in text:
        return -1
    starts = [at + 1 for brk in (b"\n%", b"\r%") if (at := text.find(brk)) >= 0]
    at = 0 if text.startswith(b"%") else min(starts, default=-1)
    if at < 0:
        return -1
    before = text[:at]
    if at > _LONGEST_PROLOGUE:  # too long to look at each line: it is a prologue if it starts like one
        return at if before.lstrip()[:1] in b"#" else -1
    return at if _PROLOGUE.match(before) else -1


def _chunk(text: bytes, line: int) -> Chunk | None:
    """The document without the marker and the blank lines before it, so that its place in the file leaves no trace in it."""
    if text.startswith(b"---\n") and text[4:5] not in _AFTER:  # as nearly all are
        return Chunk.of(text[4 : 4 + MAX_DOCUMENT + 1], line + 1)
    begin = _content(text, 0)
    if text.startswith(b"---", begin):
        behind = _content(text, begin + 3)
        begin = behind if behind > begin + 3 else begin
    if begin == len(text) or text[begin : begin + 4].strip() == b"---" == text[begin:].strip():
        return None
    return Chunk.of(text[begin : begin + MAX_DOCUMENT + 1], line + lines_in(text[:begin]))


def _content(text: bytes, start: int) -> int:
    """The start of the first line at or after `start` that is not blank; `start` itself where that line has content."""
    rest = text[start:]
    at = len(text) - len(rest.lstrip(_AFTER))
    if at == len(text):
        return at
    return max(start, text.rfind(b"\n", start, at) + 1, text.rfind(b"\r", start, at) + 1)


def _flaw_at(data: bytes, offset: int, message: str) -> Flaw:
    before = data[:offset]
    last = max(before.rfind(b"\n"), before.rfind(b"\r"))
    return Flaw(lines_in(before) + 1, offset - last, message)
