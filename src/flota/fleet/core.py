"""Namespace, Service, EndpointSlice, Secret, ConfigMap (core/v1, discovery/v1); pods come from `pods`."""

from typing import Literal

from msgspec import field

from flota.fleet.meta import ObjectMeta, Part
from flota.fleet.pods import Deployment, Job, Pod
from flota.fleet.values import Int32, IntOrString, IPFamily, Natural, PortNumber, Protocol

__all__ = ["CERTIFICATE", "KEY", "ConfigMap", "Deployment", "EndpointSlice", "Job", "Namespace", "Pod", "Secret", "Service"]


class NamespaceSpec(Part, frozen=True):
    """Nothing in it decides anything here."""

    finalizers: tuple[str, ...] = ()


class Namespace(Part, frozen=True, omit_defaults=False):
    """A namespace; its labels are what listeners select by. Cluster-scoped."""

    metadata: ObjectMeta
    spec: NamespaceSpec = NamespaceSpec()
    api_version: str = "v1"
    kind: str = "Namespace"


class ClientIPConfig(Part, frozen=True):
    """How long a client stays with its endpoint, in seconds."""

    timeout_seconds: Int32 | None = None


class SessionAffinityConfig(Part, frozen=True):
    """Session affinity in detail."""

    client_ip: ClientIPConfig | None = field(name="clientIP", default=None)


class ServicePort(Part, frozen=True):
    """A port of a Service. `target_port` None = `port`; a string is the name of a container port."""

    port: PortNumber
    name: str = ""
    protocol: Protocol = "TCP"
    app_protocol: str | None = None
    target_port: IntOrString | None = None
    node_port: Natural | None = None


class ServiceSpec(Part, frozen=True):
    """core/v1 ServiceSpec, all fields."""

    ports: tuple[ServicePort, ...] = ()
    selector: dict[str, str] = field(default_factory=dict)
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    cluster_ip: str = field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] = field(name="clusterIPs", default=())
    external_ips: tuple[str, ...] = field(name="externalIPs", default=())
    external_name: str = ""
    session_affinity: Literal["None", "ClientIP"] = "None"
    session_affinity_config: SessionAffinityConfig | None = None
    publish_not_ready_addresses: bool = False
    ip_families: tuple[IPFamily, ...] = ()
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None
    internal_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    external_traffic_policy: Literal["Cluster", "Local"] | None = None
    traffic_distribution: str | None = None
    load_balancer_ip: str = field(name="loadBalancerIP", default="")
    load_balancer_class: str | None = None
    load_balancer_source_ranges: tuple[str, ...] = ()
    allocate_load_balancer_node_ports: bool | None = None
    health_check_node_port: Natural = 0


class Service(Part, frozen=True, omit_defaults=False):
    """A set of endpoints behind a name."""

    metadata: ObjectMeta
    spec: ServiceSpec = ServiceSpec()
    api_version: str = "v1"
    kind: str = "Service"


class EndpointConditions(Part, frozen=True):
    """discovery/v1: None = unknown. Ready None counts as ready; serving None as `ready`; terminating None as false."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(Part, frozen=True):
    """A zone that should use the endpoint."""

    name: str


class ForNode(Part, frozen=True):
    """A node that should use the endpoint."""

    name: str


class EndpointHints(Part, frozen=True):
    """Who should use the endpoint."""

    for_zones: tuple[ForZone, ...] = ()
    for_nodes: tuple[ForNode, ...] = ()


class CoreObjectReference(Part, frozen=True):
    """core/v1 ObjectReference: the Pod behind an endpoint."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    resource_version: str = ""
    field_path: str = ""


class Endpoint(Part, frozen=True):
    """One or more addresses of one thing; only the first is used (discovery/v1)."""

    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None
    target_ref: CoreObjectReference | None = None
    deprecated_topology: dict[str, str] = field(default_factory=dict)


class EndpointPort(Part, frozen=True):
    """A port of all the slice's endpoints; its name is that of the Service's port."""

    port: PortNumber | None = None
    name: str = ""
    protocol: Protocol = "TCP"
    app_protocol: str | None = None


class EndpointSlice(Part, frozen=True, omit_defaults=False):
    """Endpoints of the Service that the label `kubernetes.io/service-name` names."""

    metadata: ObjectMeta
    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()
    api_version: str = "discovery.k8s.io/v1"
    kind: str = "EndpointSlice"

    @property
    def service(self) -> str:
        """Name of the Service it belongs to; empty if it says none."""
        return self.metadata.labels.get("kubernetes.io/service-name", "")


CERTIFICATE = "tls.crt"
KEY = "tls.key"
"""What a Secret of the type kubernetes.io/tls holds."""


class Secret(Part, frozen=True, omit_defaults=False):
    """Keys and certificates. `data` is decoded: `stringData` has been merged into it, as the API server does."""

    metadata: ObjectMeta
    data: dict[str, bytes] = field(default_factory=dict)
    type: str = "Opaque"
    immutable: bool | None = None
    string_data: dict[str, str] = field(default_factory=dict)
    api_version: str = "v1"
    kind: str = "Secret"


class ConfigMap(Part, frozen=True, omit_defaults=False):
    """Settings, or CA certificates."""

    metadata: ObjectMeta
    data: dict[str, str] = field(default_factory=dict)
    binary_data: dict[str, bytes] = field(default_factory=dict)
    immutable: bool | None = None
    api_version: str = "v1"
    kind: str = "ConfigMap"
