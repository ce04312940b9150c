"""The plan of one cluster's proxy, kept from round to round so that a change costs what it changes."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from flota.fleet.core import Namespace
from flota.fleet.fleet import Cluster, Fleet
from flota.fleet.meta import Key
from flota.fleet.problem import Problem
from flota.fleet.references import GATEWAY_GROUP
from flota.plan import (
    GatewayStatus,
    Listener,
    ListenerSetStatus,
    ListenerStatus,
    ObjectRef,
    PolicyStatus,
    ProxyPlan,
    RouteTable,
    Secret,
)
from flota.plan.plan import Status
from flota.routing import conditions
from flota.routing.asks import Asks, Resolve
from flota.routing.certify import Certifier
from flota.routing.fronts import Front, FrontId, ParentFront
from flota.routing.gateways import Known, class_conditions, fronts, our_classes
from flota.routing.hosts import HostTable
from flota.routing.keys import Target
from flota.routing.listenersets import gateway_of
from flota.routing.misdirected import elsewhere, neighbours
from flota.routing.reach import Reach
from flota.routing.register import Changed, Register
from flota.routing.routeplans import Piece, Surroundings
from flota.routing.sockets import Bind, Pieces, bindings, group, listener, outdone
from flota.routing.stores import Stores

T = TypeVar("T")
_NOTHING = Cluster("", "")
_PARENT_FIELDS = ("gateway_classes", "gateways", "listener_sets", "secrets", "reference_grants", "proxy_templates")
"""What of a cluster Gateways and ListenerSets depend on, whatever they say."""


class ClusterPlanner:
    """Plans for one cluster. What it gives depends only on what was last handed in."""

    def __init__(self, cluster: str) -> None:
        self.register = Register()
        self.tables: dict[str, HostTable] = {}
        self.proxy: ProxyPlan | None = None
        self.statuses: Mapping[ObjectRef, Status] = {}
        self.problems: Mapping[ObjectRef, tuple[Problem, ...]] = {}
        self._cluster: Cluster = _NOTHING
        self._known = Known({}, {})
        self._binds: Mapping[str, Bind] = {}
        self._asks = Asks(cluster)
        self._stores = Stores()
        self._certifier = Certifier()
        self.reach = Reach()
        self.reached: frozenset[Target] = frozenset()
        """What is reached from other Gateways since the last round."""
        self._parents: dict[ObjectRef, ParentFront] = {}
        self._others: frozenset[ObjectRef] = frozenset()
        """Gateways and ListenerSets that are not ours."""
        self._fronts: dict[FrontId, Front] = {}
        self._sockets: dict[str, tuple[Front, ...]] = {}
        self._listeners: Mapping[str, Listener] = {}
        self._outdone: dict[str, dict[ObjectRef, str]] = {}
        """By socket: routes that get none of its connections, and why."""
        self._tables: Mapping[str, RouteTable] = {}
        self._secrets: Mapping[str, Secret] = {}
        self._given: tuple[Mapping[str, Secret], Mapping[str, Secret]] | None = None

    def plan(self, fleet: Fleet, cluster: Cluster, resolve: Resolve, changed: Iterable[Target] | None) -> None:
        """Take over a newer picture; `changed`: targets that `resolve` may answer differently about (None = any)."""
        old, self._cluster = self._cluster, cluster
        moved, said = self._asks.refresh(resolve, changed, fleet.signals)
        parents = self._take_parents(old, fleet)
        dirty = self.register.take(old, cluster)
        dirty |= self.register.of_asks(said) | self.register.of_parents(parents)
        dirty |= self.register.of_namespaces(_differing_namespaces(old.namespaces, cluster.namespaces))
        if old.reference_grants is not cluster.reference_grants:
            dirty |= self.register.crossing()
        defaults = tuple(each for each in self._parents.values() if each.is_default)
        around = Surroundings(
            cluster.name, self._parents, self._others, defaults, cluster.namespaces, cluster.reference_grants, self._asks.answer
        )
        news = self.register.plan(around, dirty)
        self.reached = self.reach.update(news.refs | self.register.of_parents(parents), self.register.plans, self._fronts)
        self._retable(news, rebuilt=bool(parents))
        judged = self._resocket(news, rebuilt=bool(parents))
        self._stores.update(self._asks, moved | news.used, self.register.users)
        for ask in news.dropped:
            self._asks.forget(ask)
        self._tell(old, news, parents, judged)
        self._assemble()

    def _take_parents(self, old: Cluster, fleet: Fleet) -> set[ObjectRef]:
        """Plan Gateways and ListenerSets again if anything they depend on changed. Gives those that are another now."""
        new = self._cluster
        known = Known(fleet.addresses, fleet.unusable, new.name in fleet.own_proxies)
        if _same_parents(old, new) and all(one is other for one, other in zip(known, self._known, strict=True)):
            return set()
        self._known = known
        found = {each.ref: each for each in fronts(new, known, self._certifier)}
        exist = {ObjectRef(new.name, kind, *key) for kind, several in _objects(new) for key in several}
        others = frozenset(exist - found.keys())
        changed = {ref for ref in found.keys() | self._parents.keys() if found.get(ref) != self._parents.get(ref)}
        changed |= others ^ self._others
        kept = {ref: self._parents[ref] if ref not in changed else each for ref, each in found.items()}
        self._parents, self._others = kept, others
        if changed:
            self._fronts = {front.id: front for each in kept.values() for front in each.fronts}
            secrets = {one.name: one for each in self._fronts.values() if each.addresses for one in each.secrets}
            secrets |= {one.name: one for each in kept.values() for one in each.secrets}
            if secrets != self._secrets:
                self._secrets = {name: _same(self._secrets.get(name), each) for name, each in secrets.items()}
        return changed

    def _retable(self, news: Changed, *, rebuilt: bool) -> None:
        if rebuilt:
            self._rebuild_tables(news)
        moved: defaultdict[str, tuple[list[Piece], list[Piece]]] = defaultdict(lambda: ([], []))
        for at, pieces in enumerate((news.removed, news.added)):
            for piece in pieces:
                front = self._fronts.get(piece.front)
                # A listener that speaks HTTP no longer has no table, and took what was attached to it along.
                if piece.source is None and front and front.addresses and front.protocol in ("HTTP", "HTTPS"):
                    moved[front.table][at].append(piece)
        fresh: dict[str, RouteTable] | None = None
        for name, (removed, added) in moved.items():
            table = self.tables[name].update(removed, added)
            if table is not self._tables.get(name):
                fresh = dict(self._tables) if fresh is None else fresh
                fresh[name] = table
        if fresh is not None:
            self._tables = fresh

    def _rebuild_tables(self, news: Changed) -> None:
        """Listeners changed: tables whose listeners are others now start anew, from the pieces as they were before this
        round; what the round changed comes after."""
        wanted: defaultdict[str, list[Front]] = defaultdict(list)
        for front in self._fronts.values():
            if front.addresses and front.protocol in ("HTTP", "HTTPS"):
                wanted[front.table].append(front)
        tables: dict[str, HostTable] = {}
        built: dict[str, RouteTable] = {}
        ports = neighbours(self._fronts.values())
        for name, several in wanted.items():
            table = self.tables.get(name)
            new = HostTable(name, several, elsewhere(several[0], ports))
            if table is None or (table.fronts, table.elsewhere) != (new.fronts, new.elsewhere):
                table = new
                pieces = [each for front in several for each in self.register.pieces[front.id].values()]
                table.update((), pieces)
                before = self._tables.get(name)
                built[name] = table.update((), ()) if before is None else table.adopt(before)
            else:
                built[name] = self._tables[name]
            tables[name] = table
        self.tables = tables
        if built != self._tables or any(built[name] is not self._tables.get(name) for name in built):
            self._tables = built

    def _resocket(self, news: Changed, *, rebuilt: bool) -> set[ObjectRef]:
        """Plan sockets again. Gives routes that began or ceased to get no connections of one."""
        if rebuilt:
            self._sockets = group(self._fronts.values())
            self._binds = bindings(self._sockets) if self._known.own else {}
            touched = set(self._sockets)
        else:
            # Entries of HTTP routes live in tables: only pieces that carry bytes are part of a socket.
            carrying = {piece.front for piece in (*news.removed, *news.added) if piece.source}
            touched = {name for each in carrying if each in self._fronts for name in self._fronts[each].sockets}
        pieces = {each: self.register.pieces[each].values() for each in self._fronts}
        fresh = {name: each for name, each in self._listeners.items() if name in self._sockets}
        for name in touched:
            new = listener(name, self._sockets[name], pieces, self._binds.get(name))
            fresh[name] = _same(fresh.get(name), new)
        if fresh.keys() != self._listeners.keys() or any(fresh[name] is not self._listeners[name] for name in fresh):
            self._listeners = fresh
        return self._judge_losers(touched, pieces)

    def _judge_losers(self, sockets: set[str], pieces: Pieces) -> set[ObjectRef]:
        before = self._outdone
        after = {name: each for name, each in before.items() if name in self._sockets}
        for name in sockets:
            after[name] = outdone(self._listeners[name], self._sockets[name], pieces)
        self._outdone = after
        both = [(before.get(name, {}), after.get(name, {})) for name in before.keys() | after.keys()]
        return {ref for old, new in both if old is not new for ref in old.keys() | new.keys() if old.get(ref) != new.get(ref)}

    def _losses(self, ref: ObjectRef) -> tuple[Problem, ...]:
        texts = dict.fromkeys(each[ref] for each in self._outdone.values() if ref in each)
        return tuple(conditions.problem(ref, "Outdone", each) for each in texts)

    def _tell(self, old: Cluster, news: Changed, parents: set[ObjectRef], judged: set[ObjectRef]) -> None:
        statuses: dict[ObjectRef, Status | None] = {}
        problems: dict[ObjectRef, tuple[Problem, ...]] = {}
        for ref in news.refs | judged:
            plan = self.register.plans.get(ref)
            statuses[ref] = plan.status if plan else None
            problems[ref] = (*plan.problems, *self._losses(ref)) if plan else ()
        counted = {ObjectRef(self._cluster.name, each.kind, each.namespace, each.owner) for each in news.counted}
        for ref in parents | counted:
            front = self._parents.get(ref)
            statuses[ref] = self._parent_status(front) if front else None
            problems[ref] = front.problems if front else ()
        if any(getattr(old, each) is not getattr(self._cluster, each) for each in ("gateway_classes", "proxy_templates")):
            self._tell_classes(statuses, problems)
        if any(getattr(old, each) is not getattr(self._cluster, each) for each in ("gateway_classes", "gateways", "listener_sets")):
            for ref in self._others:
                problems[ref] = self._orphan(ref)
        self.statuses = _patch(self.statuses, statuses)
        self.problems = _patch(self.problems, {ref: each or None for ref, each in problems.items()})

    def _tell_classes(
        self, statuses: dict[ObjectRef, Status | None], problems: dict[ObjectRef, tuple[Problem, ...]]
    ) -> None:
        for ref in [each for each in self.statuses if each.kind == "GatewayClass"]:
            statuses[ref], problems[ref] = None, ()
        for name, each in our_classes(self._cluster).items():
            if each is not None:
                ref = ObjectRef(self._cluster.name, "GatewayClass", "", name)
                said = class_conditions(each, self._cluster)
                statuses[ref], problems[ref] = PolicyStatus(said), conditions.problems(ref, said)

    def _orphan(self, ref: ObjectRef) -> tuple[Problem, ...]:
        """A Gateway of a class that nobody defined, a ListenerSet without a Gateway. Another controller's are none of our business."""
        key = (ref.namespace, ref.name)
        if ref.kind == "Gateway":
            wanted = self._cluster.gateways[key].spec.gateway_class_name
            if any(name == wanted for _, name in self._cluster.gateway_classes):
                return ()
            return (conditions.problem(ref, "NoSuchClass", f"GatewayClass {wanted} does not exist; Flota's own is flota"),)
        parent = gateway_of(self._cluster.listener_sets[key])
        if parent is None:
            return (conditions.problem(ref, "UnsupportedValue", "spec.parentRef names no Gateway: only Gateways take ListenerSets"),)
        if parent in self._cluster.gateways:
            return ()
        return (conditions.problem(ref, "NoMatchingParent", f"its parent, Gateway {parent[0]}/{parent[1]}, does not exist"),)

    def _parent_status(self, parent: ParentFront) -> GatewayStatus | ListenerSetStatus:
        listed = tuple(
            ListenerStatus(
                name=front.id.listener,
                attached_routes=self.register.attached[front.id],
                supported_kinds=tuple((GATEWAY_GROUP, kind) for kind in front.kinds),
                conditions=front.conditions,
                socket=next(iter(front.sockets), None),
            )
            for front in parent.fronts
        )
        if parent.ref.kind == "Gateway":
            return GatewayStatus(parent.addresses, parent.conditions, listed, parent.listener_sets, parent.template)
        key = gateway_of(self._cluster.listener_sets[parent.key])
        assert key is not None, "only those that name a Gateway are planned"  # noqa: S101
        return ListenerSetStatus(key, parent.conditions, listed)

    def _assemble(self) -> None:
        cluster = self._cluster
        if not self._parents:
            self.proxy = None
            return
        given = (self._secrets, self._stores.secrets)
        secrets = self.proxy.secrets if self.proxy and self._given == given else {**given[0], **given[1]}
        self._given = given
        parts = (self._listeners, self._tables, self._stores.backends, self._stores.endpoints, secrets)
        if self.proxy and all(
            new is old
            for new, old in zip(
                parts,
                (self.proxy.listeners, self.proxy.tables, self.proxy.backends, self.proxy.endpoints, self.proxy.secrets),
                strict=True,
            )
        ) and (self.proxy.region, self.proxy.zone) == (cluster.region, cluster.zone or ""):
            return
        self.proxy = ProxyPlan(cluster.name, cluster.region, cluster.zone or "", *parts)


