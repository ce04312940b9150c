"""Statuses to write, beside what the API server has. Pure.

Lists that several controllers share (a route's parents, a policy's ancestors) keep the entries of the others, in their places.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from flota.fleet.meta import Condition
from flota.fleet.references import GATEWAY_GROUP, ParentReference
from flota.plan import GatewayStatus, ListenerSetStatus, ListenerStatus, ParentStatus, RouteStatus
from flota.writeback.conditions import Delivered, Json, acknowledged, dated

CONTROLLER = "flota.dev/gateway-controller"
MAX_ANCESTORS = 16
"""PolicyStatus.ancestors has no room for more."""
_ANCESTORS = ("ancestors", "ancestorRef")
LISTS = MappingProxyType(
    {"BackendTLSPolicy": _ANCESTORS, "XBackendTrafficPolicy": _ANCESTORS, "XBackend": ("parents", "parentRef")}
)
"""Kinds that are told by Gateway alone: the list in their status, and what its entries call the Gateway."""


class Told(NamedTuple):
    """What is known when a status is written: the status that the API server has, and the time."""

    held: Mapping[str, Any]
    now: datetime


def gateway(status: GatewayStatus, delivered: Delivered, told: Told) -> Json:
    """GatewayStatus."""
    addresses = [_address(each) for each in status.addresses]
    return {"addresses": addresses, **_listening(status, delivered, told), "attachedListenerSets": status.listener_sets}


def listener_set(status: ListenerSetStatus, delivered: Delivered, told: Told) -> Json:
    """ListenerSetStatus. `delivered`: what the proxies of its Gateway have."""
    return _listening(status, delivered, told)


def gateway_class(conditions: tuple[Condition, ...], features: Iterable[str], told: Told) -> Json:
    """GatewayClassStatus."""
    return {
        "conditions": dated(conditions, told.held.get("conditions"), told.now),
        "supportedFeatures": [{"name": each} for each in sorted(set(features))],
    }


def plain(conditions: tuple[Condition, ...], told: Told) -> Json:
    """A status with nothing but conditions."""
    return {"conditions": dated(conditions, told.held.get("conditions"), told.now)}


def route(status: RouteStatus, namespace: str, asked: tuple[ParentReference, ...], told: Told) -> Json:
    """RouteStatus. `namespace` and `asked`: those of the route."""
    refs = {(each.kind, each.namespace or namespace, each.name, each.section_name, each.port): each for each in asked}
    held = told.held.get("parents", [])
    before = {_key(each.get("parentRef", {}), namespace): each.get("conditions") for each in held if _is_ours(each)}
    ours = [_parent(each, refs, namespace, before, told.now) for each in status.parents]
    return {"parents": _among(held, ours)}


def ancestors(
    conditions: tuple[Condition, ...], gateways: Iterable[tuple[str, str]], told: Told, named: tuple[str, str] = _ANCESTORS
) -> Json:
    """PolicyStatus (GEP-713): one entry per Gateway (namespace, name) that the policy has to do with. `named`: the list and its reference,
    which an XBackend calls otherwise."""
    several, one = named
    held = told.held.get(several, [])
    before = {_key(each.get(one, {}), ""): each.get("conditions") for each in held if _is_ours(each)}
    room = MAX_ANCESTORS - sum(not _is_ours(each) for each in held)
    ours = []
    for namespace, name in sorted(gateways)[: max(0, room)]:
        ref = {"group": GATEWAY_GROUP, "kind": "Gateway", "namespace": namespace, "name": name}
        said = dated(conditions, before.get(_key(ref, "")), told.now)
        ours.append({one: ref, "controllerName": CONTROLLER, "conditions": said})
    return {several: _among(held, ours)}


def _listening(status: GatewayStatus | ListenerSetStatus, delivered: Delivered, told: Told) -> Json:
    sockets = [each.socket for each in status.listeners if each.socket is not None]
    before = told.held.get("conditions")
    known = {each.get("name"): each.get("conditions") for each in told.held.get("listeners", [])}
    return {
        "conditions": dated(acknowledged(status.conditions, sockets, delivered, before), before, told.now),
        "listeners": [_listener(each, delivered, known.get(each.name), told.now) for each in status.listeners],
    }


def _listener(status: ListenerStatus, delivered: Delivered, before: object, now: datetime) -> Json:
    sockets = [status.socket] if status.socket is not None else []
    return {
        "name": status.name,
        "attachedRoutes": status.attached_routes,
        "supportedKinds": [{"group": group, "kind": kind} for group, kind in status.supported_kinds],
        "conditions": dated(acknowledged(status.conditions, sockets, delivered, before), before, now),
    }


def _parent(
    status: ParentStatus,
    refs: Mapping[tuple[str, str, str, str | None, int | None], ParentReference],
    namespace: str,
    before: Mapping[tuple[object, ...], object],
    now: datetime,
) -> Json:
    asked = refs.get((status.kind, status.namespace, status.name, status.section_name, status.port))
    ref: Json = {"group": GATEWAY_GROUP, "kind": status.kind, "name": status.name}
    if asked.namespace is not None if asked else status.namespace != namespace:
        ref["namespace"] = status.namespace
    if status.section_name is not None:
        ref["sectionName"] = status.section_name
    if status.port is not None:
        ref["port"] = status.port
    said = dated(status.conditions, before.get(_key(ref, namespace)), now)
    return {"parentRef": ref, "controllerName": CONTROLLER, "conditions": said}


def _among(held: Iterable[Json], ours: list[Json]) -> list[Json]:
    """Our entries where ours were, those of others where they were; new ones at the end."""
    rest = iter(ours)
    merged = []
    for each in held:
        one = next(rest, None) if _is_ours(each) else each
        if one is not None:
            merged.append(one)
    return [*merged, *rest]


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return entry.get("controllerName") == CONTROLLER


def _key(ref: Mapping[str, Any], namespace: str) -> tuple[object, ...]:
    kind = ref.get("kind", "Gateway")
    return kind, ref.get("namespace", namespace), ref.get("name"), ref.get("sectionName"), ref.get("port")


def _address(value: str) -> Json:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return {"type": "Hostname", "value": value}
    return {"type": "IPAddress", "value": value}
