"""One cluster, indexed by what backends are resolved from."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from msgspec import Struct, field

from flota.fleet.backend import XBackend, XBackendTrafficPolicy
from flota.fleet.core import EndpointSlice
from flota.fleet.fleet import Cluster
from flota.fleet.meta import Key, key
from flota.fleet.pods import Deployment, Pod
from flota.fleet.policy import BackendTLSPolicy, TrafficPolicy
from flota.fleet.references import BackendObjectReference, BackendRef
from flota.fleet.routes import GRPCBackendRef, GRPCRoute, HTTPBackendRef, HTTPRoute, TCPRoute, TLSRoute, UDPRoute
from flota.routing.index import Index
from flota.routing.keys import BackendKey, PolicyKey, Target

Route = HTTPRoute | GRPCRoute | TLSRoute | TCPRoute | UDPRoute
Reference = HTTPBackendRef | GRPCBackendRef | BackendRef | BackendObjectReference
ROUTE_FIELDS = ("http_routes", "grpc_routes", "tls_routes", "tcp_routes", "udp_routes")


class Touched(Struct):
    """What other objects say something else about than before."""

    services: set[Key] = field(default_factory=set)
    """Services whose endpoints or ports may differ, for this cluster and for all that import them."""
    targets: set[Target] = field(default_factory=set)
    """Targets that only this cluster sees differently."""
    references: set[BackendKey] = field(default_factory=set)
    """Backends that routes began or ceased to refer to."""


class Member:
    """The indexes of one cluster. A memo: what they answer depends only on the cluster last handed in."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = Cluster(cluster.name, cluster.region, cluster.zone)
        self.slices: Index[EndpointSlice, Key] = Index(_service_of)
        self.tls_policies: Index[BackendTLSPolicy, Target] = Index(_tls_targets)
        self.authorities: Index[BackendTLSPolicy, Target] = Index(_authorities)
        self.policies: Index[TrafficPolicy, PolicyKey] = Index(policy_targets)
        self.x_policies: Index[XBackendTrafficPolicy, Target] = Index(traffic_targets)
        self.x_references: Index[XBackend, Target] = Index(_held_by)
        self.workloads: Index[Deployment | Pod, str] = Index(_namespace)
        self.routes: dict[str, Index[Route, BackendKey]] = {each: Index(references) for each in ROUTE_FIELDS}

    def refresh(self, cluster: Cluster) -> Touched:
        """Take over a newer picture of the cluster and say what it changes."""
        old, self.cluster = self.cluster, cluster
        touched = Touched(services=self.slices.refresh(cluster.endpoint_slices))
        touched.services |= differing(old.services, cluster.services)
        touched.services |= differing(old.service_exports, cluster.service_exports)
        touched.services |= self._probes(old, cluster)
        touched.targets |= {Target("ServiceImport", *each) for each in differing(old.service_imports, cluster.service_imports)}
        touched.targets |= self.tls_policies.refresh(cluster.backend_tls_policies)
        self.authorities.refresh(cluster.backend_tls_policies)
        touched.targets |= self.x_policies.refresh(cluster.x_backend_traffic_policies)
        self.x_references.refresh(cluster.x_backends)
        touched.targets |= {Target("XBackend", *each) for each in differing(old.x_backends, cluster.x_backends)}
        touched.targets |= self._trust(old, cluster)
        touched.targets |= {Target(*each[:3]) for each in self.policies.refresh(cluster.traffic_policies)}
        for name, index in self.routes.items():
            touched.references |= index.refresh(getattr(cluster, name))
        return touched

    def refers(self, backend: BackendKey) -> bool:
        """Whether any route refers to it."""
        return any(backend in index for index in self.routes.values())

    def references(self) -> set[BackendKey]:
        """All backends that routes refer to."""
        return set(chain.from_iterable(index.groups() for index in self.routes.values()))

    def _probes(self, old: Cluster, cluster: Cluster) -> set[Key]:
        """Services whose pods may be probed in another way: those of a namespace in which a workload changed."""
        if old.deployments is cluster.deployments and old.pods is cluster.pods:
            return set()
        merged: dict[Key, Deployment | Pod] = {("Deployment/" + ns, name): each for (ns, name), each in cluster.deployments.items()}
        merged |= {("Pod/" + ns, name): each for (ns, name), each in cluster.pods.items()}
        spaces = self.workloads.refresh(merged)
        return {each for each in cluster.services if each[0] in spaces} if spaces else set()

    def _trust(self, old: Cluster, cluster: Cluster) -> set[Target]:
        """Targets whose TLS takes roots or a certificate from an object that changed."""
        changed = {Target("ConfigMap", *each) for each in differing(old.config_maps, cluster.config_maps)}
        changed |= {Target("Secret", *each) for each in differing(old.secrets, cluster.secrets)}
        policies = chain.from_iterable(self.authorities.get(each) for each in changed)
        found = set(chain.from_iterable(map(_tls_targets, policies)))
        users: Iterable[XBackend] = chain.from_iterable(self.x_references.get(each) for each in changed)
        if old.reference_grants is not cluster.reference_grants:
            users = cluster.x_backends.values()
        return found | {Target("XBackend", *key(each.metadata)) for each in users}


