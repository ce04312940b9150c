"""The port that a reference means, and everything behind it: of a Service, or of a ServiceImport (GEP-1748)."""

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from flota.fleet.core import Service
from flota.fleet.mcs import ServiceImport
from flota.fleet.references import MCS_GROUP, X_GROUP
from flota.plan.backends import HealthCheck, Locality
from flota.routing.keys import BackendKey
from flota.routing.places import exporters, matching_port, of_import, of_service
from flota.routing.probes import readiness
from flota.routing.view import ClusterView

Reason = Literal["BackendNotFound", "InvalidKind", "UnsupportedProtocol", "InvalidBackendTLS"]
"""Of the condition ResolvedRefs of the route that refers."""


class Unresolved(Struct, frozen=True):
    """Why a reference stands for nothing; its share is answered 500."""

    reason: Reason
    message: str


class Port(Struct, frozen=True):
    """A port with all endpoints behind it. `protocol`: TCP, UDP or SCTP."""

    name: str
    number: int
    protocol: str
    app_protocol: str | None
    places: tuple[Locality, ...]
    checks: tuple[HealthCheck | None, ...]
    """How the pods of each cluster behind it are probed for readiness; None = in no way a proxy can repeat."""


class _Numbered(Protocol):
    @property
    def port(self) -> int: ...
    @property
    def protocol(self) -> str: ...


def find_port(view: ClusterView, ref: BackendKey, transport: str) -> Port | Unresolved:
    """The port that `ref` means; where TCP and UDP share the number, the one of `transport`."""
    key = (ref.namespace, ref.name)
    if (ref.group, ref.kind) == ("", "Service"):
        service = view.get("services", key)
        return _of_service(view, ref, service, transport) if isinstance(service, Service) else _missing(ref)
    if (ref.group, ref.kind) == (MCS_GROUP, "ServiceImport"):
        imported = view.get("service_imports", key)
        return _of_import(view, ref, imported, transport) if isinstance(imported, ServiceImport) else _missing(ref)
    kind = f"{ref.group}/{ref.kind}" if ref.group else ref.kind
    known = f"Service, ServiceImport of group {MCS_GROUP}, or XBackend of group {X_GROUP}"
    return Unresolved("InvalidKind", f"{kind} cannot be a backend; use {known}")


def called(ref: BackendKey) -> str:
    """The reference in words."""
    return f"{ref.kind} {ref.namespace}/{ref.name}" + ("" if ref.port is None else f" port {ref.port}")


def _missing(ref: BackendKey) -> Unresolved:
    return Unresolved("BackendNotFound", f"{ref.kind} {ref.namespace}/{ref.name} does not exist")


def _of_service(view: ClusterView, ref: BackendKey, service: Service, transport: str) -> Port | Unresolved:
    if service.spec.type == "ExternalName":
        message = f"{called(ref)} is an ExternalName, which no Gateway may follow (CVE-2021-25740); give it EndpointSlices"
        return Unresolved("InvalidKind", message)
    index = _pick(ref, service.spec.ports, transport)
    if isinstance(index, Unresolved):
        return index
    port = service.spec.ports[index]
    key = (ref.namespace, ref.name)
    checks = (readiness(view.member, key, port),)
    return Port(port.name, port.port, port.protocol, port.app_protocol, of_service(view, key, port), checks)


def _of_import(view: ClusterView, ref: BackendKey, imported: ServiceImport, transport: str) -> Port | Unresolved:
    index = _pick(ref, imported.spec.ports, transport)
    if isinstance(index, Unresolved):
        return index
    port = imported.spec.ports[index]
    key = (ref.namespace, ref.name)
    checks: list[HealthCheck | None] = []
    app_protocol = port.app_protocol
    for member in exporters(view, key):
        own = matching_port(member.cluster.services[key], port)
        if own is not None:
            app_protocol = app_protocol or own.app_protocol
            checks.append(readiness(member, key, own))
    return Port(port.name, port.port, port.protocol, app_protocol, of_import(view, key, port), tuple(checks))


def _pick(ref: BackendKey, ports: Sequence[_Numbered], transport: str) -> int | Unresolved:
    """Index of the port that is meant; where TCP and UDP share the number, the one of the transport."""
    if ref.port is None:
        if ref.kind == "ServiceImport" and len(ports) == 1:
            return 0
        return Unresolved("BackendNotFound", f"the reference to {ref.kind} {ref.namespace}/{ref.name} names no port")
    able = [index for index, each in enumerate(ports) if each.port == ref.port]
    if not able:
        known = ", ".join(str(each.port) for each in ports) or "none"
        return Unresolved("BackendNotFound", f"{called(ref)} does not exist; its ports: {known}")
    return next((index for index in able if ports[index].protocol == transport), able[0])
