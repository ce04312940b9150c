"""Which rules a kind has beyond its schema."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from flota.sources.admission import backends, gateways, http, pods, policies, services, settings, streams, templates, traffic
from flota.sources.admission.fault import Faults

RULES: Mapping[str, Callable[[Any], Faults]] = MappingProxyType(
    {
        "Gateway": gateways.gateway,
        "ListenerSet": gateways.listener_set,
        "HTTPRoute": http.http_route,
        "GRPCRoute": http.grpc_route,
        "TLSRoute": streams.tls_route,
        "TCPRoute": streams.tcp_route,
        "UDPRoute": streams.udp_route,
        "BackendTLSPolicy": policies.backend_tls_policy,
        "XBackend": backends.x_backend,
        "XBackendTrafficPolicy": backends.x_backend_traffic_policy,
        "ServiceExport": services.service_export,
        "ServiceImport": services.service_import,
        "TrafficPolicy": traffic.traffic_policy,
        "ProxyTemplate": templates.proxy_template,
        "ClusterSet": traffic.cluster_set,
        "Service": services.service,
        "EndpointSlice": services.endpoint_slice,
        "Secret": settings.secret,
        "ConfigMap": settings.config_map,
        "Pod": pods.pod,
        "Deployment": pods.deployment,
        "Job": pods.job,
    }
)
"""GatewayClass, ReferenceGrant and Namespace have none."""
