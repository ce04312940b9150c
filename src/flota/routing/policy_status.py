"""What TrafficPolicies and BackendTLSPolicies are told about themselves (GEP-713, GEP-1897)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from flota.fleet.fleet import Cluster
from flota.fleet.meta import Condition
from flota.fleet.policy import BackendTLSPolicy, LocalPolicyTargetReferenceWithSectionName, Places, TrafficPolicy
from flota.fleet.references import GATEWAY_GROUP, MCS_GROUP
from flota.routing import conditions
from flota.routing.backend_tls import GROUPS, prevailing, trust
from flota.routing.index import Index
from flota.routing.keys import PolicyKey, Target
from flota.routing.policy import oldest
from flota.routing.view import ClusterView

ROUTE_FIELDS = {
    "HTTPRoute": "http_routes",
    "GRPCRoute": "grpc_routes",
    "TLSRoute": "tls_routes",
    "TCPRoute": "tcp_routes",
    "UDPRoute": "udp_routes",
}
BACKEND_FIELDS = {"Service": "services", "ServiceImport": "service_imports"}
_GROUPS = {"Service": "", "ServiceImport": MCS_GROUP} | dict.fromkeys(ROUTE_FIELDS, GATEWAY_GROUP)


class Fault(NamedTuple):
    """Why a policy does nothing for one of its targets: reason and message of a condition."""

    reason: str
    message: str


Conditions = tuple[Condition, ...]


Rivals = Index[TrafficPolicy, PolicyKey]
"""Policies of the same level by what they are attached to: those of one cluster, or those of all."""


def traffic_conditions(policy: TrafficPolicy, views: Iterable[ClusterView], rivals: Rivals, regions: Mapping[str, str]) -> Conditions:
    """Conditions of a TrafficPolicy that holds in the clusters of these views; `regions` = of all clusters, by cluster."""
    several = tuple(views)
    faults = [each for ref in policy.spec.target_refs if (each := _traffic_fault(policy, ref, several, rivals)) is not None]
    notes = tuple(Fault("UnknownPlace", each) for each in _unknown_places(policy, regions))
    return _accepted(policy, faults, len(policy.spec.target_refs), notes)


def _traffic_fault(
    policy: TrafficPolicy, ref: LocalPolicyTargetReferenceWithSectionName, views: tuple[ClusterView, ...], rivals: Rivals
) -> Fault | None:
    group, kind, name, section = ref.group, ref.kind, ref.name, ref.section_name
    key = PolicyKey(kind, policy.metadata.namespace, name, section)
    if _GROUPS.get(kind) != group:
        known = ", ".join(_GROUPS)
        return Fault("Invalid", f"{group}/{kind} cannot be the target of a TrafficPolicy; use one of {known}")
    missing = [each for each in (_absent(key, view.cluster) for view in views) if each]
    if len(missing) == len(views):
        return Fault("TargetNotFound", missing[0] if missing else f"{kind} {key.namespace}/{name} does not exist")
    first = oldest(rivals.get(key))
    if first is not None and first is not policy:
        older = f"{first.metadata.namespace}/{first.metadata.name}"
        return Fault("Conflicted", f"{_named(key)} already has TrafficPolicy {older}, which is older")
    return None


def _absent(key: PolicyKey, cluster: Cluster) -> str | None:
    """Why a target is not there, or None."""
    field = BACKEND_FIELDS.get(key.kind) or ROUTE_FIELDS[key.kind]
    found = getattr(cluster, field).get((key.namespace, key.name))
    if found is None:
        return f"{key.kind} {key.namespace}/{key.name} does not exist"
    if key.section is None:
        return None
    sections = [each.name for each in (found.spec.rules if key.kind in ROUTE_FIELDS else found.spec.ports)]
    if key.kind in ROUTE_FIELDS and key.section in sections:
        return None
    what = "rule" if key.kind in ROUTE_FIELDS else "section a TrafficPolicy can name"
    return f"{key.kind} {key.namespace}/{key.name} has no {what} {key.section}"


def _named(key: PolicyKey) -> str:
    return f"{key.kind} {key.namespace}/{key.name}" + (f" {key.section}" if key.section else "")


def _unknown_places(policy: TrafficPolicy, regions: Mapping[str, str]) -> Iterator[str]:
    """Clusters and regions that the policy names and the fleet does not have: most likely typing errors."""
    spec = policy.spec
    limits = [each for each in (spec.allow, spec.forbid) if isinstance(each, Places)]
    clusters = {each.cluster for tier in spec.tiers for each in tier if each.cluster}
    clusters |= {name for each in limits for name in each.clusters}
    named = {each.region for tier in spec.tiers for each in tier if each.region}
    named |= {name for each in limits for name in each.regions}
    for sort, absent, known in (
        ("cluster", clusters - regions.keys(), sorted(regions)),
        ("region", named - set(regions.values()), sorted(set(regions.values()))),
    ):
        for name in sorted(absent):
            yield f"there is no {sort} {name} in the fleet; it has {', '.join(known)}"


def _accepted(policy: TrafficPolicy | BackendTLSPolicy, faults: list[Fault], targets: int, notes: tuple[Fault, ...] = ()) -> Conditions:
    """Accepted unless it does nothing at all; what does not work in part is said beside it."""
    generation = policy.metadata.generation
    text = "; ".join(dict.fromkeys(each.message for each in faults))
    if faults and len(faults) == targets:
        return (conditions.false("Accepted", generation, faults[0].reason, text),)
    said = [conditions.true("Accepted", generation)]
    if faults:
        said.append(conditions.true("PartiallyInvalid", generation, faults[0].reason, text))
    elif notes:
        said.append(conditions.true("PartiallyInvalid", generation, notes[0].reason, "; ".join(each.message for each in notes)))
    return tuple(said)


def tls_conditions(view: ClusterView, policy: BackendTLSPolicy) -> Conditions:
    """Conditions Accepted and ResolvedRefs of a BackendTLSPolicy."""
    generation = policy.metadata.generation
    found = trust(view, policy.metadata.namespace, policy.spec.validation)
    bad = found.faults[0] if found.faults else None
    resolved = conditions.true("ResolvedRefs", generation)
    if bad is not None and bad.reason != "Invalid":
        resolved = conditions.false("ResolvedRefs", generation, bad.reason, "; ".join(each.message for each in found.faults))
    if bad is not None and found.roots is None:
        reason = "Invalid" if bad.reason == "Invalid" else "NoValidCACertificate"
        return conditions.false("Accepted", generation, reason, bad.message), resolved
    refs = policy.spec.target_refs
    faults = [each for each in (_tls_fault(view, policy, ref) for ref in refs) if each is not None]
    notes = tuple(Fault("UnsupportedValue", f"Flota knows no option {each}") for each in sorted(policy.spec.options))
    return (*_accepted(policy, faults, len(refs), notes), resolved)


def _tls_fault(view: ClusterView, policy: BackendTLSPolicy, ref: LocalPolicyTargetReferenceWithSectionName) -> Fault | None:
    group, kind, name, section = ref.group, ref.kind, ref.name, ref.section_name
    if GROUPS.get(kind) != group:
        return Fault("Invalid", f"{group}/{kind} cannot be the target of a BackendTLSPolicy; use {' or '.join(GROUPS)}")
    target = Target(kind, policy.metadata.namespace, name)
    found = getattr(view.cluster, BACKEND_FIELDS[kind]).get(target[1:])
    if found is None:
        return Fault("TargetNotFound", f"{kind} {target.namespace}/{name} does not exist")
    if section is not None and section not in {each.name for each in found.spec.ports}:
        return Fault("TargetNotFound", f"{kind} {target.namespace}/{name} has no port named {section}")
    first = prevailing(view.member.tls_policies.get(target), target, section)
    if first is not None and first is not policy:
        older = f"{first.metadata.namespace}/{first.metadata.name}"
        return Fault("Conflicted", f"{kind} {target.namespace}/{name} already has BackendTLSPolicy {older}, which is older")
    return None
