"""Rules of our own kinds: TrafficPolicy and ClusterSet (design section 6.1)."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from flota.fleet.policy import ClusterSet, Places, Spill, TierMember, TrafficHealthCheck, TrafficPolicy, TrafficPolicySpec
from flota.fleet.references import GATEWAY_GROUP, MCS_GROUP
from flota.fleet.values import milliseconds
from flota.sources.admission.fault import Faults, Path, doubled, fault, quoted, text
from flota.sources.admission.policies import targets

_BACKENDS = {("", "Service"), (MCS_GROUP, "ServiceImport")}
_ROUTES = {(GATEWAY_GROUP, kind) for kind in ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute")}
_HOUR_MS = 3_600_000


def traffic_policy(policy: TrafficPolicy) -> Faults:
    """All rules of a TrafficPolicy."""
    spec = policy.spec
    yield from targets(spec.target_refs)
    yield from _target_kinds(spec)
    yield from _tiers(spec)
    yield from _places(spec)
    if isinstance(spec.spill, Spill) and spec.spill_below == 0.0:
        yield fault(("spec", "spill", "below"), "Invalid", "0% would never spill; write Never to say so")
    if spec.fail_back_ms > _HOUR_MS:
        yield fault(("spec", "failBack", "after"), "Invalid", f"{spec.fail_back.after} is too long; at most 1h is allowed")
    if spec.health_check:
        yield from _health_check(spec.health_check, ("spec", "healthCheck"))


def _target_kinds(spec: TrafficPolicySpec) -> Faults:
    for index, ref in enumerate(spec.target_refs):
        path: Path = ("spec", "targetRefs", index)
        target = (ref.group, ref.kind)
        if target not in _BACKENDS | _ROUTES:
            allowed = ", ".join(sorted(f"{kind} ({group or 'core'})" for group, kind in _BACKENDS | _ROUTES))
            yield fault((*path, "kind"), "NotSupported", f"{ref.kind} of group {quoted(ref.group)} is no target; one of {allowed}")
        elif target in _BACKENDS and ref.section_name is not None:
            said = f"a {ref.kind} is a target as a whole; remove it (it names a rule of a route)"
            yield fault((*path, "sectionName"), "Forbidden", said)


def _tiers(spec: TrafficPolicySpec) -> Faults:
    path: Path = ("spec", "tiers")
    if spec.prefer == "Nearest" and spec.tiers:
        yield fault(path, "Forbidden", "prefer Nearest makes the tiers from distances; remove them, or set prefer to Order or Weights")
    elif spec.prefer == "Order" and not spec.tiers:
        yield fault(path, "Required", "is required for prefer Order; add tiers, the first choice first")
    elif spec.prefer == "Weights" and len(spec.tiers) != 1:
        yield fault(path, "Invalid", f"prefer Weights needs exactly one tier with the weights, not {len(spec.tiers)}")
    seen: dict[tuple[str, str], Path] = {}
    for index, tier in enumerate(spec.tiers):
        yield from _tier(tier, (*path, index), seen)


def _tier(tier: Sequence[TierMember], path: Path, seen: dict[tuple[str, str], Path]) -> Faults:
    for number, member in enumerate(tier):
        place = (*path, number)
        if (member.cluster is None) == (member.region is None):
            yield fault(place, "Invalid", "needs either cluster or region, and not both")
            continue
        who = ("cluster", member.cluster) if member.cluster is not None else ("region", str(member.region))
        before = seen.setdefault(who, place)
        if before != place:
            yield fault(place, "Duplicate", f"{who[0]} {who[1]} is already {text(before)}; remove one of the two")
    if tier and not any(member.weight for member in tier):
        yield fault(path, "Invalid", "all weights are 0, so nothing could go here; give one a weight")


def _places(spec: TrafficPolicySpec) -> Faults:
    if spec.allow is not None and spec.forbid is not None:
        yield fault(("spec", "forbid"), "Forbidden", "allow and forbid may not come together; keep one of them")
    for name, given in (("allow", spec.allow), ("forbid", spec.forbid)):
        if given is not None:
            yield from _place(given, ("spec", name))


def _place(given: Places, path: Path) -> Faults:
    if not given.regions and not given.clusters:
        yield fault(path, "Required", "needs regions, clusters, or both")
    for name, values in (("regions", given.regions), ("clusters", given.clusters)):
        yield from doubled((*path, name), values, lambda value: value, "", "is already in the list")


def _health_check(given: TrafficHealthCheck, path: Path) -> Faults:
    for name, value in (("interval", given.interval), ("timeout", given.timeout)):
        if value is not None and not 0 < milliseconds(value) <= _HOUR_MS:
            yield fault((*path, name), "Invalid", f"{value} is out of range; must be more than 0s and at most 1h")


def cluster_set(given: ClusterSet) -> Faults:
    """All rules of a ClusterSet."""
    path: Path = ("spec", "clusters")
    yield from doubled(path, given.spec.clusters, lambda each: each.name, "name", "the name of a cluster is taken")
    for index, member in enumerate(given.spec.clusters):
        if member.manifests is not None:
            yield from _folder(member.manifests, (*path, index, "manifests"))
    yield from _distances(given)


def _folder(manifests: str, path: Path) -> Faults:
    where = PurePosixPath(manifests)
    if where.is_absolute() or ".." in where.parts or "\0" in manifests:
        yield fault(path, "Invalid", f"{quoted(manifests)} leaves the fleet's folder; must be a folder inside, relative to it")


def _distances(given: ClusterSet) -> Faults:
    regions = {member.region for member in given.spec.clusters}
    pairs: dict[frozenset[str], int] = {}
    for index, distance in enumerate(given.spec.distances):
        path: Path = ("spec", "distances", index)
        for number, region in enumerate(distance.between):
            if region not in regions:
                said = f"no cluster is in region {quoted(region)}; one of {', '.join(sorted(regions))}"
                yield fault((*path, "between", number), "NotSupported", said)
        pair = frozenset(distance.between)
        if len(pair) == 1:
            yield fault((*path, "between"), "Invalid", "a distance is between two different regions")
        before = pairs.setdefault(pair, index)
        if before != index:
            yield fault(path, "Duplicate", f"the two regions have their distance in {text(('spec', 'distances', before))}; remove one")
