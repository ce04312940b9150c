"""Gateways without their routes: classes, addresses, listeners, who gets which port (Gateway API, Gateway and GatewayClass)."""

from collections.abc import Callable, Iterable, Mapping

from flota.fleet.core import Secret as KubernetesSecret
from flota.fleet.fleet import Cluster
from flota.fleet.gateway import Gateway, GatewayClass, Listener
from flota.fleet.meta import Condition, Key
from flota.fleet.policy import ReferenceGrant
from flota.plan import ObjectRef
from flota.routing import conditions
from flota.routing.ages import age
from flota.routing.fronts import Front, FrontId, GatewayFront
from flota.routing.listeners import (
    Certificates,
    Fault,
    conflicts,
    hostname,
    ignored,
    overlaps,
    supported_kinds,
    unsupported,
)

CONTROLLER = "flota.dev/gateway-controller"
DEFAULT_CLASS = "flota"
"""Exists in every cluster unless an object of that name says otherwise."""

Claims = dict[tuple[str, str, int], ObjectRef]
"""(transport, address, port) → the Gateway that holds it."""
Addresses = Mapping[tuple[str, str, str], tuple[str, ...]]
Certify = Callable[
    [Listener, Gateway, Mapping[Key, KubernetesSecret], Mapping[Key, ReferenceGrant]],
    Certificates,
]


def class_conditions(each: GatewayClass) -> tuple[Condition, ...]:
    """Conditions of a GatewayClass of ours."""
    generation = each.metadata.generation
    supported = conditions.true("SupportedVersion", generation)
    if each.spec.parameters_ref:
        text = "spec.parametersRef is not supported: remove it"
        return (conditions.false("Accepted", generation, "InvalidParameters", text), supported)
    return (conditions.true("Accepted", generation), supported)


def our_classes(cluster: Cluster) -> dict[str, GatewayClass | None]:
    """Names of the classes this controller implements; None for the one that nobody had to write."""
    ours: dict[str, GatewayClass | None] = {DEFAULT_CLASS: None}
    for (_, name), each in cluster.gateway_classes.items():
        ours.pop(name, None)
        if each.spec.controller_name == CONTROLLER:
            ours[name] = each
    return ours


def fronts(cluster: Cluster, addresses: Addresses, certify: Certify, *, own: bool = False) -> tuple[GatewayFront, ...]:
    """Every Gateway of ours, the oldest first: of several that want one address and port, the oldest has it.

    `certify` is `listeners.certificates`, or a memo of it. `own`: each has a proxy of its own, so none takes a port from another, and it
    is served before it is known at which addresses.
    """
    ours = our_classes(cluster)
    mine = sorted(
        (each for each in cluster.gateways.values() if each.spec.gateway_class_name in ours),
        key=lambda each: age(each.metadata),
    )
    claims: Claims = {}
    return tuple(_front(cluster, each, addresses, claims, certify, own=own) for each in mine)


def _front(
    cluster: Cluster, gateway: Gateway, given: Addresses, claims: Claims, certify: Certify, *, own: bool
) -> GatewayFront:
    meta = gateway.metadata
    ref = ObjectRef(cluster.name, "Gateway", meta.namespace, meta.name)
    balanced = given.get((cluster.name, meta.namespace, meta.name), ())
    found, refusal = _addresses(gateway, balanced)
    refusal = refusal or _parameters(cluster, gateway)
    usable = () if refusal else tuple(each for each in balanced if _asked_for(gateway, each)) if own else found
    bound = (f"{meta.namespace}/{meta.name}",) if own and not refusal else usable
    conflicted = conflicts(gateway.spec.listeners)
    listed: list[Front] = []
    for listener in gateway.spec.listeners:
        fault = unsupported(listener, gateway.spec) or conflicted.get(listener.name)
        fault = fault or _claim(listener, bound, ref, claims)
        certified = certify(listener, gateway, cluster.secrets, cluster.reference_grants)
        listed.append(_listener(gateway, listener, bound, fault, conflicted.get(listener.name), certified))
    said = _conditions(gateway, listed, usable, refusal, tuple(each for each in found if each not in usable))
    trouble = conditions.problems(ref, said)
    for each in listed:
        trouble += conditions.problems(ref, each.conditions, f"listener {each.id.listener}: ")
    trouble += tuple(conditions.problem(ref, "UnsupportedValue", each) for each in ignored(gateway.spec))
    return GatewayFront(ref, meta.generation, usable, said, tuple(listed), trouble)


def _addresses(gateway: Gateway, given: tuple[str, ...]) -> tuple[tuple[str, ...], Fault | None]:
    """The addresses to listen on, or why there can't be any. One without a value gets what the engine found."""
    wrong = [each.type for each in gateway.spec.addresses if each.type != "IPAddress"]
    if wrong:
        return (), Fault("UnsupportedAddress", f"addresses of type {wrong[0]} are not supported, only IPAddress")
    asked = tuple(each.value for each in gateway.spec.addresses if each.value)
    found = asked if asked and len(asked) == len(gateway.spec.addresses) else asked + given
    return tuple(dict.fromkeys(found)), None


def _asked_for(gateway: Gateway, address: str) -> bool:
    """Whatever the load balancer gives, unless certain addresses are named."""
    named = {each.value for each in gateway.spec.addresses}
    return not named or None in named or address in named


