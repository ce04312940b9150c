"""Objects grouped by what they speak of, kept up to date by difference."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from flota.fleet.meta import Key

T = TypeVar("T")
G = TypeVar("G", bound=Hashable)


class Index(Generic[T, G]):
    """The objects of one mapping of a cluster by group; an object may be in several groups, or in none.

    A memo, not a decision: what it answers depends only on the mapping last handed in.
    """

    def __init__(self, groups: Callable[[T], Iterable[G]]) -> None:
        self._groups = groups
        self._mapping: Mapping[Key, T] = {}
        self._members: dict[G, dict[Key, T]] = {}
        self._sorted: dict[G, tuple[T, ...]] = {}

    def refresh(self, mapping: Mapping[Key, T]) -> set[G]:
        """Take over a newer mapping and say which groups have other members now. Costs what changed, after one scan by identity."""
        old = self._mapping
        if mapping is old:
            return set()
        self._mapping = mapping
        touched: set[G] = set()
        added = 0
        for key in [key for key, value in mapping.items() if old.get(key) is not value]:
            before = old.get(key)
            if before is None:
                added += 1
            else:
                self._remove(key, before, touched)
            self._add(key, mapping[key], touched)
        if len(old) + added > len(mapping):
            for key in old.keys() - mapping.keys():
                self._remove(key, old[key], touched)
        return touched

    def get(self, group: G) -> tuple[T, ...]:
        """The members of a group in the order of their keys; the same tuple until one of them changes."""
        found = self._sorted.get(group)
        if found is None:
            members = self._members.get(group)
            if members is None:
                return ()
            found = self._sorted[group] = tuple(members[key] for key in sorted(members))
        return found

    def groups(self) -> Iterable[G]:
        """All groups that have members."""
        return self._members.keys()

    def __contains__(self, group: G) -> bool:
        return group in self._members

    def _add(self, key: Key, value: T, touched: set[G]) -> None:
        for group in self._groups(value):
            self._members.setdefault(group, {})[key] = value
            self._sorted.pop(group, None)
            touched.add(group)

    def _remove(self, key: Key, value: T, touched: set[G]) -> None:
        for group in self._groups(value):
            members = self._members.get(group)
            if members is None or members.pop(key, None) is None:
                continue
            self._sorted.pop(group, None)
            touched.add(group)
            if not members:
                del self._members[group]
