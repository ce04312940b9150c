"""The fleet: everything known of all clusters at one moment."""

from collections.abc import Mapping

from msgspec import Struct, field

from flota.fleet.backend import XBackend, XBackendTrafficPolicy
from flota.fleet.core import ConfigMap, EndpointSlice, Namespace, Secret, Service
from flota.fleet.drain import Drain
from flota.fleet.gateway import Gateway, GatewayClass, ListenerSet
from flota.fleet.mcs import ServiceExport, ServiceImport
from flota.fleet.meta import Key
from flota.fleet.pods import Deployment, Job, Pod
from flota.fleet.policy import BackendTLSPolicy, ReferenceGrant, TrafficPolicy
from flota.fleet.proxytemplate import ProxyTemplate
from flota.fleet.routes import GRPCRoute, HTTPRoute, TCPRoute, TLSRoute, UDPRoute
from flota.fleet.signals import Signals


class Cluster(Struct, frozen=True):
    """One Kubernetes cluster.

    Each mapping is replaced when one of its objects changes, and stays the same one otherwise: compare by identity.
    """

    name: str
    region: str
    zone: str | None = None
    gateway_classes: Mapping[Key, GatewayClass] = field(default_factory=dict)
    gateways: Mapping[Key, Gateway] = field(default_factory=dict)
    listener_sets: Mapping[Key, ListenerSet] = field(default_factory=dict)
    http_routes: Mapping[Key, HTTPRoute] = field(default_factory=dict)
    grpc_routes: Mapping[Key, GRPCRoute] = field(default_factory=dict)
    tls_routes: Mapping[Key, TLSRoute] = field(default_factory=dict)
    tcp_routes: Mapping[Key, TCPRoute] = field(default_factory=dict)
    udp_routes: Mapping[Key, UDPRoute] = field(default_factory=dict)
    reference_grants: Mapping[Key, ReferenceGrant] = field(default_factory=dict)
    backend_tls_policies: Mapping[Key, BackendTLSPolicy] = field(default_factory=dict)
    x_backends: Mapping[Key, XBackend] = field(default_factory=dict)
    x_backend_traffic_policies: Mapping[Key, XBackendTrafficPolicy] = field(default_factory=dict)
    services: Mapping[Key, Service] = field(default_factory=dict)
    endpoint_slices: Mapping[Key, EndpointSlice] = field(default_factory=dict)
    service_exports: Mapping[Key, ServiceExport] = field(default_factory=dict)
    service_imports: Mapping[Key, ServiceImport] = field(default_factory=dict)
    secrets: Mapping[Key, Secret] = field(default_factory=dict)
    config_maps: Mapping[Key, ConfigMap] = field(default_factory=dict)
    namespaces: Mapping[Key, Namespace] = field(default_factory=dict)
    pods: Mapping[Key, Pod] = field(default_factory=dict)
    deployments: Mapping[Key, Deployment] = field(default_factory=dict)
    jobs: Mapping[Key, Job] = field(default_factory=dict)
    traffic_policies: Mapping[Key, TrafficPolicy] = field(default_factory=dict)
    proxy_templates: Mapping[Key, ProxyTemplate] = field(default_factory=dict)


class Fleet(Struct, frozen=True):
    """All clusters of a ClusterSet."""

    name: str
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    distances: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(region, region) → round-trip milliseconds, both directions present."""
    policies: Mapping[Key, TrafficPolicy] = field(default_factory=dict)
    """Those at the top of the folder: they hold in every cluster."""
    drains: tuple[Drain, ...] = ()
    signals: Signals = field(default_factory=Signals)
    addresses: Mapping[tuple[str, str, str], tuple[str, ...]] = field(default_factory=dict)
    """(cluster, namespace, name) of a Gateway that leaves an address open → the addresses that were found for it. Of a Gateway with a
    proxy of its own: those that its load balancer has, whatever was asked for."""
    unusable: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(cluster, address) that a Gateway asks for → why nothing can listen there, a sentence."""
    own_proxies: frozenset[str] = frozenset()
    """Clusters in which each Gateway has a proxy of its own, in pods; in all others one proxy serves all Gateways."""
