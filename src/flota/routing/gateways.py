"""Gateways without their routes: classes, addresses, listeners, who gets which port (Gateway API, Gateway and GatewayClass)."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from flota.fleet.fleet import Cluster
from flota.fleet.gateway import Gateway, GatewayClass, ListenerSet
from flota.fleet.meta import Condition
from flota.fleet.proxytemplate import ProxyTemplateSpec
from flota.plan import ObjectRef, Secret
from flota.routing import conditions
from flota.routing.ages import age
from flota.routing.certify import Certifier
from flota.routing.clients import is_insecure
from flota.routing.conflicts import Places
from flota.routing.fronts import Front, ParentFront
from flota.routing.listeners import Fault, listed
from flota.routing.listenersets import by_gateway, plan_sets
from flota.routing.listening import Claims, Frame, Owner, fronts_of, is_accepted, is_resolved, troubles
from flota.routing.parameters import class_template, gateway_template

CONTROLLER = "flota.dev/gateway-controller"
DEFAULT_CLASS = "flota"
"""Exists in every cluster unless an object of that name says otherwise."""

Addresses = Mapping[tuple[str, str, str], tuple[str, ...]]
"""(cluster, namespace, name) of a Gateway → addresses that were found for it."""
Unusable = Mapping[tuple[str, str], str]
"""(cluster, address) → why nothing can listen there."""


def class_conditions(each: GatewayClass, cluster: Cluster) -> tuple[Condition, ...]:
    """Conditions of a GatewayClass of ours."""
    generation = each.metadata.generation
    supported = conditions.true("SupportedVersion", generation)
    template = class_template(each, cluster)
    if isinstance(template, Fault):
        return (conditions.false("Accepted", generation, template.reason, template.message), supported)
    return (conditions.true("Accepted", generation), supported)


def our_classes(cluster: Cluster) -> dict[str, GatewayClass | None]:
    """Names of the classes this controller implements; None for the one that nobody had to write."""
    ours: dict[str, GatewayClass | None] = {DEFAULT_CLASS: None}
    for (_, name), each in cluster.gateway_classes.items():
        ours.pop(name, None)
        if each.spec.controller_name == CONTROLLER:
            ours[name] = each
    return ours


class Known(NamedTuple):
    """What is known of addresses. `own`: each Gateway has a proxy of its own, so none takes a port from another, and it is served
    before it is known at which addresses."""

    addresses: Addresses
    unusable: Unusable
    own: bool = False


class _Located(NamedTuple):
    """`addresses`: those of the Gateway; `bound`: where its listeners are. `refused`: why it is not accepted; `missing`: why it cannot be
    programmed as asked."""

    addresses: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()
    refused: Fault | None = None
    missing: Fault | None = None


def fronts(cluster: Cluster, known: Known, certifier: Certifier) -> tuple[ParentFront, ...]:
    """Every Gateway of ours with its ListenerSets, the oldest first: of several that want one address and port, the oldest has it."""
    certifier.begin()
    ours = our_classes(cluster)
    sets = by_gateway(cluster)
    mine = sorted(
        (each for each in cluster.gateways.values() if each.spec.gateway_class_name in ours),
        key=lambda each: age(each.metadata),
    )
    claims: Claims = {}
    found: list[ParentFront] = []
    for each in mine:
        located = _locate(cluster.name, each, known)
        template = gateway_template(each, ours[each.spec.gateway_class_name], cluster)
        refusal = located.refused or (template if isinstance(template, Fault) else None)
        located = _Located(refused=refusal) if refusal else located
        key = (each.metadata.namespace, each.metadata.name)
        own, *others = _plan(cluster, each, located, sets.get(key, ()), certifier, claims)
        found += (own if template is None or isinstance(template, Fault) else _by_template(own, template, known), *others)
    return tuple(found)


def _by_template(front: ParentFront, template: ProxyTemplateSpec, known: Known) -> ParentFront:
    text = "parametersRef: a ProxyTemplate is for proxies in pods and has no effect here, where the proxy is a process of this machine"
    trouble = () if known.own else (conditions.problem(front.ref, "UnsupportedValue", text),)
    return replace(front, template=template, problems=front.problems + trouble)


def _plan(
    cluster: Cluster, gateway: Gateway, located: _Located, sets: Iterable[ListenerSet], certifier: Certifier, claims: Claims
) -> tuple[ParentFront, ...]:
    """A Gateway, then its ListenerSets."""
    meta = gateway.metadata
    ref = ObjectRef(cluster.name, "Gateway", meta.namespace, meta.name)
    shown = certifier.client_certificate(ref, gateway, cluster)
    secrets = (shown,) if isinstance(shown, Secret) else ()
    name = shown.name if isinstance(shown, Secret) else None
    frame = Frame(cluster, ref, gateway, located.bound, name, certifier, claims, Places())
    own = fronts_of(frame, Owner(ref, meta.generation, gateway.spec.listeners))
    others = plan_sets(frame, sets, located.addresses, located.refused)
    said = (*_conditions(gateway, own, others, located), *_references(own, shown, meta.generation), *_insecure(gateway))
    trouble = conditions.problems(ref, said) + troubles(ref, own, gateway.spec.listeners)
    attached = sum(each.conditions[0].status == "True" for each in others)
    is_default = gateway.spec.default_scope == "All"
    return (ParentFront(ref, meta.generation, located.addresses, said, own, trouble, attached, is_default, secrets), *others)


def _locate(cluster: str, gateway: Gateway, known: Known) -> _Located:
    """An address without a value is the one that was found. The others serve while one can't be used."""
    wrong = [each.type for each in gateway.spec.addresses if each.type != "IPAddress"]
    if wrong:
        return _Located(refused=Fault("UnsupportedAddress", f"addresses of type {wrong[0]} are not supported, only IPAddress"))
    meta = gateway.metadata
    given = known.addresses.get((cluster, meta.namespace, meta.name), ())
    asked = tuple(each.value for each in gateway.spec.addresses if each.value)
    is_open = not asked or len(asked) < len(gateway.spec.addresses)
    if known.own:
        found = given if is_open else tuple(each for each in given if each in asked)
        text = f"its load balancer does not have {listed(each for each in asked if each not in given)} (spec.addresses)"
        missing = Fault("AddressNotUsable", text) if set(asked) - set(given) else None
        return _Located(found, (f"{meta.namespace}/{meta.name}",), missing=missing)
    bad = [each for each in asked if (cluster, each) in known.unusable]
    found = tuple(dict.fromkeys((*(each for each in asked if each not in bad), *(given if is_open else ()))))
    text = "; ".join(known.unusable[cluster, each] for each in bad)
    return _Located(found, found, missing=Fault("AddressNotUsable", text) if bad else None)


