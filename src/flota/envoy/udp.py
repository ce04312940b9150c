"""UDP backends mixed by weight. Envoy's UDP proxy knows one cluster per listener, so several become one whose places carry the weights."""

import hashlib
from collections.abc import Mapping

import msgspec

from flota.plan import Backend, Endpoints, FilterChain, Listener, Locality, ProxyPlan, Tier, WeightedBackend

UDP_PROXY = "envoy.extensions.filters.udp.udp_proxy.v3."
SCALE = 10_000


def udp_cluster(listener: Listener, chain: FilterChain) -> str | None:
    """The cluster of a UDP listener: its one backend, or the name of their mixture; None without any."""
    shares = _shares(chain)
    if len(shares) <= 1:
        return shares[0].backend if shares else None
    mixed = [(one.backend, one.weight) for one in shares]
    return f"udp/{listener.port}/{hashlib.blake2b(msgspec.msgpack.encode(mixed), digest_size=8).hexdigest()}"


def mixture(listener: Listener, backends: Mapping[str, Backend], endpoints: Mapping[str, Endpoints]) -> tuple[Backend, Endpoints] | None:
    """The backend that stands for several of a UDP listener, None where there is nothing to mix.

    Tier n of it has the tiers n of all. A share whose backend is missing falls to the others: there is no answer that could say so.
    """
    chain = listener.chains[0]
    shares = _shares(chain)
    name = udp_cluster(listener, chain)
    if name is None or len(shares) <= 1:
        return None
    first = backends[shares[0].backend or ""]
    any_dns = any(backends[one.backend or ""].dns for one in shares)
    tiers_of = [endpoints[backends[one.backend or ""].endpoints].tiers for one in shares]
    tiers = tuple(
        Tier(tuple(place for one, own in zip(shares, tiers_of, strict=True) if rank < len(own) for place in _weighed(own[rank], one)))
        for rank in range(max(map(len, tiers_of)))
    )
    label = "+".join(backends[one.backend or ""].label for one in shares)
    backend = msgspec.structs.replace(first, name=name, label=label, endpoints=name, strict_weights=True, dns=any_dns)
    return backend, Endpoints(name=name, tiers=tiers)


def with_mixtures(plan: ProxyPlan) -> tuple[Mapping[str, Backend], Mapping[str, Endpoints]]:
    """Backends and endpoints of the plan, and those that stand for several."""
    mixed = [mixture(one, plan.backends, plan.endpoints) for one in plan.listeners.values() if one.protocol == "UDP"]
    found = [pair for pair in mixed if pair is not None]
    if not found:
        return plan.backends, plan.endpoints
    return ({**plan.backends, **{backend.name: backend for backend, _ in found}},
            {**plan.endpoints, **{endpoints.name: endpoints for _, endpoints in found}})


def _shares(chain: FilterChain) -> list[WeightedBackend]:
    return [one for one in chain.backends or () if one.backend is not None and one.weight > 0]


def _weighed(tier: Tier, share: WeightedBackend) -> list[Locality]:
    """The places of a tier, with a backend's weight divided among them: by their own weights, or by their endpoints.

    Places of two backends get different zones: Envoy would make one of what has the same name.
    """
    places = [place for place in tier.localities if place.endpoints]
    own = [len(place.endpoints) if place.weight is None else place.weight for place in places]
    total = sum(own)
    return [
        msgspec.structs.replace(place, weight=max(1, share.weight * SCALE * mine // total), zone=f"{place.zone} {share.backend}")
        for place, mine in zip(places, own, strict=True)
        if total and mine
    ]
