"""Small fleets for the tests of backends, tiers, drains and what-if."""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from flota.fleet.core import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Service,
    ServicePort,
    ServiceSpec,
)
from flota.fleet.fleet import Cluster, Fleet
from flota.fleet.mcs import ServiceExport, ServiceImport, ServiceImportPort, ServiceImportSpec
from flota.fleet.meta import ObjectMeta
from flota.fleet.policy import (
    LocalPolicyTargetReferenceWithSectionName,
    TrafficPolicy,
    TrafficPolicySpec,
)
from flota.fleet.references import MCS_GROUP
from flota.plan import Endpoints
from flota.routing.backends import Resolved, Unresolved, resolve
from flota.routing.view import BackendKey, RouteKey, Views

KEY = ("default", "shop")
READY = EndpointConditions(ready=True)
NOT_READY = EndpointConditions(ready=False)
STOPPING = EndpointConditions(ready=False, serving=True, terminating=True)
ROUTE = RouteKey("HTTPRoute", "default", "shop", "main")
IMPORT = BackendKey(MCS_GROUP, "ServiceImport", "default", "shop", 80)
SERVICE = BackendKey("", "Service", "default", "shop", 80)
IMPORTED = ServiceImport(ObjectMeta("shop"), ServiceImportSpec("ClusterSetIP", (ServiceImportPort(80, "http"),)))


def endpoint(address: str, zone: str | None = None, conditions: EndpointConditions = READY) -> Endpoint:
    return Endpoint((address,), conditions, zone=zone)


def piece(name: str, endpoints: Iterable[Endpoint], port: int = 8080, service: str = "shop") -> EndpointSlice:
    meta = ObjectMeta(name, labels={"kubernetes.io/service-name": service})
    return EndpointSlice(meta, "IPv4", tuple(endpoints), (EndpointPort(port, "http"),))


def service(*ports: ServicePort, name: str = "shop", **spec: object) -> Service:
    return Service(ObjectMeta(name), ServiceSpec(ports=ports or (ServicePort(80, "http"),), **spec))


def cluster(
    name: str, region: str, endpoints: int | Iterable[Endpoint] = 2, *, zone: str | None = None, exported: bool = True, **more: object
) -> Cluster:
    """A cluster with Service `default/shop`, exported and imported, with endpoints 10.N.0.1 and on, N from its name."""
    if isinstance(endpoints, int):
        endpoints = [endpoint(f"10.{sum(map(ord, name)) % 250}.0.{number + 1}") for number in range(endpoints)]
    fields: dict[str, object] = {
        "services": {KEY: service()},
        "endpoint_slices": {("default", "shop-1"): piece("shop-1", endpoints)},
        "service_exports": {KEY: ServiceExport(ObjectMeta("shop"))} if exported else {},
        "service_imports": {KEY: IMPORTED},
    }
    return Cluster(name, region, zone, **(fields | more))


def fleet(*clusters: Cluster, distances: Mapping[tuple[str, str], float] | None = None, **more: object) -> Fleet:
    both = {pair: rtt for (one, other), rtt in (distances or {}).items() for pair in ((one, other), (other, one))}
    return Fleet("shop", {each.name: each for each in clusters}, both, **more)


def policy(
    name: str = "shop", kind: str = "ServiceImport", target: str = "shop", section: str | None = None, **spec: object
) -> TrafficPolicy:
    group = {"ServiceImport": MCS_GROUP, "Service": ""}.get(kind, "gateway.networking.k8s.io")
    ref = LocalPolicyTargetReferenceWithSectionName(group, kind, target, section)
    return TrafficPolicy(ObjectMeta(name), TrafficPolicySpec((ref,), **spec))


def with_policy(base: Fleet, *policies: TrafficPolicy) -> Fleet:
    return replace(base, policies={(each.metadata.namespace, each.metadata.name): each for each in policies})


def outcome(of: Fleet, source: str = "us", ref: BackendKey = IMPORT, hint: str = "HTTP") -> Resolved | Unresolved:
    return resolve(Views().refresh(of)[source], ref, ROUTE, hint)


def resolved(of: Fleet, source: str = "us", ref: BackendKey = IMPORT, hint: str = "HTTP") -> Resolved:
    found = outcome(of, source, ref, hint)
    assert isinstance(found, Resolved), found
    return found


def places(endpoints: Endpoints) -> list[list[str]]:
    """Clusters by tier, with `/zone` and ` xWEIGHT` where they have one."""
    return [
        [
            f"{each.cluster}{'/' + each.zone if each.zone else ''}{f' x{each.weight}' if each.weight is not None else ''}"
            for each in tier.localities
        ]
        for tier in endpoints.tiers
    ]
