"""The protobuf descriptors inside an Envoy binary, cut out of it and cached.

Envoy links the serialised ``FileDescriptorProto`` of every message it knows into its read-only data. Cut from there,
they match the binary exactly, which no separately published package does (those lack fields of other releases).
"""

import hashlib
import json
import mmap
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.message import DecodeError

_MAGIC = b"flota-protos-1\n"
# A file descriptor begins with field 1 (name); what follows is a package (2), a dependency (3) or a message (4).
_START = re.compile(rb"\x0a([\x01-\x7f])([A-Za-z0-9_/.\-]+?\.proto)(?=[\x12\x1a\x22])")
_LENGTH_DELIMITED = 2
_FINGERPRINT_BYTES = 1 << 16


class Descriptors(msgspec.Struct, frozen=True):
    """Serialised file descriptors, and which of them defines which message."""

    files: dict[str, bytes]
    symbols: dict[str, str]


class DescriptorsMissingError(Exception):
    """The file is no Envoy binary that carries its descriptors."""


def load(binary: Path, cache: Path | None) -> Descriptors:
    """The descriptors of `binary`, from `cache` (a folder) where possible, else cut anew and left there for next time.

    A damaged cache is rebuilt, an unwritable one is done without. Raises OSError if the binary can't be read and
    DescriptorsMissingError if nothing is in it.
    """
    file = None if cache is None else cache / f"envoy-protos-{fingerprint(binary)}.bin"
    if file is not None and (found := _read(file)) is not None:
        return found
    fresh = cut(binary)
    if file is not None:
        _write(file, fresh)
    return fresh


def fingerprint(binary: Path) -> str:
    """Tells builds of Envoy apart without reading 100 MB: size, head (build id) and tail (section table)."""
    digest = hashlib.sha256()
    with binary.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        digest.update(str(size).encode())
        for offset in (0, max(0, size - _FINGERPRINT_BYTES)):
            stream.seek(offset)
            digest.update(stream.read(_FINGERPRINT_BYTES))
    return digest.hexdigest()[:24]


def cut(binary: Path) -> Descriptors:
    """Scan the binary for file descriptors (0.3 s for 100 MB); where one occurs twice the longer one wins."""
    files: dict[str, bytes] = {}
    for name, blob in _candidates(binary):
        if len(blob) > len(files.get(name, b"")) and _valid(name, blob):
            files[name] = blob
    if "envoy/service/discovery/v3/ads.proto" not in files:
        raise DescriptorsMissingError(f"{binary}: no protobuf descriptors of Envoy found in it")
    return Descriptors(files=files, symbols=_symbols(files))


def _candidates(binary: Path) -> Iterator[tuple[str, bytes]]:
    if binary.stat().st_size == 0:  # which mmap refuses
        return
    with binary.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for match in _START.finditer(data):
            if len(match[2]) == match[1][0]:
                yield match[2].decode(), data[match.start() : _end(data, match.start())]


def _valid(name: str, blob: bytes) -> bool:
    try:
        file = FileDescriptorProto()
        file.ParseFromString(blob)
    except DecodeError:
        return False
    return file.name == name


def _end(data: mmap.mmap, start: int) -> int:
    """Where the message that starts here ends: nothing says so, but its fields come in ascending order, each whole."""
    position, last = start, 0
    while position < len(data):
        tag = data[position]
        number, wire = tag >> 3, tag & 7
        ascending = number > last or (number == last and number in (3, 4, 5, 6, 7, 10, 11))
        if tag > 0x7F or not ascending or number > 14:
            return position
        if wire == _LENGTH_DELIMITED and number not in (10, 11, 14):
            length, body = _varint(data, position + 1)
            position, last = body + length, number
        elif wire == 0 and number in (10, 11, 14):
            position, last = _varint(data, position + 1)[1], number
        else:
            return position
    return start  # cut off by the end of the file


def _varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80 or shift > 35:
            break
    return value, position


def _symbols(files: dict[str, bytes]) -> dict[str, str]:
    symbols: dict[str, str] = {}
    for name, blob in files.items():
        file = FileDescriptorProto()
        file.ParseFromString(blob)
        prefix = f"{file.package}." if file.package else ""
        for message in file.message_type:
            symbols.update(dict.fromkeys(_names(prefix, message), name))
    return symbols


def _names(prefix: str, message: DescriptorProto) -> Iterator[str]:
    yield (full := prefix + message.name)
    for inner in message.nested_type:
        yield from _names(f"{full}.", inner)


def _read(file: Path) -> Descriptors | None:
    """The cached set, None if it is absent, unreadable or damaged."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    head, _, packed = data.removeprefix(_MAGIC).partition(b"\n")
    if not data.startswith(_MAGIC) or hashlib.sha256(packed).hexdigest().encode() != head:
        return None
    index_size = int.from_bytes(packed[:4], "big")
    index = json.loads(packed[4 : 4 + index_size])
    blob, position, files = packed[4 + index_size :], 0, {}
    for name, size in index["files"].items():
        files[name] = blob[position : position + size]
        position += size
    return Descriptors(files=files, symbols=index["symbols"])


def _write(file: Path, descriptors: Descriptors) -> None:
    """Whole or not at all: another process may read or write the same file at this moment."""
    sizes = {name: len(blob) for name, blob in descriptors.files.items()}
    index = json.dumps({"files": sizes, "symbols": descriptors.symbols}).encode()
    packed = b"".join((len(index).to_bytes(4, "big"), index, *descriptors.files.values()))
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(_MAGIC + hashlib.sha256(packed).hexdigest().encode() + b"\n" + packed)
        Path(temporary).replace(file)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
