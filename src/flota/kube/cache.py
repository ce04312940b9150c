"""What is known of the objects of one kind: always whole, never emptied because the server is silent. Pure."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from msgspec import Raw, Struct

from flota.kube.events import Changed, Key

T = TypeVar("T")


class Undecodable(Struct, frozen=True):
    """An object that the server has and we can't use."""

    reason: str
    message: str


Decode = Callable[[Raw, T | None], T | Undecodable]
"""(the object's JSON, what the key had before) → the new value; the old one itself where it says the same."""


class Cache(Generic[T]):
    """Objects by key. One writer. `take` tells which keys differ since the last time."""

    def __init__(self, decode: Decode[T]) -> None:
        self.objects: dict[Key, T] = {}
        """The newest version of each that could be decoded."""
        self.faults: dict[Key, Undecodable] = {}
        """Objects whose newest version can't be decoded; the last good one stays in `objects`."""
        self._decode = decode
        self._versions: dict[Key, str] = {}
        self._changed: set[Key] = set()

    def adopt(self, other: "Cache[T]") -> None:
        """Start with what another cache of the same objects has, as if it had been told here; a list will judge it."""
        self.objects, self.faults = dict(other.objects), dict(other.faults)
        self._versions = dict.fromkeys(other._versions, "")

    def put(self, event: Changed, *, trust: bool = True) -> None:
        """The object is like this. With `trust` the version that is known already is not decoded again."""
        key = event.key
        if trust and event.version and self._versions.get(key) == event.version:
            return
        self._versions[key] = event.version
        before = self.objects.get(key)
        value = self._decode(event.raw, before)
        if isinstance(value, Undecodable):
            if self.faults.get(key) != value:
                self.faults[key] = value
                self._changed.add(key)
            return
        if self.faults.pop(key, None) is not None:
            self._changed.add(key)
        if value is not before:
            self.objects[key] = value
            self._changed.add(key)

    def drop(self, key: Key) -> None:
        """The object is gone."""
        self._versions.pop(key, None)
        known = self.objects.pop(key, None) is not None
        if (self.faults.pop(key, None) is not None) or known:
            self._changed.add(key)

    def keep_only(self, seen: set[Key]) -> None:
        """A list is over: what it did not have is gone."""
        for key in [key for key in self._versions if key not in seen]:
            self.drop(key)

    def clear(self) -> None:
        """The kind itself is gone."""
        self.keep_only(set())

    def take(self) -> Iterable[Key]:
        """Keys whose object or fault differs since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    @property
    def dirty(self) -> bool:
        """Whether `take` would give something."""
        return bool(self._changed)

    def __len__(self) -> int:
        return len(self._versions)
