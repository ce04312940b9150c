"""One route planned by itself: what it adds to which listener, and what it is told about itself."""

from collections.abc import Callable, Mapping
from typing import cast, get_args

from msgspec import Struct
from msgspec.structs import replace

from flota.fleet.core import Namespace
from flota.fleet.meta import Condition, Key
from flota.fleet.policy import ReferenceGrant
from flota.fleet.problem import Problem
from flota.fleet.references import GATEWAY_GROUP, ParentReference
from flota.fleet.routes import GRPCRoute, HTTPRoute, TCPRoute, TLSRoute, UDPRoute
from flota.plan import ObjectRef, ParentStatus, RouteSource, RouteStatus, WeightedBackend
from flota.routing import conditions
from flota.routing.ages import Age, age
from flota.routing.asks import Answer, Ask, Hint
from flota.routing.attach import Attachment, attach
from flota.routing.filters import Arrival
from flota.routing.fronts import Front, FrontId, ParentFront, ParentKind
from flota.routing.listeners import Fault
from flota.routing.references import RouteKind, Scope, Wishes, backends
from flota.routing.rules import Ranked, Rules, depends_on_arrival, plan_rules

Route = HTTPRoute | GRPCRoute | TLSRoute | TCPRoute | UDPRoute


class Piece(Struct, frozen=True):
    """What a route adds to one listener for one of its hostnames (`*` = it has none): entries of an HTTP route, or the
    backends of one that carries bytes."""

    front: FrontId
    hostname: str
    ref: ObjectRef
    age: Age
    entries: tuple[Ranked, ...] = ()
    backends: tuple[WeightedBackend, ...] = ()
    source: RouteSource | None = None


class RoutePlan(Struct, frozen=True):
    """A route as planned. `asks`: all it refers to; `uses`: those that traffic may take."""

    ref: ObjectRef
    status: RouteStatus
    problems: tuple[Problem, ...]
    attached: tuple[FrontId, ...]
    pieces: tuple[Piece, ...]
    asks: frozenset[Ask]
    uses: frozenset[Ask]


class Surroundings(Struct, frozen=True):
    """What of a cluster a route's plan depends on. `parents`: Gateways of ours and their ListenerSets; `others`: that exist but are not
    ours; `defaults`: Gateways that take routes which name none."""

    cluster: str
    parents: Mapping[ObjectRef, ParentFront]
    others: frozenset[ObjectRef]
    defaults: tuple[ParentFront, ...]
    namespaces: Mapping[Key, Namespace]
    grants: Mapping[Key, ReferenceGrant]
    answer: Callable[[Ask], Answer]


class _Draft:
    """A route plan in the making."""

    def __init__(self, around: Surroundings, route: Route, kind: RouteKind) -> None:
        meta = route.metadata
        self.around = around
        self.route = route
        self.kind: RouteKind = kind
        self.ref = ObjectRef(around.cluster, kind, meta.namespace, meta.name)
        self.age = age(meta)
        self.asks: set[Ask] = set()
        self.scope = Scope(kind, meta.namespace, meta.name, around.grants, self._answer)
        self.parents: list[ParentStatus] = []
        self.pieces: dict[tuple[FrontId, str], Piece] = {}
        self.attached: dict[FrontId, None] = {}
        self.tables: dict[str, None] = {}
        self.problems: dict[tuple[str, str], Problem] = {}
        self._rules: dict[tuple[Arrival, str | None], Rules] = {}
        self._streams: dict[tuple[Hint, str | None], tuple[tuple[WeightedBackend, ...], tuple[Fault, ...]]] = {}

    def _answer(self, ask: Ask) -> Answer:
        self.asks.add(ask)
        return self.around.answer(ask)

    def trouble(self, reason: str, message: str) -> None:
        """Note a problem that no condition tells."""
        self.problems.setdefault((reason, message), conditions.problem(self.ref, reason, message))

    def rules(self, front: Front) -> Rules:
        """The rules as requests to that listener meet them. Without redirects they are the same everywhere."""
        assert isinstance(self.route, HTTPRoute | GRPCRoute)  # noqa: S101
        arrival = Arrival(front.scheme, front.port) if depends_on_arrival(self.route) else Arrival("http", 80)
        at = (arrival, front.client_certificate)
        if at not in self._rules:
            self._rules[at] = plan_rules(self._scope(front), self.route, arrival)
        return self._rules[at]

    def _scope(self, front: Front) -> Scope:
        return replace(self.scope, certificate=front.client_certificate)

    def stream(self, front: Front) -> tuple[tuple[WeightedBackend, ...], tuple[Fault, ...]]:
        """The backends of a route that carries bytes, and what does not resolve. Only the first rule can ever be taken."""
        assert not isinstance(self.route, HTTPRoute | GRPCRoute)  # noqa: S101
        hint: Hint = "UDP" if front.protocol == "UDP" else "TLS" if front.protocol == "TLS" and not front.tls else "TCP"
        at = (hint, front.client_certificate)
        if at not in self._streams:
            rule = self.route.spec.rules[0]
            held = backends(self._scope(front), rule.backend_refs, Wishes(rule.name, hint))
            self._streams[at] = (held.weighted, tuple(dict.fromkeys(held.faults)))
        return self._streams[at]


def plan_route(around: Surroundings, route: Route, kind: RouteKind) -> RoutePlan:
    """Plan one route. Whatever is wrong with it stays with it."""
    draft = _Draft(around, route, kind)
    named: set[ObjectRef] = set()
    for ref in route.spec.parent_refs:
        parent = _parent(draft, ref)
        if parent is not None:
            named.add(parent.ref)
            _plan_parent(draft, ref, parent)
    if route.spec.use_default_gateways == "All":
        _plan_defaults(draft, named)
    asks = frozenset(draft.asks)
    return RoutePlan(
        ref=draft.ref,
        status=RouteStatus(tuple(draft.parents), tuple(sorted(draft.tables))),
        problems=tuple(draft.problems.values()),
        attached=tuple(draft.attached),
        pieces=tuple(draft.pieces.values()),
        asks=asks,
        uses=asks if draft.pieces else frozenset(),
    )


