"""What would happen to each service if a place were lost or drained, before it is (design section 6.2)."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec import Struct

from flota.fleet.fleet import Fleet
from flota.plan.backends import Backend, Endpoint, Endpoints, Locality, State, Tier
from flota.plan.plan import Plan, ProxyPlan
from flota.routing.shares import by_cluster
from flota.routing.targets import holds, stands_in, unknown
from flota.routing.tiers import serving, settle

Shares = Mapping[str, float]


class Outlook(Struct, frozen=True):
    """One service as the proxy of cluster `source` sees it. Shares of the requests by cluster, 0.0 to 1.0."""

    namespace: str
    name: str
    source: str
    before: Shares
    after: Shares
    left: bool
    """Whether anything is left to serve it."""
    why: str
    kind: str
    backend: str
    """Its name in statistics and `explain`, with the port: one service may have several."""


class WhatIf(Struct, frozen=True):
    """What would happen. `problems`: names that mean nothing in this fleet; then there are no services."""

    services: tuple[Outlook, ...]
    problems: tuple[str, ...] = ()


def whatif(fleet: Fleet, plan: Plan, lose: Iterable[str] = (), drain: Iterable[str] = ()) -> WhatIf:
    """Every Service and ServiceImport that a route uses, with and without what is lost and drained.

    `lose`, `drain`: clusters, regions or zones. A lost place loses all its endpoints at once; they stay listed until the
    control plane hears of it, so the next tier takes over as Envoy computes it. A drain touches ServiceImports only.
    """
    lost, drained = frozenset(lose), frozenset(drain)
    problems = unknown(fleet, plan, sorted(lost | drained))
    if problems:
        return WhatIf((), problems)
    proxies = [plan.proxies[name] for name in sorted(plan.proxies)]
    return WhatIf(tuple(_outlook(proxy, each, lost, drained) for proxy in proxies for each in in_use(proxy)))


def in_use(proxy: ProxyPlan) -> Iterator[Backend]:
    """One backend for each list of endpoints that routes of the proxy use, in the order of their names."""
    first: dict[str, Backend] = {}
    for name in sorted(proxy.backends):
        backend = proxy.backends[name]
        if backend.endpoints in proxy.endpoints and not backend.dns:  # what is outside is lost with no place of ours
            first.setdefault(backend.endpoints, backend)
    return iter(first[name] for name in sorted(first))


def drain_endpoints(endpoints: Endpoints, drained: frozenset[str]) -> Endpoints:
    """The endpoints of a ServiceImport when these places are drained."""
    return _mark(endpoints, drained, "Draining")


def _outlook(proxy: ProxyPlan, backend: Backend, lost: frozenset[str], drained: frozenset[str]) -> Outlook:
    now = proxy.endpoints[backend.endpoints]
    then = drain_endpoints(now, drained) if backend.kind == "ServiceImport" else now
    then = _mark(then, lost, "Dead")
    before = by_cluster(now, weighted=backend.strict_weights)
    after = by_cluster(then, weighted=backend.strict_weights)
    return Outlook(
        namespace=backend.namespace,
        name=backend.service,
        source=proxy.cluster,
        before=_rounded(before),
        after=_rounded(after),
        left=bool(after),
        why=_why(proxy, now, then, _rounded(before), _rounded(after), lost),
        kind=backend.kind,
        backend=backend.label,
    )


def _mark(endpoints: Endpoints, names: frozenset[str], state: State) -> Endpoints:
    """The endpoints in these places in another state, in the tiers where that puts them."""
    if not names or not any(holds(names, place) for tier in endpoints.tiers for place in tier.localities):
        return endpoints
    groups = [[_marked(place, state) if holds(names, place) else place for place in tier.localities] for tier in endpoints.tiers]
    tiers = settle(groups) if state == "Draining" else tuple(Tier(tuple(group)) for group in groups)
    return msgspec.structs.replace(endpoints, tiers=tiers)


def _marked(place: Locality, state: State) -> Locality:
    return msgspec.structs.replace(place, endpoints=tuple(Endpoint(each.address, each.port, state, "") for each in place.endpoints))


def _rounded(shares: Shares) -> dict[str, float]:
    return {cluster: round(share, 4) for cluster, share in sorted(shares.items())}


def _why(proxy: ProxyPlan, now: Endpoints, then: Endpoints, before: Shares, after: Shares, lost: frozenset[str]) -> str:
    places = [place for tier in now.tiers for place in tier.localities]
    if not before:
        return "it has no endpoint that serves, already now"
    if not after:
        return f"nothing is left: its endpoints are only in {_words({each.cluster for each in places})}"
    gone = f"the gateway of {proxy.cluster} is lost with it; where only endpoints are lost: " if stands_in(lost, proxy) else ""
    if not serving(then.tiers):
        return f"{gone}nothing else is left, so endpoints that drain serve on in {_words(after)}"
    if before == after:
        return gone + "nothing changes: none of its traffic goes there"
    gains = [cluster for cluster in after if after[cluster] > before.get(cluster, 0.0)]
    losers = [cluster for cluster in before if before[cluster] > after.get(cluster, 0.0)]
    reasons = {each.cluster: each.why for each in reversed(places)}
    taken = ", ".join(f"{cluster} ({reasons[cluster]})" if reasons.get(cluster) else cluster for cluster in gains)
    return f"{gone}{taken} {'takes' if len(gains) == 1 else 'take'} over from {_words(losers)}"


def _words(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
