"""All routes of one cluster as planned, with who has to be planned again when what changes."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TypeVar

from flota.fleet.fleet import Cluster
from flota.plan import ObjectRef
from flota.routing.asks import Ask
from flota.routing.fronts import FrontId
from flota.routing.member import references
from flota.routing.references import RouteKind
from flota.routing.routeplans import Piece, Route, RoutePlan, Surroundings, plan_route

KINDS: dict[RouteKind, str] = {
    "HTTPRoute": "http_routes",
    "GRPCRoute": "grpc_routes",
    "TLSRoute": "tls_routes",
    "TCPRoute": "tcp_routes",
    "UDPRoute": "udp_routes",
}
"""Kinds of routes and the fields of a cluster that hold them."""

T = TypeVar("T")


class Changed:
    """What a round of planning changed."""

    def __init__(self) -> None:
        self.removed: list[Piece] = []
        self.added: list[Piece] = []
        self.refs: set[ObjectRef] = set()
        """Routes whose plan is another now, or gone."""
        self.counted: set[FrontId] = set()
        """Listeners with another number of routes."""
        self.used: set[Ask] = set()
        """Asks that traffic may begin or cease to take."""
        self.dropped: set[Ask] = set()
        """Asks that no route asks any more."""


class Register:
    """Route plans by route. A memo: what it holds depends only on what was last handed in."""

    def __init__(self) -> None:
        self.plans: dict[ObjectRef, RoutePlan] = {}
        self.attached: Counter[FrontId] = Counter()
        self.pieces: defaultdict[FrontId, dict[tuple[ObjectRef, str], Piece]] = defaultdict(dict)
        self.users: defaultdict[Ask, set[ObjectRef]] = defaultdict(set)
        """Routes whose traffic may take an ask."""
        self.planned = 0
        """Routes planned so far: what changes have cost."""
        self._routes: dict[ObjectRef, tuple[RouteKind, Route]] = {}
        self._askers: defaultdict[Ask, set[ObjectRef]] = defaultdict(set)
        self._by_parent: defaultdict[tuple[str, str, str], set[ObjectRef]] = defaultdict(set)
        self._by_namespace: defaultdict[str, set[ObjectRef]] = defaultdict(set)
        self._crossing: set[ObjectRef] = set()
        self._undecided: set[ObjectRef] = set()
        """Routes that ask for default Gateways."""

    def take(self, old: Cluster, new: Cluster) -> set[ObjectRef]:
        """Take over a newer picture's routes. Gives those that are new, changed or gone."""
        dirty: set[ObjectRef] = set()
        for kind, field in KINDS.items():
            before, now = getattr(old, field), getattr(new, field)
            if before is now:
                continue
            for key in [key for key, route in now.items() if before.get(key) is not route]:
                ref = ObjectRef(new.name, kind, *key)
                self._index(ref, kind, now[key])
                dirty.add(ref)
            for key in before.keys() - now.keys():
                ref = ObjectRef(new.name, kind, *key)
                self._unindex(ref)
                dirty.add(ref)
        return dirty

    def of_asks(self, asks: Iterable[Ask]) -> set[ObjectRef]:
        """Routes that ask any of these."""
        return _union(self._askers, asks)

    def of_parents(self, parents: Iterable[ObjectRef]) -> set[ObjectRef]:
        """Routes with any of these as parent, and those that any Gateway may be the parent of."""
        keys = [each[1:] for each in parents]
        return _union(self._by_parent, keys) | (self._undecided if keys else set())

    def of_namespaces(self, namespaces: Iterable[str]) -> set[ObjectRef]:
        """Routes of these namespaces."""
        return _union(self._by_namespace, namespaces)

    def crossing(self) -> set[ObjectRef]:
        """Routes that refer to backends of other namespaces."""
        return set(self._crossing)

    def plan(self, around: Surroundings, dirty: Iterable[ObjectRef]) -> Changed:
        """Plan these routes again and say what that changed."""
        changed = Changed()
        for ref in sorted(dirty):
            held = self._routes.get(ref)
            old = self.plans.get(ref)
            new = None
            if held is not None:
                self.planned += 1
                new = plan_route(around, held[1], held[0])
            if new != old:
                self._replace(ref, old, new, changed)
        changed.dropped = {each for each in changed.dropped if not self._askers.get(each)}
        return changed

    def _replace(self, ref: ObjectRef, old: RoutePlan | None, new: RoutePlan | None, changed: Changed) -> None:
        changed.refs.add(ref)
        if new is None:
            self.plans.pop(ref, None)
        else:
            self.plans[ref] = new
        self._count(old, -1, changed)
        self._count(new, 1, changed)
        before, after = (frozenset(plan.asks) if plan else frozenset() for plan in (old, new))
        for ask in before - after:
            _discard(self._askers, ask, ref)
            changed.dropped.add(ask)
        for ask in after - before:
            self._askers[ask].add(ref)
        self._use(ref, old.uses if old else frozenset(), new.uses if new else frozenset(), changed)
        self._put(old.pieces if old else (), new.pieces if new else (), changed)

    def _put(self, old: Iterable[Piece], new: Iterable[Piece], changed: Changed) -> None:
        before = {(piece.front, piece.hostname): piece for piece in old}
        after = {(piece.front, piece.hostname): piece for piece in new}
        for at, piece in before.items():
            if at not in after:
                changed.removed.append(piece)
                self.pieces[at[0]].pop((piece.ref, at[1]), None)
        for at, piece in after.items():
            if piece != before.get(at):
                changed.added.append(piece)
                self.pieces[at[0]][piece.ref, at[1]] = piece

    def _use(self, ref: ObjectRef, old: frozenset[Ask], new: frozenset[Ask], changed: Changed) -> None:
        for ask in old - new:
            _discard(self.users, ask, ref)
        for ask in new - old:
            self.users[ask].add(ref)
        changed.used |= old ^ new

    def _count(self, plan: RoutePlan | None, step: int, changed: Changed) -> None:
        for front in plan.attached if plan else ():
            self.attached[front] += step
            changed.counted.add(front)

    def _index(self, ref: ObjectRef, kind: RouteKind, route: Route) -> None:
        self._unindex(ref)
        self._routes[ref] = (kind, route)
        for parent in route.spec.parent_refs:
            self._by_parent[parent.kind, parent.namespace or ref.namespace, parent.name].add(ref)
        if route.spec.use_default_gateways == "All":
            self._undecided.add(ref)
        self._by_namespace[ref.namespace].add(ref)
        if any(each.namespace != ref.namespace for each in references(route)):
            self._crossing.add(ref)

    def _unindex(self, ref: ObjectRef) -> None:
        held = self._routes.pop(ref, None)
        if held is not None:
            for parent in held[1].spec.parent_refs:
                _discard(self._by_parent, (parent.kind, parent.namespace or ref.namespace, parent.name), ref)
            _discard(self._by_namespace, ref.namespace, ref)
            self._crossing.discard(ref)
            self._undecided.discard(ref)


def _union(index: defaultdict[T, set[ObjectRef]], keys: Iterable[T]) -> set[ObjectRef]:
    found: set[ObjectRef] = set()
    for key in keys:
        found |= index.get(key, set())
    return found


def _discard(index: defaultdict[T, set[ObjectRef]], key: T, ref: ObjectRef) -> None:
    held = index.get(key)
    if held is not None:
        held.discard(ref)
        if not held:
            del index[key]