def _parameters(cluster: Cluster, gateway: Gateway) -> Fault | None:
    infrastructure = gateway.spec.infrastructure
    if infrastructure and infrastructure.parameters_ref:
        return Fault("InvalidParameters", "spec.infrastructure.parametersRef is not supported: remove it")
    gateway_class = our_classes(cluster)[gateway.spec.gateway_class_name]
    if gateway_class and gateway_class.spec.parameters_ref:
        return Fault("InvalidParameters", f"its GatewayClass {gateway.spec.gateway_class_name} is not accepted")
    return None


def _claim(listener: Listener, addresses: Iterable[str], ref: ObjectRef, claims: Claims) -> Fault | None:
    """Take the listener's sockets. They all are free, or none is taken: a listener is on every address of its Gateway."""
    transport = "UDP" if listener.protocol == "UDP" else "TCP"
    sockets = [(transport, address, listener.port) for address in addresses]
    for socket in sockets:
        holder = claims.get(socket, ref)
        if holder != ref:
            text = f"{socket[1]} port {listener.port} is held by the older Gateway {holder.namespace}/{holder.name}"
            return Fault("PortUnavailable", text)
    claims.update(dict.fromkeys(sockets, ref))
    return None


def _listener(
    gateway: Gateway,
    listener: Listener,
    addresses: tuple[str, ...],
    fault: Fault | None,
    conflict: Fault | None,
    certified: Certificates,
) -> Front:
    kinds, wrong_kinds = supported_kinds(listener)
    generation = gateway.metadata.generation
    unresolved = certified.fault or wrong_kinds
    blocked = fault or (certified.fault if certified.fault and not certified.secrets else None)
    said = [
        _say("Accepted", fault, generation),
        _say("ResolvedRefs", unresolved, generation),
        conditions.true("Conflicted", generation, conflict.reason, conflict.message)
        if conflict
        else conditions.false("Conflicted", generation, "NoConflicts"),
    ]
    if blocked:
        said.append(conditions.false("Programmed", generation, "Invalid", blocked.message))
    elif not addresses:
        said.append(conditions.false("Programmed", generation, "Pending", "the Gateway has no address"))
    else:
        said.append(conditions.true("Programmed", generation))
    shared = overlaps(listener, gateway.spec.listeners)
    if shared and not blocked:
        text = f"its hostname overlaps with that of {', '.join(shared)}"
        said.append(conditions.true("OverlappingTLSConfig", generation, "OverlappingHostnames", text))
    return Front(
        id=FrontId(gateway.metadata.namespace, gateway.metadata.name, listener.name),
        hostname=hostname(listener),
        port=listener.port,
        protocol=listener.protocol,
        kinds=kinds,
        namespaces=listener.allowed_routes.namespaces,
        conditions=tuple(said),
        addresses=() if blocked else addresses,
        tls=certified.tls,
        secrets=certified.secrets,
    )


def _say(kind: str, fault: Fault | None, generation: int) -> Condition:
    return conditions.false(kind, generation, fault.reason, fault.message) if fault else conditions.true(kind, generation)


def _conditions(
    gateway: Gateway, listed: list[Front], addresses: tuple[str, ...], refusal: Fault | None, missing: tuple[str, ...]
) -> tuple[Condition, ...]:
    generation = gateway.metadata.generation
    refused = [each.id.listener for each in listed if each.conditions[0].status == "False"]
    idle = [each.id.listener for each in listed if not each.addresses]
    if refusal:
        accepted = conditions.false("Accepted", generation, refusal.reason, refusal.message)
    elif len(refused) == len(listed):
        accepted = conditions.false("Accepted", generation, "ListenersNotValid", "none of its listeners is accepted")
    elif refused:
        text = f"listeners that are not accepted: {', '.join(refused)}"
        accepted = conditions.true("Accepted", generation, "ListenersNotValid", text)
    else:
        accepted = conditions.true("Accepted", generation)
    if accepted.status == "False":
        programmed = conditions.false("Programmed", generation, "Invalid", accepted.message)
    elif missing:
        text = f"its load balancer does not have {', '.join(missing)} (spec.addresses)"
        programmed = conditions.false("Programmed", generation, "AddressNotUsable", text)
    elif not addresses:
        programmed = conditions.false("Programmed", generation, "AddressNotAssigned", "no address was found for it yet")
    elif len(idle) == len(listed):
        programmed = conditions.false("Programmed", generation, "Invalid", "none of its listeners can be served")
    else:
        programmed = conditions.true("Programmed", generation)
    unresolved = [each.id.listener for each in listed if each.conditions[1].status == "False"]
    return (accepted, programmed, *_references(gateway, unresolved, generation))


def _references(gateway: Gateway, unresolved: list[str], generation: int) -> tuple[Condition, ...]:
    backend = gateway.spec.tls.backend if gateway.spec.tls else None
    if backend and backend.client_certificate_ref:
        text = "a client certificate for backends (spec.tls.backend) is not supported yet"
        return (conditions.false("ResolvedRefs", generation, "InvalidClientCertificateRef", text),)
    if unresolved:
        text = f"listeners with references that do not resolve: {', '.join(unresolved)}"
        return (conditions.false("ResolvedRefs", generation, "ListenersNotResolved", text),)
    return (conditions.true("ResolvedRefs", generation),)
