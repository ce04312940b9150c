"""Which Secrets and ConfigMaps a cluster's objects speak of: only these are read. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from msgspec import Struct

from flota.fleet.meta import Key

Wanted = Literal["Secret", "ConfigMap"]
Reference = tuple[Wanted, Key]
SPEAKING = ("gateway_classes", "gateways", "listener_sets", "backend_tls_policies", "x_backends", "x_backend_traffic_policies")
"""Collections of `Cluster` whose objects may name one."""


class References:
    """All references of a cluster; looks again only at objects that changed."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Mapping[Key, Struct], dict[Key, tuple[Struct, frozenset[Reference]]]]] = {}
        self._all: frozenset[Reference] = frozenset()

    def of(self, collections: Mapping[str, Mapping[Key, Struct]]) -> frozenset[Reference]:
        """The references; the identical set while they are the same."""
        changed = False
        for name, objects in collections.items():
            mapping, known = self._seen.get(name, (None, {}))
            if mapping is objects:
                continue
            changed = True
            held = {key: known[key] if key in known and known[key][0] is each else (each, _of(each)) for key, each in objects.items()}
            self._seen[name] = objects, held
        if changed:
            found = frozenset(ref for _, held in self._seen.values() for _, refs in held.values() for ref in refs)
            self._all = self._all if found == self._all else found
        return self._all


def _of(thing: Struct) -> frozenset[Reference]:
    namespace: str = thing.metadata.namespace  # type: ignore[attr-defined]
    return frozenset(_within(thing, namespace))


def _within(value: object, namespace: str) -> Iterator[Reference]:
    """A reference is whatever has a kind, a name and perhaps a group and a namespace."""
    if isinstance(value, Struct):
        kind, name = getattr(value, "kind", None), getattr(value, "name", None)
        if (kind == "Secret" or kind == "ConfigMap") and isinstance(name, str) and not getattr(value, "group", ""):
            yield kind, (getattr(value, "namespace", None) or namespace, name)
        for field in value.__struct_fields__:
            yield from _within(getattr(value, field), namespace)
    elif isinstance(value, tuple):
        for each in value:
            yield from _within(each, namespace)


def split(references: Iterable[Reference]) -> dict[Wanted, frozenset[Key]]:
    """The keys by kind."""
    found: dict[Wanted, set[Key]] = {"Secret": set(), "ConfigMap": set()}
    for kind, key in references:
        found[kind].add(key)
    return {kind: frozenset(keys) for kind, keys in found.items()}
