"""The plan with the endpoints in the states that the proxies find them in: what `whatif`, `drain` and `explain` must reckon with."""

from msgspec.structs import replace

from flota.plan import Endpoint, Endpoints, Locality, Plan, ProxyPlan, Tier
from flota.report.services import planned_state
from flota.report.view import View


def observed_plan(view: View) -> Plan:
    """Each proxy's endpoints as it sees them itself. The plan as it is where nothing was observed."""
    proxies = {
        name: _observed(view, proxy) if name in view.proxies and view.proxies[name].endpoints else proxy
        for name, proxy in view.plan.proxies.items()
    }
    return replace(view.plan, proxies=proxies)


def _observed(view: View, proxy: ProxyPlan) -> ProxyPlan:
    labels = {backend.endpoints: backend.label for backend in proxy.backends.values()}
    found = {name: _seen(view, proxy.cluster, labels[name], each) if name in labels else each for name, each in proxy.endpoints.items()}
    return replace(proxy, endpoints=found)


def _seen(view: View, cluster: str, label: str, endpoints: Endpoints) -> Endpoints:
    def judged(one: Endpoint) -> Endpoint:
        seen = planned_state(view, cluster, label, one)
        return one if seen.state == one.state else replace(one, state=seen.state, cause=seen.cause)

    def place(of: Locality) -> Locality:
        return replace(of, endpoints=tuple(map(judged, of.endpoints)))

    return replace(endpoints, tiers=tuple(Tier(tuple(map(place, tier.localities))) for tier in endpoints.tiers))
