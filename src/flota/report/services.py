"""Services and their endpoints as the proxy of a cluster sees them: state and cause of each."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from flota.fleet.core import Endpoint as SliceEndpoint
from flota.fleet.core import EndpointSlice
from flota.fleet.drain import Drain
from flota.fleet.fleet import Cluster
from flota.fleet.meta import Key
from flota.plan import Backend, Endpoint, ProxyPlan, State
from flota.report.places import drain_of
from flota.report.shape import Row
from flota.report.view import Seen, View

_RANK: dict[State, int] = {"Healthy": 0, "Unknown": 1, "Suspect": 2, "Draining": 3, "Dead": 4}
Place = tuple[str, str, int]
"""(cluster, address, port) of an endpoint."""
Slices = Mapping[str, Mapping[Key, list[EndpointSlice]]]
"""Cluster → (namespace, service) → its slices."""


class EndpointRow(Row, frozen=True, kw_only=True):
    """One address and port. `cluster` is where it runs; `cause` says why it is in its state, empty for a healthy one."""

    cluster: str
    address: str
    port: int
    state: State
    cause: str = ""


class ServiceRow(Row, frozen=True, kw_only=True):
    """A Service of the cluster, or a ServiceImport (`imported`) with the endpoints of the whole cluster set."""

    cluster: str
    namespace: str
    name: str
    imported: bool
    endpoints: tuple[EndpointRow, ...]


def service_rows(view: View) -> tuple[ServiceRow, ...]:
    """All Services and ServiceImports of all clusters, by cluster and name."""
    slices = {name: _slices_by_service(cluster) for name, cluster in view.fleet.clusters.items()}
    return tuple(row for name in view.fleet.clusters for row in _rows_of(view, name, slices))


def endpoint_key(address: str, port: int) -> str:
    """`address:port`, IPv6 in brackets: how proxies name an endpoint."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _rows_of(view: View, name: str, slices: Slices) -> Iterator[ServiceRow]:
    cluster = view.fleet.clusters[name]
    backends = _backends_by_service(view.plan.proxies.get(name))
    elsewhere = _worst(view, name, [each for several in backends.values() for each in several])
    for key in sorted(cluster.services):
        listed = _listed(slices[name].get(key, ()), name, None)
        rows = _endpoints(view, name, backends.get(("Service", *key), ()), listed, elsewhere)
        yield ServiceRow(cluster=name, namespace=key[0], name=key[1], imported=False, endpoints=rows)
    for key in sorted(cluster.service_imports):
        listed = _exported(view, key, slices)
        rows = _endpoints(view, name, backends.get(("ServiceImport", *key), ()), listed, elsewhere)
        yield ServiceRow(cluster=name, namespace=key[0], name=key[1], imported=True, endpoints=rows)


def _endpoints(
    view: View, cluster: str, backends: Sequence[Backend], listed: Iterable[tuple[Place, Seen]], elsewhere: Mapping[Place, Seen]
) -> tuple[EndpointRow, ...]:
    """`elsewhere`: what the proxy finds of the same places as endpoints of any service, for one that no route uses."""
    found = _worst(view, cluster, backends)
    for place, seen in listed:
        # A ready endpoint that the plan of a used service leaves out is none for this proxy: a policy forbids it.
        if place not in found and not (backends and seen.state == "Healthy"):
            # Draining is said of an import's endpoint; the plain Service of the same pods stays.
            better = elsewhere.get(place)
            found[place] = better if better is not None and better.state != "Draining" and seen.state == "Healthy" else seen
    return tuple(
        EndpointRow(cluster=place[0], address=place[1], port=place[2], state=seen.state, cause=seen.cause)
        for place, seen in sorted((place, seen if view.running or view.read else _unseen(seen)) for place, seen in found.items())
    )


def _unseen(seen: Seen) -> Seen:
    """What is left of it where no Flota runs: nobody looks, so nothing is known to be well."""
    return Seen("Unknown", "Flota does not run here") if seen.state == "Healthy" else seen


def _worst(view: View, cluster: str, backends: Iterable[Backend]) -> dict[Place, Seen]:
    """The worst that any of these backends of the cluster's proxy finds of each place."""
    found: dict[Place, Seen] = {}
    for backend in backends:
        for place, seen in _planned(view, cluster, backend):
            known = found.get(place)
            if known is None or _RANK[seen.state] > _RANK[known.state]:
                found[place] = seen
    return found


def _planned(view: View, cluster: str, backend: Backend) -> Iterator[tuple[Place, Seen]]:
    endpoints = view.plan.proxies[cluster].endpoints.get(backend.endpoints)
    for tier in endpoints.tiers if endpoints is not None else ():
        for locality in tier.localities:
            for each in locality.endpoints:
                place = (locality.cluster, each.address, each.port)
                yield place, planned_state(view, cluster, backend.label, each)


def planned_state(view: View, cluster: str, label: str, endpoint: Endpoint) -> Seen:
    """State of a planned endpoint as the proxy of `cluster` sees it.

    Being told to leave counts more than what is observed; a silent cluster only as long as nothing worse is seen.
    """
    planned = Seen(endpoint.state, endpoint.cause)
    proxy = view.proxies.get(cluster)
    observed = proxy.endpoints.get(label, {}) if proxy is not None else {}
    seen = observed.get(endpoint_key(endpoint.address, endpoint.port))
    if seen is None or planned.state == "Draining":
        return planned
    if seen.state == "Healthy" and planned.state != "Suspect":
        return seen
    return max(planned, seen, key=lambda each: _RANK[each.state])


def _exported(view: View, key: Key, slices: Slices) -> Iterator[tuple[Place, Seen]]:
    for home, cluster in view.fleet.clusters.items():
        if key in cluster.service_exports:
            yield from _listed(slices[home].get(key, ()), home, drain_of(view.fleet, cluster, view.now))


def _listed(slices: Iterable[EndpointSlice], home: str, drain: Drain | None) -> Iterator[tuple[Place, Seen]]:
    """What the EndpointSlices say: all there is to know of a service that no route uses."""
    for each in slices:
        for endpoint in each.endpoints:
            seen = _listed_state(endpoint)
            if drain is not None and seen.state == "Healthy":
                seen = Seen("Draining", f"{drain.target} is drained until {drain.until.isoformat(timespec='seconds')}")
            for port in each.ports:
                if endpoint.addresses and port.port is not None:
                    yield (home, endpoint.addresses[0], port.port), seen


def _listed_state(endpoint: SliceEndpoint) -> Seen:
    conditions = endpoint.conditions
    if conditions.terminating:
        return Seen("Draining", "its pod is stopping")
    return Seen("Healthy") if conditions.ready is not False else Seen("Dead", "its pod is not ready")


def _backends_by_service(proxy: ProxyPlan | None) -> Mapping[tuple[str, str, str], list[Backend]]:
    found: dict[tuple[str, str, str], list[Backend]] = defaultdict(list)
    for backend in proxy.backends.values() if proxy is not None else ():
        found[backend.kind, backend.namespace, backend.service].append(backend)
    return found


def _slices_by_service(cluster: Cluster) -> Mapping[Key, list[EndpointSlice]]:
    found: dict[Key, list[EndpointSlice]] = defaultdict(list)
    for each in cluster.endpoint_slices.values():
        found[each.metadata.namespace, each.service].append(each)
    return found
