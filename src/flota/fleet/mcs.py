"""ServiceExport and ServiceImport (Multi-Cluster Services API v1beta1, KEP-1645)."""

from typing import Annotated, Literal

from msgspec import Meta, field

from flota.fleet.core import SessionAffinityConfig
from flota.fleet.meta import ObjectMeta, Part
from flota.fleet.values import IPFamily, PortNumber, Protocol


class ServiceExportSpec(Part, frozen=True):
    """Labels and annotations that the imports get."""

    exported_labels: dict[str, str] = field(default_factory=dict)
    exported_annotations: dict[str, str] = field(default_factory=dict)


class ServiceExport(Part, frozen=True, omit_defaults=False):
    """Makes the Service of the same name available in the whole cluster set."""

    metadata: ObjectMeta
    spec: ServiceExportSpec = ServiceExportSpec()
    api_version: str = "multicluster.x-k8s.io/v1beta1"
    kind: str = "ServiceExport"


class ServiceImportPort(Part, frozen=True):
    """A port of the imported service."""

    port: PortNumber
    name: str = ""
    protocol: Protocol = "TCP"
    app_protocol: str | None = None


class ServiceImportSpec(Part, frozen=True):
    """The service as the cluster set sees it."""

    type: Literal["ClusterSetIP", "Headless"]
    ports: tuple[ServiceImportPort, ...]
    ips: Annotated[tuple[str, ...], Meta(max_length=2)] = ()
    ip_families: Annotated[tuple[IPFamily, ...], Meta(max_length=2)] = ()
    session_affinity: Literal["None", "ClientIP"] = "None"
    session_affinity_config: SessionAffinityConfig | None = None
    internal_traffic_policy: Literal["Cluster", "Local"] | None = None
    traffic_distribution: str | None = None


class ServiceImport(Part, frozen=True, omit_defaults=False):
    """A service of the cluster set: its endpoints are those of all clusters that export it."""

    metadata: ObjectMeta
    spec: ServiceImportSpec
    api_version: str = "multicluster.x-k8s.io/v1beta1"
    kind: str = "ServiceImport"
