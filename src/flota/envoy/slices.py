"""What of a cluster's resources each proxy may have: those of its own Gateway and all that they need, and nothing else.

Resources are encoded once for the cluster; a slice holds the very same objects. Who needs whom is counted, so a change costs what it
changes. Pure.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from flota.envoy.holdings import RANK
from flota.envoy.wire import LDS, Ref, Resource, Snapshot, TypeUrl

Owner = str
_ORDER = sorted(RANK, key=lambda each: -RANK[each])
"""Whoever refers to something comes before it."""


class Slices:
    """The slices of all owners. `update` with the newest snapshot and the owners of its listeners; then `get`."""

    def __init__(self) -> None:
        self._whole: Snapshot = {}
        self._roots: Mapping[str, Owner] = {}
        self._needed: defaultdict[Ref, dict[Owner, int]] = defaultdict(dict)
        """How many resources of an owner need this one."""
        self._slices: dict[Owner, dict[TypeUrl, Mapping[str, Resource]]] = {}

    def get(self, owner: Owner) -> Snapshot:
        """What the proxies of `owner` should have. The very same object until something in it changes."""
        return self._slices.get(owner, {})

    def update(self, whole: Snapshot, roots: Mapping[str, Owner]) -> set[Owner]:
        """Take over a newer snapshot; `roots`: name of each listener → its owner. Gives the owners whose slice is another one now."""
        touched: defaultdict[TypeUrl, set[str]] = defaultdict(set)
        touched[LDS] = {name for name in self._roots.keys() | roots.keys() if self._roots.get(name) != roots.get(name)}
        before = {name: {owner} for name, owner in self._roots.items()}
        changes: defaultdict[Owner, defaultdict[TypeUrl, dict[str, Resource | None]]] = defaultdict(lambda: defaultdict(dict))
        moved: dict[Ref, set[Owner]] = {}
        """Owners before this update of what got others."""
        for type_url in _ORDER:
            old, new = self._whole.get(type_url, {}), whole.get(type_url, {})
            for name in touched[type_url] | _differing(old, new):
                ref = (type_url, name)
                if type_url == LDS:
                    had, has = before.get(name, set()), {roots[name]} if name in roots else set()
                else:
                    has = set(self._needed.get(ref, ()))
                    had = moved.get(ref, has)
                had, has = had if name in old else set(), has if name in new else set()
                self._recount((old.get(name), had), (new.get(name), has), touched, moved)
                same = old.get(name) is new.get(name)
                for owner in had ^ has if same else had | has:
                    changes[owner][type_url][name] = new.get(name) if owner in has else None
        self._whole, self._roots = whole, dict(roots)
        self._carry_out(changes)
        return set(changes)

    def _recount(
        self,
        old: tuple[Resource | None, set[Owner]],
        new: tuple[Resource | None, set[Owner]],
        touched: Mapping[TypeUrl, set[str]],
        moved: dict[Ref, set[Owner]],
    ) -> None:
        lost, gained = _edges(*old), _edges(*new)
        for (ref, owner), step in [*((each, -1) for each in lost - gained), *((each, 1) for each in gained - lost)]:
            counts = self._needed[ref]
            moved.setdefault(ref, set(counts))
            touched[ref[0]].add(ref[1])
            counts[owner] = counts.get(owner, 0) + step
            if not counts[owner]:
                del counts[owner]
                if not counts:
                    del self._needed[ref]

    def _carry_out(self, changes: Mapping[Owner, Mapping[TypeUrl, Mapping[str, Resource | None]]]) -> None:
        for owner, types in changes.items():
            fresh = dict(self._slices.get(owner, {}))
            for type_url, several in types.items():
                held = dict(fresh.get(type_url, {}))
                for name, one in several.items():
                    if one is None:
                        held.pop(name, None)
                    else:
                        held[name] = one
                fresh[type_url] = held
            self._slices[owner] = fresh
            if not any(fresh.values()):
                del self._slices[owner]


def _edges(one: Resource | None, owners: Iterable[Owner]) -> set[tuple[Ref, Owner]]:
    return {(ref, owner) for ref in one.needs for owner in owners} if one is not None else set()


def _differing(old: Mapping[str, Resource], new: Mapping[str, Resource]) -> set[str]:
    if old is new:
        return set()
    return {name for name, one in new.items() if old.get(name) is not one} | (old.keys() - new.keys())
