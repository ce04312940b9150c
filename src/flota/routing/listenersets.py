"""ListenerSets: which take part in a Gateway, in which order, and what they are told (Gateway API ListenerSet, GEP-1713)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from flota.fleet.fleet import Cluster
from flota.fleet.gateway import Gateway, ListenerSet
from flota.fleet.meta import Condition, Key
from flota.fleet.references import GATEWAY_GROUP
from flota.plan import ObjectRef
from flota.routing import conditions
from flota.routing.ages import age
from flota.routing.attach import labels
from flota.routing.fronts import Front, ParentFront
from flota.routing.listeners import Fault, listed
from flota.routing.listening import Frame, Owner, fronts_of, is_accepted, is_valid, troubles


def by_gateway(cluster: Cluster) -> Mapping[Key, list[ListenerSet]]:
    """ListenerSets by the Gateway that they name, the oldest first."""
    found: defaultdict[Key, list[ListenerSet]] = defaultdict(list)
    for each in sorted(cluster.listener_sets.values(), key=lambda each: age(each.metadata)):
        key = gateway_of(each)
        if key is not None:
            found[key].append(each)
    return found


def gateway_of(each: ListenerSet) -> Key | None:
    """The Gateway that it names; None when it names something else."""
    parent = each.spec.parent_ref
    if (parent.group, parent.kind) != (GATEWAY_GROUP, "Gateway"):
        return None
    return parent.namespace or each.metadata.namespace, parent.name


def plan_sets(
    frame: Frame, sets: Iterable[ListenerSet], addresses: tuple[str, ...], refusal: Fault | None
) -> tuple[ParentFront, ...]:
    """All ListenerSets that name the Gateway; those that take part claim their places in this order. `addresses`, `refusal`: those of the
    Gateway."""
    return tuple(_plan_set(frame, each, addresses, refusal) for each in sets)


def _plan_set(frame: Frame, each: ListenerSet, addresses: tuple[str, ...], refusal: Fault | None) -> ParentFront:
    meta = each.metadata
    ref = ObjectRef(frame.cluster.name, "ListenerSet", meta.namespace, meta.name)
    if not _is_allowed(frame.gateway, meta.namespace, frame.cluster):
        where = f"Gateway {frame.ref.namespace}/{frame.ref.name}"
        text = f"spec.allowedListeners of {where} does not allow ListenerSets of namespace {meta.namespace}"
        said = _both(meta.generation, Fault("NotAllowed", text), "NotAllowed")
        return ParentFront(ref, meta.generation, (), said, (), conditions.problems(ref, said))
    fronts = fronts_of(frame, Owner(ref, meta.generation, each.spec.listeners))
    said = _conditions(meta.generation, fronts, addresses, refusal)
    trouble = conditions.problems(ref, said) + troubles(ref, fronts, each.spec.listeners)
    return ParentFront(ref, meta.generation, addresses, said, fronts, trouble)


def _is_allowed(gateway: Gateway, namespace: str, cluster: Cluster) -> bool:
    allowed = gateway.spec.allowed_listeners.namespaces if gateway.spec.allowed_listeners else None
    if allowed is None or allowed.from_ == "None":
        return False
    if allowed.from_ == "All":
        return True
    if allowed.from_ == "Same":
        return namespace == gateway.metadata.namespace
    return allowed.selector is not None and allowed.selector.matches(labels(namespace, cluster.namespaces))


def _conditions(
    generation: int, fronts: tuple[Front, ...], addresses: tuple[str, ...], refusal: Fault | None
) -> tuple[Condition, ...]:
    if refusal:
        return _both(generation, Fault("ParentNotAccepted", f"its Gateway is not accepted: {refusal.message}"), "ParentNotProgrammed")
    bad = [each.id.listener for each in fronts if not is_valid(each)]
    if len(bad) == len(fronts):
        return _both(generation, Fault("ListenersNotValid", "none of its listeners can be served"), "ListenersNotValid")
    refused = [each.id.listener for each in fronts if not is_accepted(each)]
    reason, text = ("ListenersNotValid", f"listeners that are not accepted: {listed(refused)}") if refused else (None, "")
    accepted = conditions.true("Accepted", generation, reason, text)
    if not addresses:
        return accepted, conditions.false("Programmed", generation, "ParentNotProgrammed", "its Gateway has no address yet")
    return accepted, conditions.true("Programmed", generation)


def _both(generation: int, fault: Fault, programmed: str) -> tuple[Condition, ...]:
    return (
        conditions.false("Accepted", generation, fault.reason, fault.message),
        conditions.false("Programmed", generation, programmed, fault.message),
    )
