"""A line of a watch → what happened. Pure. Source: Kubernetes API concepts, efficient detection of changes."""

from typing import Literal

import msgspec
from msgspec import Raw, Struct, field

from flota.kube.errors import ApiError, from_status

Key = tuple[str, str]
"""(namespace, name); the namespace of a cluster-scoped object is empty."""
_END = "k8s.io/initial-events-end"


class Changed(Struct, frozen=True):
    """An object is there, as `raw` has it."""

    key: Key
    version: str
    raw: Raw


class Deleted(Struct, frozen=True):
    """An object is gone (or no longer matches the selector)."""

    key: Key
    version: str


class Bookmark(Struct, frozen=True):
    """Everything up to `version` has been told. `initial`: all objects that were there at the start have been told."""

    version: str
    initial: bool


class Garbage(Struct, frozen=True):
    """A line that is no event; what it meant to say is unknown."""

    message: str


Event = Changed | Deleted | Bookmark | ApiError | Garbage


class Meta(Struct, rename="camel"):
    """What identifies an object and its state."""

    name: str
    namespace: str = ""
    resource_version: str = ""


class _Object(Struct):
    metadata: Meta


class _Line(Struct):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: Raw


class _MarkMeta(Struct, rename="camel"):
    resource_version: str
    annotations: dict[str, str] = field(default_factory=dict)


class _Mark(Struct):
    metadata: _MarkMeta


_line = msgspec.json.Decoder(_Line)
_object = msgspec.json.Decoder(_Object)
_mark = msgspec.json.Decoder(_Mark)


def event_of(line: bytes) -> Event:
    """What a line says; never raises."""
    try:
        said = _line.decode(line)
        if said.type == "ERROR":
            return from_status(said.object)
        if said.type == "BOOKMARK":
            mark = _mark.decode(said.object).metadata
            if not mark.resource_version:
                return Garbage("a bookmark without a version")
            return Bookmark(mark.resource_version, mark.annotations.get(_END) == "true")
        meta = _object.decode(said.object).metadata
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Garbage(f"a line of {len(line):,} bytes that is no event: {error}")
    if said.type == "DELETED":
        return Deleted((meta.namespace, meta.name), meta.resource_version)
    return Changed((meta.namespace, meta.name), meta.resource_version, said.object)


def item_of(raw: Raw) -> Changed | Garbage:
    """An item of a list."""
    try:
        meta = _object.decode(raw).metadata
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Garbage(f"an item that is no object: {error}")
    return Changed((meta.namespace, meta.name), meta.resource_version, raw)


def older(one: str, other: str) -> bool:
    """Whether a resource version is certainly older than another; never for versions that are no numbers."""
    return one.isdigit() and other.isdigit() and int(one) < int(other)
