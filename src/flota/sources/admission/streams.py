"""Rules of TLSRoute, TCPRoute and UDPRoute (Gateway API v1.6.1)."""

from collections.abc import Sequence

from flota.fleet.routes import TCPRoute, TCPRouteRule, TLSRoute, TLSRouteRule, UDPRoute, UDPRouteRule
from flota.sources.admission.fault import Faults, fault
from flota.sources.admission.references import backend, hostnames, parents, rule_names


def tls_route(route: TLSRoute) -> Faults:
    """All rules of a TLSRoute; v1alpha2 needs no hostnames and may have several rules."""
    yield from parents(route.spec.parent_refs)
    yield from hostnames(route.spec.hostnames)
    if not route.spec.hostnames and not route.api_version.endswith("/v1alpha2"):
        yield fault(("spec", "hostnames"), "Required", "is required; add the server names (SNI) that the route takes")
    yield from _rules(route.spec.rules, route.api_version)


def tcp_route(route: TCPRoute) -> Faults:
    """All rules of a TCPRoute."""
    yield from parents(route.spec.parent_refs)
    yield from _rules(route.spec.rules, route.api_version)


def udp_route(route: UDPRoute) -> Faults:
    """All rules of a UDPRoute."""
    yield from parents(route.spec.parent_refs)
    yield from _rules(route.spec.rules, route.api_version)


def _rules(rules: Sequence[TLSRouteRule | TCPRouteRule | UDPRouteRule], version: str) -> Faults:
    if len(rules) > 1 and not version.endswith("/v1alpha2"):
        said = f"has {len(rules)} elements; exactly one is allowed, as nothing could tell the connections apart"
        yield fault(("spec", "rules"), "TooMany", said)
    yield from rule_names(rules)
    for index, rule in enumerate(rules):
        for number, ref in enumerate(rule.backend_refs):
            yield from backend(ref, ("spec", "rules", index, "backendRefs", number))
