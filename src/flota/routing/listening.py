"""The listeners of a Gateway and of its ListenerSets, each with its conditions (Gateway API ListenerStatus, ListenerEntryStatus)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

from msgspec.structs import replace

from flota.fleet.fleet import Cluster
from flota.fleet.gateway import Gateway, Listener
from flota.fleet.meta import Condition
from flota.fleet.problem import Problem
from flota.plan import ObjectRef, ServerTLS
from flota.routing import conditions
from flota.routing.certify import Certifier
from flota.routing.clients import UNCHECKED, Clients
from flota.routing.conflicts import Places
from flota.routing.fronts import Front, FrontId, ParentKind
from flota.routing.keypairs import Certificates
from flota.routing.listeners import Fault, ends_tls, hostname, ignored, listed, overlaps, supported_kinds, unsupported

Claims = dict[tuple[str, str, int], ObjectRef]
"""(transport, address, port) → the Gateway that holds it."""
_TELLING = frozenset({"HostnameConflict", "ProtocolConflict", "ListenerConflict", "PortUnavailable"})
"""Reasons that Programmed of a ListenerSet's listener has, too."""


class Frame(NamedTuple):
    """What all listeners on a Gateway have in common. `addresses` empty = nothing is served."""

    cluster: Cluster
    ref: ObjectRef
    gateway: Gateway
    addresses: tuple[str, ...]
    client_certificate: str | None
    certifier: Certifier
    claims: Claims
    places: Places


class Owner(NamedTuple):
    """A Gateway or a ListenerSet with its listeners."""

    ref: ObjectRef
    generation: int
    listeners: Sequence[Listener]


class _Verdict(NamedTuple):
    """What is to be said of a listener. `blocked` None = it is served where there are addresses."""

    accepted: Fault | None
    conflict: Fault | None
    unresolved: Fault | None
    blocked: Fault | None


def fronts_of(frame: Frame, owner: Owner) -> tuple[Front, ...]:
    """The listeners of one object, in its order. Takes their places and sockets."""
    conflicted = frame.places.take(owner.listeners)
    return tuple(_front(frame, owner, each, conflicted.get(each.name)) for each in owner.listeners)


def is_accepted(front: Front) -> bool:
    """Whether its condition Accepted is true."""
    return front.conditions[0].status == "True"


def is_resolved(front: Front) -> bool:
    """Whether its condition ResolvedRefs is true."""
    return front.conditions[1].status == "True"


def is_valid(front: Front) -> bool:
    """Whether it is served as soon as there are addresses."""
    programmed = next(each for each in front.conditions if each.type == "Programmed")
    return programmed.status == "True" or programmed.reason == "Pending"


def troubles(ref: ObjectRef, fronts: Iterable[Front], listeners: Iterable[Listener]) -> tuple[Problem, ...]:
    """What people read of the listeners of an object: bad conditions, and what has no effect."""
    found: list[Problem] = []
    for front, listener in zip(fronts, listeners, strict=True):
        where = f"listener {front.id.listener}: "
        found += conditions.problems(ref, front.conditions, where)
        found += (conditions.problem(ref, "UnsupportedValue", where + each) for each in ignored(listener))
    return tuple(found)


def _front(frame: Frame, owner: Owner, listener: Listener, conflict: Fault | None) -> Front:
    certified = frame.certifier.certificates(owner.ref, listener, frame.cluster)
    checked = _checked(frame, owner, listener)
    kinds, wrong_kinds = supported_kinds(listener)
    accepted = unsupported(listener) or conflict or _claim(frame, listener) or checked.refusal
    blocked = accepted or (certified.fault if not certified.secrets else None)
    verdict = _Verdict(accepted, conflict, certified.fault or checked.fault or wrong_kinds, blocked)
    return Front(
        id=FrontId(owner.ref.namespace, owner.ref.name, listener.name, cast("ParentKind", owner.ref.kind)),
        gateway=(frame.ref.namespace, frame.ref.name),
        hostname=hostname(listener),
        port=listener.port,
        protocol=listener.protocol,
        kinds=kinds,
        namespaces=listener.allowed_routes.namespaces,
        conditions=_conditions(frame, owner, listener, verdict),
        addresses=() if blocked else frame.addresses,
        tls=_tls(certified, checked),
        secrets=(*certified.secrets, *checked.secrets),
        client_certificate=frame.client_certificate,
    )


def _checked(frame: Frame, owner: Owner, listener: Listener) -> Clients:
    """How its clients are checked. Who defines a ListenerSet may have no right to see what the Gateway refers to."""
    if not ends_tls(listener):
        return UNCHECKED
    found = frame.certifier.clients(frame.ref, frame.gateway, listener.port, frame.cluster)
    if owner.ref == frame.ref or not found.fault:
        return found
    text = f"the roots that the Gateway names for clients of port {listener.port} (spec.tls.frontend) are not all good"
    return replace(found, fault=replace(found.fault, message=text), refusal=found.refusal and replace(found.refusal, message=text))


def _tls(certified: Certificates, checked: Clients) -> ServerTLS | None:
    return certified.tls and replace(certified.tls, clients=checked.check)


def _claim(frame: Frame, listener: Listener) -> Fault | None:
    """Take the listener's sockets. They all are free, or none is taken: a listener is on every address of its Gateway."""
    transport = "UDP" if listener.protocol == "UDP" else "TCP"
    sockets = [(transport, address, listener.port) for address in frame.addresses]
    for socket in sockets:
        holder = frame.claims.get(socket, frame.ref)
        if holder != frame.ref:
            text = f"{socket[1]} port {listener.port} is held by the older Gateway {holder.namespace}/{holder.name}"
            return Fault("PortUnavailable", text)
    frame.claims.update(dict.fromkeys(sockets, frame.ref))
    return None


def _conditions(frame: Frame, owner: Owner, listener: Listener, verdict: _Verdict) -> tuple[Condition, ...]:
    generation = owner.generation
    said = [
        _say("Accepted", verdict.accepted, generation, "; ".join(ignored(listener))),
        _say("ResolvedRefs", verdict.unresolved, generation),
        conditions.true("Conflicted", generation, verdict.conflict.reason, verdict.conflict.message)
        if verdict.conflict
        else conditions.false("Conflicted", generation, "NoConflicts"),
    ]
    if verdict.blocked:
        telling = owner.ref.kind == "ListenerSet" and verdict.blocked.reason in _TELLING
        reason = verdict.blocked.reason if telling else "Invalid"
        said.append(conditions.false("Programmed", generation, reason, verdict.blocked.message))
        return tuple(said)
    if not frame.addresses:
        said.append(conditions.false("Programmed", generation, "Pending", "the Gateway has no address"))
    else:
        said.append(conditions.true("Programmed", generation))
    shared = overlaps(listener, owner.listeners)
    if shared:
        text = f"its hostname overlaps with that of {listed(shared)}"
        said.append(conditions.true("OverlappingTLSConfig", generation, "OverlappingHostnames", text))
    return tuple(said)


def _say(kind: str, fault: Fault | None, generation: int, note: str = "") -> Condition:
    return conditions.false(kind, generation, fault.reason, fault.message) if fault else conditions.true(kind, generation, message=note)
