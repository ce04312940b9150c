"""Which Gateways' traffic reaches what: the ancestors of a policy (GEP-713, PolicyAncestorStatus)."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from flota.fleet.meta import Key
from flota.plan import ObjectRef
from flota.routing.fronts import Front, FrontId
from flota.routing.keys import Target
from flota.routing.routeplans import RoutePlan

MOST = 16
"""Ancestors that a status may have; further ones are left out (PolicyStatus, maxItems)."""

_Part = tuple[frozenset[Target], frozenset[Key]]
_NOTHING: _Part = (frozenset(), frozenset())


class Reach:
    """Services, imports and routes of one cluster with the Gateways that requests come from. A memo, kept up to date by difference."""

    def __init__(self) -> None:
        self._parts: dict[ObjectRef, _Part] = {}
        self._gateways: defaultdict[Target, Counter[Key]] = defaultdict(Counter)

    def update(
        self, routes: Iterable[ObjectRef], plans: Mapping[ObjectRef, RoutePlan], fronts: Mapping[FrontId, Front]
    ) -> frozenset[Target]:
        """Look at these routes again; what is reached from other Gateways than before."""
        moved: set[Target] = set()
        for ref in routes:
            plan = plans.get(ref)
            old, new = self._parts.get(ref, _NOTHING), _NOTHING if plan is None else _part(plan, fronts)
            if old == new:
                continue
            moved |= self._count(old, -1) | self._count(new, 1)
            self._parts[ref] = new
            if plan is None:
                del self._parts[ref]
        return frozenset(moved)

    def ancestors(self, targets: Iterable[Target]) -> tuple[Key, ...]:
        """(namespace, name) of the Gateways from which any of these is reached, by name, as many as a status may have."""
        return tuple(sorted({each for target in targets if target in self._gateways for each in self._gateways[target]})[:MOST])

    def _count(self, part: _Part, step: int) -> set[Target]:
        for target in part[0]:
            found = self._gateways[target]
            for gateway in part[1]:
                found[gateway] += step
                if not found[gateway]:
                    del found[gateway]
            if not found:
                del self._gateways[target]
        return set(part[0])


def _part(plan: RoutePlan, fronts: Mapping[FrontId, Front]) -> _Part:
    targets = {Target(ask.backend.kind, ask.backend.namespace, ask.backend.name) for ask in plan.asks}
    targets.add(Target(plan.ref.kind, plan.ref.namespace, plan.ref.name))
    return frozenset(targets), frozenset(fronts[each].gateway for each in plan.attached if each in fronts)