def _objects(cluster: Cluster) -> Iterator[tuple[str, Iterable[Key]]]:
    yield "Gateway", cluster.gateways
    yield "ListenerSet", cluster.listener_sets


def _same_parents(old: Cluster, new: Cluster) -> bool:
    """Whether Gateways and ListenerSets depend on nothing that changed."""
    if any(getattr(old, each) is not getattr(new, each) for each in _PARENT_FIELDS):
        return False
    specs = [each.spec for each in new.gateways.values()]
    if old.config_maps is not new.config_maps and any(each.tls and each.tls.frontend for each in specs):
        return False
    selecting = (each.allowed_listeners and each.allowed_listeners.namespaces.from_ == "Selector" for each in specs)
    return old.namespaces is new.namespaces or not any(selecting)


def _same(old: T | None, new: T) -> T:
    """The old object if the new one says the same."""
    return old if old is not None and old == new else new


def _patch(held: Mapping[ObjectRef, T], changes: Mapping[ObjectRef, T | None]) -> Mapping[ObjectRef, T]:
    """The mapping with these entries replaced (None = removed); the same object when nothing differs."""
    differing = {key: value for key, value in changes.items() if held.get(key) != value}
    if not differing:
        return held
    fresh = dict(held)  # copied whole and then mended: with thousands of objects this is what a change costs
    for key, value in differing.items():
        if value is not None:
            fresh[key] = value
        else:
            fresh.pop(key, None)
    return fresh


def _differing_namespaces(old: Mapping[Key, Namespace], new: Mapping[Key, Namespace]) -> set[str]:
    if old is new:
        return set()
    both = old.keys() | new.keys()
    return {key[1] for key in both if old.get(key) is not new.get(key)}
