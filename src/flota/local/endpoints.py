"""EndpointSlices from Services and pods, as the Kubernetes endpoint slice controller makes them. Pure."""

import hashlib
from collections.abc import Iterable, Mapping

from flota.fleet.core import (
    CoreObjectReference,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Service,
    ServicePort,
)
from flota.fleet.fleet import Cluster
from flota.fleet.meta import Key, ObjectMeta
from flota.local.podstate import PodState

MANAGED_BY = "pods.flota.dev"


def endpoint_slices(
    cluster: Cluster, pods: Iterable[PodState], previous: Mapping[Key, EndpointSlice] | None = None
) -> Mapping[Key, EndpointSlice]:
    """The slices of a cluster's Services with selectors. What is equal to `previous` is the same object, the whole too.

    `pods` may hold those of other clusters. Pods that ended, or have no address, are left out (discovery/v1).
    """
    known = previous if previous is not None else {}
    by_namespace: dict[str, list[PodState]] = {}
    for pod in pods:
        if pod.cluster == cluster.name and pod.ip and pod.phase in ("Pending", "Running"):
            by_namespace.setdefault(pod.namespace, []).append(pod)
    made: dict[Key, EndpointSlice] = {}
    for service in cluster.services.values():
        if service.spec.selector and service.spec.type != "ExternalName":
            for slice_ in _slices(service, by_namespace.get(service.metadata.namespace, ()), cluster.zone):
                name = (slice_.metadata.namespace, slice_.metadata.name)
                old = known.get(name)
                made[name] = old if old == slice_ else slice_
    if previous is not None and made.keys() == previous.keys() and all(made[name] is previous[name] for name in made):
        return previous
    return made


def _slices(service: Service, pods: Iterable[PodState], zone: str | None) -> list[EndpointSlice]:
    """One slice per set of resolved ports: pods may give a named port different numbers."""
    groups: dict[tuple[EndpointPort, ...], list[Endpoint]] = {}
    selector = service.spec.selector.items()
    for pod in sorted(pods, key=lambda pod: pod.name):
        if selector <= pod.labels.items():
            ports = tuple(port for port in (_resolve(port, pod) for port in service.spec.ports) if port is not None)
            groups.setdefault(ports, []).append(_endpoint(service, pod, zone))
    meta = service.metadata
    return [
        EndpointSlice(
            metadata=ObjectMeta(
                name=f"{meta.name}-{_short(ports)}",
                namespace=meta.namespace,
                labels={
                    "kubernetes.io/service-name": meta.name,
                    "endpointslice.kubernetes.io/managed-by": MANAGED_BY,
                },
            ),
            address_type="IPv4",
            endpoints=tuple(endpoints),
            ports=ports,
        )
        for ports, endpoints in groups.items()
        if ports
    ]


def _resolve(port: ServicePort, pod: PodState) -> EndpointPort | None:
    """The number a Service's port means for a pod; None where the pod has no port of that name and protocol."""
    target = port.target_port if port.target_port is not None else port.port
    if isinstance(target, str) and target.isdigit():
        target = int(target)
    if isinstance(target, str):
        named = [p.container_port for p in pod.ports if (p.name, p.protocol) == (target, port.protocol)]
        if not named:
            return None
        target = named[0]
    return EndpointPort(port=target, name=port.name, protocol=port.protocol, app_protocol=port.app_protocol)


def _endpoint(service: Service, pod: PodState, zone: str | None) -> Endpoint:
    published = service.spec.publish_not_ready_addresses
    return Endpoint(
        addresses=(pod.ip,),
        conditions=EndpointConditions(
            ready=published or (pod.ready and not pod.terminating), serving=pod.ready, terminating=pod.terminating
        ),
        zone=zone,
        target_ref=CoreObjectReference(kind="Pod", namespace=pod.namespace, name=pod.name),
    )


def _short(ports: tuple[EndpointPort, ...]) -> str:
    content = ",".join(f"{port.name}/{port.port}/{port.protocol}" for port in ports)
    return hashlib.sha256(content.encode()).hexdigest()[:6]
