"""Which places serve first: the tiers of a backend as the proxy of one cluster ranks them."""

from collections.abc import Callable, Iterable, Mapping
from math import gcd, inf
from typing import NamedTuple

import msgspec

from flota.fleet.policy import TierMember
from flota.plan.backends import Locality, Tier
from flota.routing.health import SERVING
from flota.routing.policy import Effective

Distances = Mapping[tuple[str, str], float]


class Source(NamedTuple):
    """Where the proxy stands. `zone` empty = unknown."""

    cluster: str
    region: str
    zone: str


class Ranking(NamedTuple):
    """Tiers, nearest first, and whether the localities' weights decide the split inside a tier."""

    tiers: tuple[Tier, ...]
    weighted: bool


def rank(source: Source, localities: Iterable[Locality], effective: Effective, distances: Distances) -> Ranking:
    """Order places into tiers.

    Places without endpoints may be handed in: they count when the policy is strict (only the first tier serves, even when
    it is empty), and are left out of the result.
    """
    places = [each for each in localities if effective.permits(each.cluster, each.region)]
    spec = effective.spec
    chosen: list[list[Locality]] = []
    if spec is not None and spec.prefer != "Nearest":
        tiers = spec.tiers if spec.prefer == "Order" else spec.tiers[:1]
        for number, members in enumerate(tiers):
            taken, places = _take(places, members, f"tiers[{number}] of policy {effective.name}")
            chosen.append(taken)
    weighted = any(chosen)
    groups = [each for each in chosen if each] + nearest(source, places, distances, reserve=weighted)
    if effective.strict:
        groups = groups[:1]
    if weighted:
        groups = [[_weigh(each) for each in group] for group in groups]
    return Ranking(settle(groups), weighted)


def settle(groups: Iterable[Iterable[Locality]]) -> tuple[Tier, ...]:
    """Tiers without gaps, each endpoint in the first that has it.

    Endpoints that are draining go into a last tier of their own: there they cost no share of the tier they leave, finish
    what they have, and serve only when nothing else does.
    """
    ordered = [list(group) for group in groups]
    seen: set[tuple[str, int]] = set()
    tiers = [_part(group, seen, leaving=False) for group in ordered]
    tiers.append(_part([place for group in ordered for place in group], seen, leaving=True))
    return tuple(Tier(each) for each in tiers if each)


def _part(places: Iterable[Locality], seen: set[tuple[str, int]], *, leaving: bool) -> tuple[Locality, ...]:
    """What of these places is (or is not) draining and was not seen before, which it then is."""
    parts = []
    for place in places:
        part = tuple(
            each
            for each in place.endpoints
            if (each.state == "Draining") is leaving and (each.address, each.port) not in seen
        )
        seen.update((each.address, each.port) for each in part)
        if not part:
            continue
        if len(part) == len(place.endpoints) and not leaving:
            parts.append(place)
        else:
            parts.append(msgspec.structs.replace(place, endpoints=part, why="draining" if leaving else place.why))
    return tuple(parts)


def nearest(source: Source, places: Iterable[Locality], distances: Distances, *, reserve: bool = False) -> list[list[Locality]]:
    """Group places by how near they are: same zone, same region, then region after region."""
    groups: dict[tuple[float, float, str], list[Locality]] = {}
    for place in sorted(places, key=lambda each: (each.cluster, each.zone)):
        near, why = _nearness(source, place, distances)
        note = f"reserve, {why}" if reserve else why
        groups.setdefault(near, []).append(msgspec.structs.replace(place, why=note))
    return [groups[near] for near in sorted(groups)]


def _nearness(source: Source, place: Locality, distances: Distances) -> tuple[tuple[float, float, str], str]:
    """Sort key and reason. Without a zone of its own, a cluster counts as nearer to itself than to others of its region."""
    if place.region != source.region:
        rtt = distances.get((source.region, place.region))
        if rtt is None:
            return (2, inf, place.region), f"region {place.region}, distance unknown"
        return (2, rtt, place.region), f"region {place.region}, {rtt:g} ms away"
    if source.zone and place.zone == source.zone:
        return (0, 0, ""), "same zone"
    if not source.zone and place.cluster == source.cluster:
        return (0, 0, ""), "same cluster"
    return (1, 0, ""), "same region"


def _take(places: list[Locality], members: tuple[TierMember, ...], why: str) -> tuple[list[Locality], list[Locality]]:
    """The places that a policy's tier names, with weights, and the others. Weight 0 names a place to take no share."""
    groups: list[tuple[int, list[Locality]]] = []
    for member in members:
        mine = [each for each in places if member.weight and _selects(member)(each)]
        places = [each for each in places if all(each is not one for one in mine)]
        groups.append((member.weight, mine))
    return [msgspec.structs.replace(each, why=why) for each in _shares(groups)], places


def _selects(member: TierMember) -> Callable[[Locality], bool]:
    if member.cluster is not None:
        return lambda place: place.cluster == member.cluster
    return lambda place: place.region == member.region


def _shares(groups: list[tuple[int, list[Locality]]]) -> list[Locality]:
    """Spread each member's weight over its places by their number of serving endpoints."""
    scale = 1 if all(len(places) <= 1 for _, places in groups) else 1_000
    weights: list[tuple[Locality, int]] = []
    for weight, places in groups:
        sizes = [_size(each) for each in places]
        total = sum(sizes) or 1
        weights += [(place, max(1, round(weight * scale * size / total))) for place, size in zip(places, sizes, strict=True)]
    common = gcd(*(weight for _, weight in weights)) if scale > 1 and weights else 1
    return [msgspec.structs.replace(place, weight=weight // common) for place, weight in weights]


def _size(place: Locality) -> int:
    return sum(each.state != "Draining" for each in place.endpoints)


def _weigh(place: Locality) -> Locality:
    """A place that no tier of the policy names splits its tier by its number of endpoints."""
    return place if place.weight is not None else msgspec.structs.replace(place, weight=max(1, len(place.endpoints)))


def serving(tiers: Iterable[Tier]) -> int:
    """How many endpoints get traffic."""
    return sum(each.state in SERVING for tier in tiers for place in tier.localities for each in place.endpoints)
