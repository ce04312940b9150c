"""Clusters, regions and zones by name: what can be lost or drained."""

from collections.abc import Iterable

from flota.fleet.fleet import Fleet
from flota.plan.backends import Locality
from flota.plan.plan import Plan, ProxyPlan


def known(fleet: Fleet, plan: Plan) -> dict[str, tuple[str, ...]]:
    """Names by sort, each sorted: `cluster`, `region`, `zone` (zones of clusters and of endpoints)."""
    clusters = fleet.clusters.values()
    zones = {each.zone for each in clusters if each.zone}
    for proxy in plan.proxies.values():
        for endpoints in proxy.endpoints.values():
            zones |= {place.zone for tier in endpoints.tiers for place in tier.localities if place.zone}
    return {
        "cluster": tuple(sorted(fleet.clusters)),
        "region": tuple(sorted({each.region for each in clusters})),
        "zone": tuple(sorted(zones)),
    }


def unknown(fleet: Fleet, plan: Plan, names: Iterable[str]) -> tuple[str, ...]:
    """One sentence for each name that is no cluster, region or zone of the fleet."""
    sorts = known(fleet, plan)
    all_names = {name for several in sorts.values() for name in several}
    listed = "; ".join(f"{sort}s: {', '.join(several)}" for sort, several in sorts.items() if several)
    return tuple(
        f"{name} is neither a cluster nor a region nor a zone of the fleet ({listed})" for name in names if name not in all_names
    )


def holds(names: frozenset[str], place: Locality) -> bool:
    """Whether a place is in one of these clusters, regions or zones."""
    return not names.isdisjoint((place.cluster, place.region, place.zone))


def stands_in(names: frozenset[str], proxy: ProxyPlan) -> bool:
    """Whether a proxy is in one of these clusters, regions or zones."""
    return not names.isdisjoint((proxy.cluster, proxy.region, proxy.zone))