def _parent(draft: _Draft, ref: ParentReference) -> ParentFront | None:
    """What a parentRef names, if it is ours."""
    if ref.group != GATEWAY_GROUP or ref.kind not in get_args(ParentKind):
        text = f"parent {ref.kind} {ref.name} is not supported yet: only Gateways and ListenerSets are"
        draft.trouble("UnsupportedValue", text)
        return None
    key = ObjectRef(draft.around.cluster, ref.kind, ref.namespace or draft.ref.namespace, ref.name)
    found = draft.around.parents.get(key)
    if found is None and key not in draft.around.others:
        draft.trouble("NoMatchingParent", f"its parent, {key.kind} {key.namespace}/{key.name}, does not exist")
    return found


def _plan_defaults(draft: _Draft, named: set[ObjectRef]) -> None:
    """Attach the route to every default Gateway that takes it, as if it named it (GEP-3793). Others have nothing to do with it."""
    hosts = hostnames(draft.route)
    taking = [
        each
        for each in draft.around.defaults
        if each.ref in named or attach(_as_reference(each), each, draft.kind, draft.ref.namespace, hosts, draft.around.namespaces)[0]
    ]
    if not taking:
        draft.trouble("NoMatchingParent", "useDefaultGateways is All, and no Gateway with spec.defaultScope All takes it")
    for each in taking:
        if each.ref not in named:
            _plan_parent(draft, _as_reference(each), each)


def _as_reference(parent: ParentFront) -> ParentReference:
    return ParentReference(name=parent.ref.name, namespace=parent.ref.namespace, kind=parent.ref.kind)


def hostnames(route: Route) -> tuple[str, ...]:
    """Hostnames of a route in lower case; none for kinds without."""
    return tuple(each.lower() for each in getattr(route.spec, "hostnames", ()))


def _plan_parent(draft: _Draft, ref: ParentReference, parent: ParentFront) -> None:
    around, meta = draft.around, draft.route.metadata
    found, fault = attach(ref, parent, draft.kind, meta.namespace, hostnames(draft.route), around.namespaces)
    # A route that is not attached is told of its references too: what the API server shows should not hang on the order of repairs.
    sample = found[0].front if found else next((each for each in parent.fronts if draft.kind in each.kinds), None)
    rules = draft.rules(sample) if sample and draft.kind in ("HTTPRoute", "GRPCRoute") else None
    faults = rules.faults if rules else draft.stream(sample)[1] if sample else ()
    dropped = rules.dropped if rules else {}
    invalid = bool(dropped) and len(dropped) == len(draft.route.spec.rules)
    if fault is None and invalid:
        fault = Fault("UnsupportedValue", _rules_text(dropped))
    said = _conditions(meta.generation, fault, faults, dropped)
    draft.parents.append(ParentStatus(*parent.key, ref.section_name, ref.port, said, cast("ParentKind", parent.ref.kind)))
    for problem in conditions.problems(draft.ref, said):
        draft.problems.setdefault((problem.reason, problem.message), problem)
    for note in rules.notes if rules else ():
        draft.trouble("UnsupportedValue", note)
    if fault is None:
        _idle(draft, found, parent.title)
        draft.attached.update(dict.fromkeys(each.front.id for each in found))
    for each in found:
        # Also what is refused for its filters: where a guard was asked for, a wider route must not let requests through.
        _contribute(draft, each)


def _idle(draft: _Draft, found: tuple[Attachment, ...], where: str) -> None:
    if not any(each.front.addresses for each in found):
        draft.trouble("ListenerNotServed", f"no listener of {where} that it is attached to is served")


def _contribute(draft: _Draft, attachment: Attachment) -> None:
    front = attachment.front
    if not front.addresses:
        return
    http = draft.kind in ("HTTPRoute", "GRPCRoute")
    draft.tables.update(dict.fromkeys([front.table] if http else front.sockets))
    for hostname in attachment.hostnames:
        piece = Piece(front.id, hostname, draft.ref, draft.age)
        if http:
            piece = Piece(front.id, hostname, draft.ref, draft.age, entries=draft.rules(front).entries)
        else:
            rule = draft.route.spec.rules[0]
            source = RouteSource(draft.kind, draft.ref.namespace, draft.ref.name, 0, rule_name=rule.name)
            piece = Piece(front.id, hostname, draft.ref, draft.age, backends=draft.stream(front)[0], source=source)
        draft.pieces[front.id, hostname] = piece


def _conditions(
    generation: int, fault: Fault | None, faults: tuple[Fault, ...], dropped: Mapping[int, str]
) -> tuple[Condition, ...]:
    said = [
        conditions.false("Accepted", generation, fault.reason, fault.message)
        if fault
        else conditions.true("Accepted", generation)
    ]
    if faults:
        text = "; ".join(dict.fromkeys(each.message for each in faults))
        said.append(conditions.false("ResolvedRefs", generation, faults[0].reason, text))
    else:
        said.append(conditions.true("ResolvedRefs", generation))
    if dropped and fault is None:
        text = f"Dropped Rule: {_rules_text(dropped)}"
        said.append(conditions.true("PartiallyInvalid", generation, "UnsupportedValue", text))
    return tuple(said)


def _rules_text(dropped: Mapping[int, str]) -> str:
    return "; ".join(f"rules[{index}]: {text}" for index, text in dropped.items())
