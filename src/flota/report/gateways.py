"""Gateways and routes: accepted, resolved, and in effect."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from flota.fleet.fleet import Cluster
from flota.fleet.meta import Condition, Key
from flota.fleet.problem import Problem
from flota.plan import GatewayStatus, ListenerSetStatus, ListenerStatus, ObjectRef, RouteStatus
from flota.report.conditions import effective, find
from flota.report.delivery import Delivery, route_delivery
from flota.report.shape import Row
from flota.report.told import Told
from flota.report.view import View

RouteKind = Literal["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"]
ROUTE_FIELDS: tuple[tuple[RouteKind, str], ...] = (
    ("HTTPRoute", "http_routes"),
    ("GRPCRoute", "grpc_routes"),
    ("TLSRoute", "tls_routes"),
    ("TCPRoute", "tcp_routes"),
    ("UDPRoute", "udp_routes"),
)


class ListenerRow(Row, frozen=True, kw_only=True):
    """A listener of a Gateway."""

    name: str
    attached_routes: int
    programmed: bool | None
    reason: str


class GatewayRow(Row, frozen=True, kw_only=True):
    """A Gateway. `programmed` = its proxy has acknowledged it; null when nothing runs or another controller has it."""

    cluster: str
    namespace: str
    name: str
    addresses: tuple[str, ...]
    programmed: bool | None
    reason: str
    message: str
    listeners: tuple[ListenerRow, ...]


class ListenerSetRow(Row, frozen=True, kw_only=True):
    """A ListenerSet, whose listeners are its Gateway's. `gateway` is NAMESPACE/NAME; null when nobody of ours has it."""

    cluster: str
    namespace: str
    name: str
    gateway: str | None
    accepted: bool | None
    programmed: bool | None
    reason: str
    message: str
    listeners: tuple[ListenerRow, ...]


class RouteRow(Row, frozen=True, kw_only=True):
    """A route of any kind. `accepted` and `resolvedRefs` hold for all its parents; null = no parent of ours.

    `programmed` = it is in effect in its proxy, which has acknowledged it.
    """

    cluster: str
    kind: RouteKind
    namespace: str
    name: str
    accepted: bool | None
    resolved_refs: bool | None
    programmed: bool | None
    reason: str
    message: str


_ROUTE_CONDITIONS = ("Accepted", "ResolvedRefs", "PartiallyInvalid")


def gateway_rows(view: View) -> tuple[GatewayRow, ...]:
    """All Gateways, by cluster and name."""
    return tuple(
        _gateway(view, ObjectRef(name, "Gateway", *key))
        for name, cluster in view.fleet.clusters.items()
        for key in sorted(cluster.gateways)
    )


def listener_set_rows(view: View) -> tuple[ListenerSetRow, ...]:
    """All ListenerSets, by cluster and name."""
    problems = {ObjectRef(each.cluster or "", each.kind, each.namespace, each.name): each for each in view.plan.problems}
    return tuple(
        _listener_set(view, ref, problems.get(ref))
        for name, cluster in view.fleet.clusters.items()
        for ref in (ObjectRef(name, "ListenerSet", *key) for key in sorted(cluster.listener_sets))
    )


def route_rows(view: View) -> tuple[RouteRow, ...]:
    """All routes, by cluster, kind and name."""
    problems = {ObjectRef(each.cluster or "", each.kind, each.namespace, each.name): each for each in view.plan.problems}
    return tuple(
        _route(view, kind, ref, problems.get(ref))
        for name, cluster in view.fleet.clusters.items()
        for kind, ref in _route_refs(name, cluster)
    )


def _route_refs(name: str, cluster: Cluster) -> Iterator[tuple[RouteKind, ObjectRef]]:
    for kind, field in ROUTE_FIELDS:
        objects: Mapping[Key, object] = getattr(cluster, field)
        for key in sorted(objects):
            yield kind, ObjectRef(name, kind, *key)


def _gateway(view: View, ref: ObjectRef) -> GatewayRow:
    if view.read is not None:
        return _told_gateway(view.read.told.get(ref, Told()), ref)
    status = view.plan.statuses.get(ref)
    if not isinstance(status, GatewayStatus):
        return GatewayRow(
            cluster=ref.cluster,
            namespace=ref.namespace,
            name=ref.name,
            addresses=(),
            programmed=None,
            reason="OtherController",
            message="its GatewayClass is not one of Flota's",
            listeners=(),
        )
    held = dict(effective(view, ref, status))
    bad = _first_bad(held[""], ("Accepted", "Programmed"))
    return GatewayRow(
        cluster=ref.cluster,
        namespace=ref.namespace,
        name=ref.name,
        addresses=status.addresses,
        programmed=_holds(held[""], "Programmed"),
        reason=bad.reason if bad is not None else "Programmed",
        message=bad.message if bad is not None else "",
        listeners=_listeners(status.listeners, held),
    )


