"""The backends, endpoints and secrets that one proxy needs, by name, kept up to date by difference."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from flota.plan import Backend, Endpoints, Secret
from flota.routing.asks import Ask, Asks, Found

T = TypeVar("T")


class Stores:
    """What stands behind the asks that traffic may take. Each mapping is replaced when something in it changes."""

    def __init__(self) -> None:
        self.backends: Mapping[str, Backend] = {}
        self.endpoints: Mapping[str, Endpoints] = {}
        self.secrets: Mapping[str, Secret] = {}
        self._held: dict[Ask, Found] = {}
        self._by_backend: defaultdict[str, set[Ask]] = defaultdict(set)
        self._by_endpoints: defaultdict[str, set[Ask]] = defaultdict(set)
        self._by_secret: defaultdict[str, set[Ask]] = defaultdict(set)

    def update(self, asks: Asks, touched: Iterable[Ask], used: Mapping[Ask, object]) -> None:
        """Look again at these asks; those not in `used` are let go."""
        names: tuple[set[str], set[str], set[str]] = (set(), set(), set())
        for ask in touched:
            old = self._held.pop(ask, None)
            if old is not None:
                self._note(ask, old, names, held=False)
            found = asks.found(ask) if ask in used else None
            if isinstance(found, Found):
                self._held[ask] = found
                self._note(ask, found, names, held=True)
        # Asks that lead to one name lead to the same content: any of them will do.
        self.backends = _renew(self.backends, names[0], self._by_backend, lambda ask, _: self._held[ask].backend)
        self.endpoints = _renew(self.endpoints, names[1], self._by_endpoints, lambda ask, _: self._held[ask].endpoints)
        self.secrets = _renew(self.secrets, names[2], self._by_secret, self._secret)

    def _secret(self, ask: Ask, name: str) -> Secret:
        return next(each for each in self._held[ask].secrets if each.name == name)

    def _note(self, ask: Ask, found: Found, names: tuple[set[str], set[str], set[str]], *, held: bool) -> None:
        marks = (
            (self._by_backend, names[0], (found.backend.name,)),
            (self._by_endpoints, names[1], (found.endpoints.name,)),
            (self._by_secret, names[2], tuple(each.name for each in found.secrets)),
        )
        for index, seen, several in marks:
            for name in several:
                (index[name].add if held else index[name].discard)(ask)
                seen.add(name)


def _renew(
    held: Mapping[str, T], names: Iterable[str], index: dict[str, set[Ask]], get: Callable[[Ask, str], T]
) -> Mapping[str, T]:
    """The mapping with these names looked at again; the same object when nothing differs."""
    fresh: dict[str, T] | None = None
    for name in names:
        askers = index.get(name)
        new = get(next(iter(askers)), name) if askers else None
        if not askers:
            index.pop(name, None)
        if new == held.get(name):
            continue
        fresh = dict(held) if fresh is None else fresh
        if new is None:
            fresh.pop(name, None)
        else:
            fresh[name] = new
    return held if fresh is None else fresh
