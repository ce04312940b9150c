"""Where the traffic of a backend goes, tier after tier, as the proxy of one cluster sees it."""

from flota.plan import Tier
from flota.report.services import EndpointRow, planned_state
from flota.report.shape import Row
from flota.report.view import View


class LocalityRow(Row, frozen=True, kw_only=True):
    """The endpoints of one place. `weight` splits the tier where a policy gives weights."""

    cluster: str
    region: str
    zone: str
    weight: int | None
    why: str
    endpoints: tuple[EndpointRow, ...]


class TierRow(Row, frozen=True, kw_only=True):
    """Places of equal rank; `tier` 0 serves first."""

    tier: int
    why: str
    localities: tuple[LocalityRow, ...]


def tier_rows(view: View, cluster: str, backend: str) -> tuple[TierRow, ...]:
    """The tiers of a backend (by its name in the plan) of the proxy of `cluster`, nearest first."""
    proxy = view.plan.proxies[cluster]
    found = proxy.backends.get(backend)
    endpoints = proxy.endpoints.get(found.endpoints) if found is not None else None
    if found is None or endpoints is None:
        return ()
    return tuple(_tier(view, cluster, found.label, number, tier) for number, tier in enumerate(endpoints.tiers))


def _tier(view: View, cluster: str, label: str, number: int, tier: Tier) -> TierRow:
    localities = tuple(
        LocalityRow(
            cluster=each.cluster,
            region=each.region,
            zone=each.zone,
            weight=each.weight,
            why=each.why,
            endpoints=tuple(
                EndpointRow(cluster=each.cluster, address=one.address, port=one.port, state=seen.state, cause=seen.cause)
                for one in each.endpoints
                for seen in (planned_state(view, cluster, label, one),)
            ),
        )
        for each in tier.localities
    )
    return TierRow(tier=number, why="; ".join(dict.fromkeys(each.why for each in tier.localities if each.why)), localities=localities)