def _conditions(
    gateway: Gateway, own: tuple[Front, ...], others: tuple[ParentFront, ...], located: _Located
) -> tuple[Condition, Condition]:
    """Accepted and Programmed. To the Gateway its ListenerSets' listeners are like its own."""
    generation = gateway.metadata.generation
    refused = [each.id.listener for each in own if not is_accepted(each)]
    attached = [each for each in others if each.conditions[0].status == "True"]
    if located.refused:
        accepted = conditions.false("Accepted", generation, located.refused.reason, located.refused.message)
    elif len(refused) == len(own) and not attached:
        accepted = conditions.false("Accepted", generation, "ListenersNotValid", "none of its listeners is accepted")
    elif refused:
        text = f"listeners that are not accepted: {listed(refused)}"
        accepted = conditions.true("Accepted", generation, "ListenersNotValid", text)
    else:
        accepted = conditions.true("Accepted", generation)
    served = any(each.addresses for each in (*own, *(front for other in others for front in other.fronts)))
    if accepted.status == "False":
        return accepted, conditions.false("Programmed", generation, "Invalid", accepted.message)
    if located.missing:
        return accepted, conditions.false("Programmed", generation, located.missing.reason, located.missing.message)
    if not located.addresses:
        return accepted, conditions.false("Programmed", generation, "AddressNotAssigned", "no address was found for it yet")
    if not served:
        return accepted, conditions.false("Programmed", generation, "Invalid", "none of its listeners can be served")
    return accepted, conditions.true("Programmed", generation)


def _references(own: tuple[Front, ...], shown: Secret | Fault | None, generation: int) -> tuple[Condition]:
    if isinstance(shown, Fault):
        text = f"spec.tls.backend.clientCertificateRef: {shown.message}; backends are shown no certificate"
        return (conditions.false("ResolvedRefs", generation, shown.reason, text),)
    unresolved = [each.id.listener for each in own if not is_resolved(each)]
    if unresolved:
        text = f"listeners with references that do not resolve: {listed(unresolved)}"
        return (conditions.false("ResolvedRefs", generation, "ListenersNotResolved", text),)
    return (conditions.true("ResolvedRefs", generation),)


def _insecure(gateway: Gateway) -> tuple[Condition, ...]:
    """There only as long as it is true (GEP-91)."""
    if not is_insecure(gateway):
        return ()
    text = "spec.tls.frontend lets clients in whose certificate is missing or not good (mode AllowInsecureFallback)"
    return (conditions.true("InsecureFrontendValidationMode", gateway.metadata.generation, "ConfigurationChanged", text),)
