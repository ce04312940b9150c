"""Where the endpoints of a service are: EndpointSlices of one or of all clusters, merged (discovery/v1, KEP-1645)."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from flota.fleet.core import Endpoint as SliceEndpoint
from flota.fleet.core import EndpointPort, EndpointSlice, Service, ServicePort
from flota.fleet.fleet import Cluster
from flota.fleet.mcs import ServiceImportPort
from flota.fleet.meta import Key
from flota.plan.backends import Endpoint, Locality
from flota.routing.health import drained, judge
from flota.routing.member import Member
from flota.routing.view import ClusterView


class Found(NamedTuple):
    """An endpoint before anything was judged: `leaving` = its pod is stopping but still serves."""

    address: str
    port: int
    zone: str
    leaving: bool


def of_service(view: ClusterView, key: Key, port: ServicePort) -> tuple[Locality, ...]:
    """Places of a Service: endpoints of its own cluster. Drains leave them alone: there is nowhere else to go."""
    service = view.cluster.services[key]
    return _places(view, view.member, service, port, drains=False)


def of_import(view: ClusterView, key: Key, port: ServiceImportPort) -> tuple[Locality, ...]:
    """Places of a ServiceImport: endpoints of every cluster that exports the Service and has the port."""
    places: list[Locality] = []
    for member in exporters(view, key):
        service = member.cluster.services[key]
        own = matching_port(service, port)
        if own is not None:
            places += _places(view, member, service, own, drains=True)
    return tuple(places)


def exporters(view: ClusterView, key: Key) -> Iterator[Member]:
    """Clusters that export the Service, in the order of their names. ExternalName cannot be exported (KEP-1645)."""
    for name in sorted(view.members):
        cluster = view.members[name].cluster
        service = cluster.services.get(key)
        if service is not None and key in cluster.service_exports and service.spec.type != "ExternalName":
            yield view.members[name]


def matching_port(service: Service, port: ServiceImportPort) -> ServicePort | None:
    """The Service's port that an imported one stands for: by name, else by number (KEP-1645, Service port)."""
    able = [each for each in service.spec.ports if each.protocol == port.protocol]
    named = next((each for each in able if each.name == port.name), None)
    return named or next((each for each in able if each.port == port.port), None)


def _places(view: ClusterView, member: Member, service: Service, port: ServicePort, *, drains: bool) -> tuple[Locality, ...]:
    """One place per zone; the cluster's own zone is always one, so that an empty service still has a place."""
    cluster = member.cluster
    key = (service.metadata.namespace, service.metadata.name)
    zones: dict[str, list[Endpoint]] = {cluster.zone or "": []}
    for each in merge(member.slices.get(key), service, port, cluster.zone or ""):
        zones.setdefault(each.zone, []).append(_judged(view, cluster, each, drains=drains))
    return tuple(Locality(cluster.name, cluster.region, zone, tuple(zones[zone])) for zone in sorted(zones))


def _judged(view: ClusterView, cluster: Cluster, found: Found, *, drains: bool) -> Endpoint:
    if found.leaving:
        return Endpoint(found.address, found.port, "Draining", "its pod is stopping")
    cause = drained(view.fleet.drains, cluster.name, cluster.region, found.zone) if drains else None
    if cause is not None:
        return Endpoint(found.address, found.port, "Draining", cause)
    return Endpoint(found.address, found.port, *judge(view.fleet, cluster, found.address, found.port))


def merge(slices: Iterable[EndpointSlice], service: Service, port: ServicePort, zone: str) -> tuple[Found, ...]:
    """Ready and leaving endpoints of a port, each once, in the order of address and port.

    An address that one slice calls ready and another leaving is ready. `zone` = of endpoints that name none.
    """
    found: dict[tuple[str, int], Found] = {}
    for piece in _families(slices, service):
        number = _number(piece.ports, port)
        if number is None:
            continue
        for each in piece.endpoints:
            leaving = _leaving(each, always=service.spec.publish_not_ready_addresses)
            if leaving is None or not each.addresses:
                continue
            one = Found(each.addresses[0], number, each.zone or zone, leaving)
            known = found.get(one[:2])
            if known is None or (known.leaving and not leaving):
                found[one[:2]] = one
    return tuple(found[place] for place in sorted(found))


def _families(slices: Iterable[EndpointSlice], service: Service) -> list[EndpointSlice]:
    """Slices of one IP family where the Service says which: its pods are in both. FQDN slices are not supported."""
    usable = [each for each in slices if each.address_type != "FQDN"]
    for family in service.spec.ip_families:
        chosen = [each for each in usable if each.address_type == family and each.endpoints]
        if chosen:
            return chosen
    return [] if service.spec.ip_families else usable


def _number(ports: tuple[EndpointPort, ...], port: ServicePort) -> int | None:
    """Where endpoints listen: the slice's port of the same name and protocol; None = it has none."""
    for each in ports:
        if each.name == port.name and each.protocol == port.protocol:
            return each.port or (port.target_port if isinstance(port.target_port, int) else port.port)
    return None


def _leaving(endpoint: SliceEndpoint, *, always: bool) -> bool | None:
    """None = gets no traffic: not ready, and not serving while it stops (KEP-1672). Unknown counts as ready."""
    conditions = endpoint.conditions
    ready = conditions.ready is not False
    if conditions.terminating:
        serves = ready if conditions.serving is None else conditions.serving
        return True if serves else None
    return False if ready or always else None
