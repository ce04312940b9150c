"""Envoy's arithmetic: which part of the requests each place gets (Envoy docs, "Priority levels" and "Panic threshold").

Integers where Envoy uses integers, so that a prediction does not differ by rounding.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flota.plan.backends import PANIC_PERCENT, Endpoints, Locality, Tier
from flota.routing.health import ANSWERING, SERVING


class Level(NamedTuple):
    """A priority: how many of its endpoints are healthy."""

    healthy: int
    total: int


class Loads(NamedTuple):
    """Percent of the requests that each priority gets, and whether it hands them to unhealthy endpoints, too."""

    percent: tuple[int, ...]
    panic: tuple[bool, ...]


def priority_loads(levels: Sequence[Level], overprovisioning: int, panic_percent: int = PANIC_PERCENT) -> Loads:
    """How Envoy splits requests between priorities; all zero when there are no endpoints."""
    health = [min(100, overprovisioning * each.healthy // each.total) if each.total else 0 for each in levels]
    available = min(100, sum(health))
    panic = [available < 100 and _share(each) < panic_percent for each in levels]
    if levels and all(panic):
        return Loads(_in_total_panic(levels), tuple(panic))
    percent = []
    left = 100 if available else 0
    for each in health:
        part = min(left, each * 100 // available) if available else 0
        percent.append(part)
        left -= part
    if left:
        first = next(index for index, each in enumerate(health) if each)
        percent[first] += left
    return Loads(tuple(percent), tuple(panic))


def _share(level: Level) -> float:
    return 100.0 * level.healthy / level.total if level.total else 0.0


def _in_total_panic(levels: Sequence[Level]) -> tuple[int, ...]:
    """Every priority is in panic: by their number of endpoints, healthy or not; the rest to the first that has any."""
    total = sum(each.total for each in levels)
    if not total:
        return (0,) * len(levels)
    percent = [100 * each.total // total for each in levels]
    first = next(index for index, each in enumerate(levels) if each.total)
    percent[first] += 100 - sum(percent)
    return tuple(percent)


def by_cluster(endpoints: Endpoints, *, weighted: bool) -> dict[str, float]:
    """Share of the requests (0.0 to 1.0, adding up to 1) that each cluster answers; empty when none can.

    Where nothing else serves, the proxy uses every endpoint (total panic), and those that drain answer. A request
    that meets an endpoint that fails is retried: its share is counted where the others are answered.
    """
    tiers = [tier for tier in endpoints.tiers if any(each.endpoints for each in tier.localities)]
    loads = priority_loads([_level(tier.localities) for tier in tiers], endpoints.overprovisioning)
    shares: dict[str, float] = {}
    for tier, percent, panic in zip(tiers, loads.percent, loads.panic, strict=True):
        for place, part in _split(tier, endpoints.overprovisioning, weighted=weighted, panic=panic):
            if percent and part:
                shares[place.cluster] = shares.get(place.cluster, 0.0) + percent * part
    total = sum(shares.values())
    return {cluster: share / total for cluster, share in shares.items()} if total else _retried(tiers)


def _retried(tiers: Iterable[Tier]) -> dict[str, float]:
    """First attempts all fail but something serves elsewhere: what the retries find there."""
    for tier in tiers:
        alive = {place.cluster: 0.0 for place in tier.localities if _healthy(place)}
        if alive:
            for place in tier.localities:
                if place.cluster in alive:
                    alive[place.cluster] += _healthy(place)
            total = sum(alive.values())
            return {cluster: count / total for cluster, count in alive.items()}
    return {}


def _split(tier: Tier, overprovisioning: int, *, weighted: bool, panic: bool) -> list[tuple[Locality, float]]:
    """What part of its tier each place answers. Without weights, and in panic, every endpoint gets the same."""
    alive = [_answering(each) if panic else _healthy(each) for each in tier.localities]
    if weighted and not panic:
        ratios = [_availability(each, overprovisioning) * (each.weight or 0) for each in tier.localities]
    else:
        ratios = [float(each) for each in alive]
    total = sum(ratios)
    return [(place, ratio / total if total else 0.0) for place, ratio in zip(tier.localities, ratios, strict=True)]


def _availability(place: Locality, overprovisioning: int) -> float:
    """How much of its weight a place can carry."""
    return min(1.0, overprovisioning / 100 * _healthy(place) / len(place.endpoints)) if place.endpoints else 0.0


def _healthy(place: Locality) -> int:
    return sum(each.state in SERVING for each in place.endpoints)


def _answering(place: Locality) -> int:
    return sum(each.state in ANSWERING for each in place.endpoints)


def _level(places: Iterable[Locality]) -> Level:
    pairs = [(_healthy(each), len(each.endpoints)) for each in places]
    return Level(sum(healthy for healthy, _ in pairs), sum(total for _, total in pairs))