def differing(old: Mapping[Key, object], new: Mapping[Key, object]) -> set[Key]:
    """Keys under which two mappings hold different objects, by identity."""
    if old is new:
        return set()
    changed = {each for each, value in new.items() if old.get(each) is not value}
    return changed | (old.keys() - new.keys())


def references(route: Route) -> Iterator[BackendKey]:
    """Every backend a route sends or mirrors to, or asks for consent."""
    for rule in route.spec.rules:
        for ref in rule.backend_refs:
            yield _backend_key(ref, route)
            yield from _beside(getattr(ref, "filters", ()), route)
        yield from _beside(getattr(rule, "filters", ()), route)


def policy_targets(policy: TrafficPolicy) -> Iterator[PolicyKey]:
    """What a TrafficPolicy is attached to; its targets are in its own namespace."""
    for ref in policy.spec.target_refs:
        yield PolicyKey(ref.kind, policy.metadata.namespace, ref.name, ref.section_name)


def _beside(filters: tuple[object, ...], route: Route) -> Iterator[BackendKey]:
    for each in filters:
        for part in (getattr(each, "request_mirror", None), getattr(each, "external_auth", None)):
            if part is not None:
                yield _backend_key(part.backend_ref, route)


def _backend_key(ref: Reference, route: Route) -> BackendKey:
    return BackendKey(ref.group, ref.kind, ref.namespace or route.metadata.namespace, ref.name, ref.port)


def _service_of(piece: EndpointSlice) -> Iterator[Key]:
    if piece.service:
        yield piece.metadata.namespace, piece.service


def _tls_targets(policy: BackendTLSPolicy) -> Iterator[Target]:
    for ref in policy.spec.target_refs:
        yield Target(ref.kind, policy.metadata.namespace, ref.name)


def _authorities(policy: BackendTLSPolicy) -> Iterator[Target]:
    for ref in policy.spec.validation.ca_certificate_refs:
        yield Target(ref.kind, policy.metadata.namespace, ref.name)


def traffic_targets(policy: XBackendTrafficPolicy) -> Iterator[Target]:
    """What an XBackendTrafficPolicy is about, in its own namespace."""
    for ref in policy.spec.target_refs:
        yield Target(ref.kind, policy.metadata.namespace, ref.name)


def _held_by(backend: XBackend) -> Iterator[Target]:
    """The objects that its TLS names."""
    tls, namespace = backend.spec.tls, backend.metadata.namespace
    if tls and tls.validation:
        for ref in tls.validation.ca_certificate_refs:
            yield Target(ref.kind, namespace, ref.name)
    if tls and tls.client_certificate_ref:
        own = tls.client_certificate_ref
        yield Target(own.kind, own.namespace or namespace, own.name)


def _namespace(workload: Deployment | Pod) -> Iterator[str]:
    yield workload.metadata.namespace
