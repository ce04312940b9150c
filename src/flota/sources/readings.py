"""What a file says: its documents parsed, identified and admitted, each only once for the same bytes. Pure."""

import json
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from flota.fleet import kinds
from flota.sources.admission import Fault, admit
from flota.sources.documents import MAX_FILE, Chunk, encoding_flaw, split
from flota.sources.positions import first_line, lines_of
from flota.sources.yaml import Flaw, Steps, Value, parse

MAX_FILE_NODES = 400_000
"""Values in one file, over all its documents: some 6,000 routes."""
MAX_OBJECT_NODES = 50_000
"""Values in one object of a kind that Flota uses; the largest EndpointSlice has 20,000."""
MAX_FAULTS = 50
"""Faults told of one object; the rest is counted."""
_PAUSE = 100


class Head(NamedTuple):
    """Who a document is about. The namespace is empty for a cluster-scoped kind and `default` when not given."""

    group: str
    kind: str
    namespace: str
    name: str


class LineFault(msgspec.Struct, frozen=True):
    """A fault of a document; `line` counts from 1 inside its text."""

    line: int
    reason: str
    message: str


class Reading(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """What one document says. The same bytes give the identical reading, wherever they stand: compare by identity."""

    digest: bytes
    text: bytes
    line: int
    """First line with content, from 1 inside the text."""
    nodes: int
    head: Head
    object: msgspec.Struct | None = None
    """As admitted; None when refused or ignored."""
    ignored: bool = False
    faults: tuple[LineFault, ...] = ()


class Placed(msgspec.Struct, frozen=True, eq=False):
    """A reading in its file; `line` is the file's line (from 1) on which its text starts."""

    line: int
    reading: Reading

    @property
    def first_line(self) -> int:
        """The file's line on which the document's content starts."""
        return self.line + self.reading.line - 1


class FileReading(msgspec.Struct, frozen=True, eq=False):
    """What one file says; a `flaw` means that nothing of it may be used."""

    documents: tuple[Placed, ...] = ()
    flaw: Flaw | None = None


def read_file(data: bytes, known: Mapping[bytes, Reading]) -> Steps[FileReading]:
    """The documents in `data`; those whose digest is known are taken from `known` and cost nothing."""
    if len(data) > MAX_FILE:
        return FileReading(flaw=Flaw(1, 1, f"a file of {len(data):,} bytes; at most {MAX_FILE:,} are allowed"))
    documents: list[Placed] = []
    nodes = 0
    for number, chunk in enumerate(split(data)):
        if isinstance(chunk, Flaw):
            return FileReading(flaw=chunk)
        reading = known.get(chunk.digest) or (yield from read_document(chunk))
        if isinstance(reading, Flaw):
            return FileReading(flaw=msgspec.structs.replace(reading, line=reading.line + chunk.line - 1))
        if reading is not None:
            documents.append(Placed(chunk.line, reading))
            nodes += reading.nodes
        if nodes > MAX_FILE_NODES:
            return FileReading(flaw=Flaw(chunk.line, 1, f"more than {MAX_FILE_NODES:,} values in one file; split it"))
        if number % _PAUSE == 0:
            yield
    return FileReading(tuple(documents))


def read_document(chunk: Chunk) -> Steps[Reading | Flaw | None]:
    """The object in one document; None when it is empty. Lines of a flaw count inside the chunk."""
    flaw = encoding_flaw(chunk.text)
    if flaw:
        return flaw
    parsed = yield from parse(chunk.text)
    if isinstance(parsed, Flaw) or parsed.value is None:
        return parsed if isinstance(parsed, Flaw) else None
    line = first_line(chunk.text)
    head = _head(parsed.value, line)
    if isinstance(head, Flaw):
        return head
    reading = Reading(chunk.digest, chunk.text, line, parsed.nodes, head)
    yield
    return _admitted(reading, parsed.value)


def _admitted(reading: Reading, value: Value) -> Reading:
    known = kinds.find(reading.head.group, reading.head.kind)
    if known and known.struct and reading.nodes > MAX_OBJECT_NODES:
        message = f"an object of {reading.nodes:,} values; at most {MAX_OBJECT_NODES:,} are allowed"
        return msgspec.structs.replace(reading, faults=(LineFault(reading.line, "TooLarge", message),))
    verdict = admit(value)  # type: ignore[arg-type]
    return msgspec.structs.replace(
        reading,
        object=verdict.object if verdict.verdict == "admitted" else None,
        ignored=verdict.verdict == "ignored" and not verdict.faults,
        faults=_with_lines(reading, verdict.faults),
    )


def _with_lines(reading: Reading, faults: tuple[Fault, ...]) -> tuple[LineFault, ...]:
    if not faults:
        return ()
    lines = lines_of(reading.text, (fault.path for fault in faults[:MAX_FAULTS]))
    told = tuple(LineFault(lines[fault.path], fault.reason, fault.message) for fault in faults[:MAX_FAULTS])
    more = len(faults) - MAX_FAULTS
    return told if more <= 0 else (*told, LineFault(reading.line, "MoreFaults", f"{more} more faults are not shown"))


def _head(value: Value, line: int) -> Head | Flaw:
    """Who the document is about, or why that can't be told."""
    if not isinstance(value, dict):
        return Flaw(line, 1, "a document must be a Kubernetes object: a mapping with apiVersion, kind and metadata.name")
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    heads = {"apiVersion": value.get("apiVersion"), "kind": value.get("kind"), "metadata.name": name}
    missing = {what: given for what, given in heads.items() if not isinstance(given, str) or not given}
    if missing:
        return Flaw(line, 1, _missing(missing, value))
    group, slash, _ = value["apiVersion"].partition("/")
    group = group if slash else ""
    known = kinds.find(group, value["kind"])
    if known and not known.namespaced:
        return Head(group, value["kind"], "", str(name))
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    return Head(group, value["kind"], namespace if isinstance(namespace, str) and namespace else "default", str(name))


def _missing(missing: Mapping[str, object], value: dict[str, Value]) -> str:
    kind = str(value.get("kind", ""))
    if kind.endswith("List") and "items" in value:
        return f"a {kind} is not an object; write each of its items as a document of its own, with a line `---` between them"
    odd = next((what for what, given in missing.items() if isinstance(given, bool | int | float)), None)
    if odd:  # YAML 1.1 as kubectl reads it: y, no and on are booleans, 1e3 is a number
        return f"{odd} is not a string but {json.dumps(missing[odd])}; write it in quotes"
    return f"the document has no {' and no '.join(missing)} (each must be a non-empty string); add it, or remove the document"