def _told_gateway(told: Told, ref: ObjectRef) -> GatewayRow:
    """As its controller says."""
    bad = _first_bad(told.conditions, ("Accepted", "Programmed"))
    return GatewayRow(
        cluster=ref.cluster,
        namespace=ref.namespace,
        name=ref.name,
        addresses=tuple(each.value for each in told.addresses),
        programmed=_holds(told.conditions, "Programmed"),
        reason=bad.reason if bad is not None else "Programmed" if told.conditions else "NoController",
        message=bad.message if bad is not None else "" if told.conditions else "no controller has said anything of it",
        listeners=tuple(_listener(each.name, each.attached_routes, each.conditions) for each in told.listeners),
    )


def _listener_set(view: View, ref: ObjectRef, problem: Problem | None) -> ListenerSetRow:
    status = view.plan.statuses.get(ref)
    if view.read is not None:
        said = _told_gateway(view.read.told.get(ref, Told()), ref)
        accepted = _holds(view.read.told.get(ref, Told()).conditions, "Accepted")
        gateway = "/".join(status.gateway) if isinstance(status, ListenerSetStatus) else None
        return ListenerSetRow(
            cluster=ref.cluster, namespace=ref.namespace, name=ref.name, gateway=gateway, accepted=accepted, programmed=said.programmed,
            reason=said.reason, message=said.message, listeners=said.listeners,
        )  # fmt: skip
    if not isinstance(status, ListenerSetStatus):
        return ListenerSetRow(
            cluster=ref.cluster,
            namespace=ref.namespace,
            name=ref.name,
            gateway=None,
            accepted=None,
            programmed=None,
            reason=problem.reason if problem else "OtherController",
            message=problem.message if problem else "its Gateway is not one of Flota's",
            listeners=(),
        )
    held = dict(effective(view, ref, status))
    bad = _first_bad(held[""], ("Accepted", "Programmed"))
    return ListenerSetRow(
        cluster=ref.cluster,
        namespace=ref.namespace,
        name=ref.name,
        gateway="/".join(status.gateway),
        accepted=_holds(held[""], "Accepted"),
        programmed=_holds(held[""], "Programmed"),
        reason=bad.reason if bad is not None else "Programmed",
        message=bad.message if bad is not None else "",
        listeners=_listeners(status.listeners, held),
    )


def _listeners(listeners: Iterable[ListenerStatus], held: Mapping[str, tuple[Condition, ...]]) -> tuple[ListenerRow, ...]:
    return tuple(_listener(each.name, each.attached_routes, held[f"listener/{each.name}"]) for each in listeners)


def _listener(name: str, attached: int, conditions: tuple[Condition, ...]) -> ListenerRow:
    bad = _first_bad(conditions, ("Conflicted", "Accepted", "ResolvedRefs", "Programmed"))
    return ListenerRow(
        name=name,
        attached_routes=attached,
        programmed=_holds(conditions, "Programmed"),
        reason=bad.reason if bad is not None else "Programmed",
    )


def _route(view: View, kind: RouteKind, ref: ObjectRef, problem: Problem | None) -> RouteRow:
    status = view.plan.statuses.get(ref)
    parents = status.parents if isinstance(status, RouteStatus) else ()
    conditions = [each.conditions for each in parents]
    if view.read is not None:
        problem, conditions = None, [each.conditions for each in view.read.told.get(ref, Told()).parents]
    bad = next(filter(None, (_first_bad(each, _ROUTE_CONDITIONS) for each in conditions)), None)
    accepted, resolved = _all(conditions, "Accepted"), _all(conditions, "ResolvedRefs")
    if not parents and problem is not None:
        accepted = False
    found = route_delivery(view, ref.cluster, status) if isinstance(status, RouteStatus) and status.tables else None
    programmed = None if view.running is None else found is not None and found.state == "Acknowledged"
    waits = found if found is not None and found.state in ("Pending", "Refused") else None
    said: Condition | Problem | Delivery | None = bad or problem or waits
    return RouteRow(
        cluster=ref.cluster,
        kind=kind,
        namespace=ref.namespace,
        name=ref.name,
        accepted=accepted,
        resolved_refs=resolved,
        programmed=programmed,
        reason=said.reason if said is not None else "Accepted" if accepted else "NoParent",
        message=said.message if said is not None else "",
    )


def _holds(conditions: tuple[Condition, ...], type_: str) -> bool | None:
    condition = find(conditions, type_)
    return None if condition is None or condition.status == "Unknown" else condition.status == "True"


def _all(parents: Iterable[tuple[Condition, ...]], type_: str) -> bool | None:
    held = [value for each in parents if (value := _holds(each, type_)) is not None]
    return all(held) if held else None


def _first_bad(conditions: tuple[Condition, ...], types: tuple[str, ...]) -> Condition | None:
    """The first of these that does not hold. Conflicted and PartiallyInvalid are bad when true (negative polarity)."""
    for type_ in types:
        condition = find(conditions, type_)
        good = "False" if type_ in ("Conflicted", "PartiallyInvalid") else "True"
        if condition is not None and condition.status != good:
            return condition
    return None
