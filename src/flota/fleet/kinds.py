"""Every kind that Flota knows: its group, served versions, type, and place in a `Cluster`."""

from typing import Literal

from msgspec import Struct

from flota.fleet.backend import XBackend, XBackendTrafficPolicy
from flota.fleet.core import ConfigMap, EndpointSlice, Namespace, Secret, Service
from flota.fleet.gateway import Gateway, GatewayClass, ListenerSet
from flota.fleet.mcs import ServiceExport, ServiceImport
from flota.fleet.pods import Deployment, Job, Pod
from flota.fleet.policy import BackendTLSPolicy, ClusterSet, ReferenceGrant, TrafficPolicy
from flota.fleet.proxytemplate import ProxyTemplate
from flota.fleet.references import FLOTA_GROUP, GATEWAY_GROUP, MCS_GROUP, X_GROUP
from flota.fleet.routes import GRPCRoute, HTTPRoute, TCPRoute, TLSRoute, UDPRoute

Support = Literal["Used", "NotYet", "Ignored"]


class Kind(Struct, frozen=True):
    """A kind. `versions`: served ones, the preferred first. `struct` None and `collection` empty where not used."""

    kind: str
    group: str
    versions: tuple[str, ...]
    struct: type[Struct] | None = None
    collection: str = ""
    """Field of `Cluster` that holds its objects."""
    namespaced: bool = True
    support: Support = "Used"
    """Used; NotYet = known and checked, without effect so far; Ignored = Kubernetes' own, of no use here."""

    @property
    def api_version(self) -> str:
        """Group and preferred version, as in `apiVersion`."""
        return f"{self.group}/{self.versions[0]}" if self.group else self.versions[0]


KINDS: tuple[Kind, ...] = (
    Kind("GatewayClass", GATEWAY_GROUP, ("v1", "v1beta1"), GatewayClass, "gateway_classes", namespaced=False),
    Kind("Gateway", GATEWAY_GROUP, ("v1", "v1beta1"), Gateway, "gateways"),
    Kind("ListenerSet", GATEWAY_GROUP, ("v1",), ListenerSet, "listener_sets"),
    Kind("HTTPRoute", GATEWAY_GROUP, ("v1", "v1beta1"), HTTPRoute, "http_routes"),
    Kind("GRPCRoute", GATEWAY_GROUP, ("v1",), GRPCRoute, "grpc_routes"),
    Kind("TLSRoute", GATEWAY_GROUP, ("v1", "v1alpha3", "v1alpha2"), TLSRoute, "tls_routes"),
    Kind("TCPRoute", GATEWAY_GROUP, ("v1", "v1alpha2"), TCPRoute, "tcp_routes"),
    Kind("UDPRoute", GATEWAY_GROUP, ("v1", "v1alpha2"), UDPRoute, "udp_routes"),
    Kind("ReferenceGrant", GATEWAY_GROUP, ("v1", "v1beta1"), ReferenceGrant, "reference_grants"),
    Kind("BackendTLSPolicy", GATEWAY_GROUP, ("v1", "v1alpha3"), BackendTLSPolicy, "backend_tls_policies"),
    Kind("XBackend", X_GROUP, ("v1alpha1",), XBackend, "x_backends"),
    Kind("XBackendTrafficPolicy", X_GROUP, ("v1alpha1",), XBackendTrafficPolicy, "x_backend_traffic_policies"),
    Kind("XMesh", X_GROUP, ("v1alpha1",), namespaced=False, support="NotYet"),
    Kind("ServiceExport", MCS_GROUP, ("v1beta1", "v1alpha1"), ServiceExport, "service_exports"),
    Kind("ServiceImport", MCS_GROUP, ("v1beta1", "v1alpha1"), ServiceImport, "service_imports"),
    Kind("TrafficPolicy", FLOTA_GROUP, ("v1alpha1",), TrafficPolicy, "traffic_policies"),
    Kind("ProxyTemplate", FLOTA_GROUP, ("v1alpha1",), ProxyTemplate, "proxy_templates"),
    Kind("ClusterSet", FLOTA_GROUP, ("v1alpha1",), ClusterSet, namespaced=False),
    Kind("Namespace", "", ("v1",), Namespace, "namespaces", namespaced=False),
    Kind("Service", "", ("v1",), Service, "services"),
    Kind("Secret", "", ("v1",), Secret, "secrets"),
    Kind("ConfigMap", "", ("v1",), ConfigMap, "config_maps"),
    Kind("Pod", "", ("v1",), Pod, "pods"),
    Kind("EndpointSlice", "discovery.k8s.io", ("v1",), EndpointSlice, "endpoint_slices"),
    Kind("Deployment", "apps", ("v1",), Deployment, "deployments"),
    Kind("Job", "batch", ("v1",), Job, "jobs"),
)
"""In the order in which people read them."""

OUR_GROUPS = frozenset({GATEWAY_GROUP, X_GROUP, MCS_GROUP, FLOTA_GROUP})
"""Groups in which an unknown kind is a mistake. Elsewhere it is somebody else's, and ignored."""

_BY_NAME = {(each.group, each.kind): each for each in KINDS}


def find(group: str, kind: str) -> Kind | None:
    """The kind of that group and name (both as in manifests), or None."""
    return _BY_NAME.get((group, kind))
