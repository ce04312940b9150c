"""The bytes of a file → its documents, each with its place.

A file is cut at the document markers first (YAML 1.2.2 section 9.1: `---` and `...` in column 0 are never content), so a
document is known by the digest of its own bytes: moving it, or changing another document of the file, does not change it.
Pure.
"""

import codecs
import hashlib
import re
from collections.abc import Iterator

import msgspec

from flota.sources.yaml import MAX_DOCUMENT, Flaw

MAX_FILE = 16 * 1024 * 1024
"""Bytes of one file."""
MAX_DOCUMENTS = 20_000
"""Documents in one file, empty ones counted too."""

_MARKER = re.compile(rb"(?:\A|(?<=[\r\n]))(?:---|\.\.\.)(?=[ \t\r\n]|\Z)")
_PROLOGUE = re.compile(rb"(?:[ \t]*+(?:#[^\r\n]*+)?(?:\r\n|\r|\n))*+(?=%)")
_DIRECTIVE = re.compile(rb"%[^\r\n]*(?:\r\n|\r|\n|\Z)")
_VERSION = re.compile(rb"%YAML[ \t]+1\.[0-9]+[ \t]*(?:#[^\r\n]*)?\s*")
_BLANK = re.compile(rb"(?:[ \t]*+(?:\r\n|\r|\n|\Z))*+")
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
    start, line, prologue = 0, 1, True
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
        line += lines_in(data[start:end])
        start, prologue = end, marker == b"..."
        if prologue:  # the end marker itself belongs to no document; what stands behind it on its line is the parser's to judge
            start = end + 3


def lines_in(text: bytes) -> int:
    """How many line breaks there are: LF, CR LF or CR."""
    if b"\r" not in text:
        return text.count(b"\n")
    return text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")


def _cuts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Where each document ends, and the marker that stands there."""
    for found in _MARKER.finditer(data):
        yield found.start(), found.group()
    yield len(data), b""


def _without_directives(text: bytes, line: int) -> tuple[bytes, Flaw | None]:
    """Directive lines turned into comments: the version changes nothing for us, tag handles are of no use without tags."""
    at, seen = 0, False
    while (found := _PROLOGUE.match(text, at)) and (directive := _DIRECTIVE.match(text, found.end())):
        if seen or not _VERSION.fullmatch(directive.group()):
            name = directive.group().split()[0][:40].decode(errors="replace")
            where = line + lines_in(text[: directive.start()])
            return text, Flaw(where, 1, f"the directive {name} is not allowed; only one %YAML 1.1 or %YAML 1.2 is")
        text = text[: directive.start()] + b"#" + text[directive.start() + 1 :]
        at, seen = directive.end(), True
    return text, None


def _chunk(text: bytes, line: int) -> Chunk | None:
    """The document without the marker and the blank lines before it, so that its place in the file leaves no trace in it."""
    begin = 3 if text.startswith(b"---") and _BLANK.match(text, 3).end() > 3 else 0  # type: ignore[union-attr]
    begin = _BLANK.match(text, begin).end()  # type: ignore[union-attr]
    if begin == len(text) or text[begin:].strip() == b"---":
        return None
    body = text[begin:] if len(text) - begin <= MAX_DOCUMENT else text[begin : begin + MAX_DOCUMENT + 1]
    return Chunk.of(body, line + lines_in(text[:begin]))


def _flaw_at(data: bytes, offset: int, message: str) -> Flaw:
    before = data[:offset]
    last = max(before.rfind(b"\n"), before.rfind(b"\r"))
    return Flaw(lines_in(before) + 1, offset - last, message)
