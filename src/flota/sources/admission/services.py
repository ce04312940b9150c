"""Rules of Service, EndpointSlice, ServiceExport and ServiceImport, as the API server validates them."""

import ipaddress
from collections.abc import Hashable, Sequence

from flota.fleet.core import Endpoint, EndpointSlice, Service, ServicePort, ServiceSpec
from flota.fleet.mcs import ServiceExport, ServiceImport
from flota.fleet.values import IntOrString
from flota.sources.admission.fault import Faults, Path, doubled, fault, quoted
from flota.sources.admission.names import (
    annotations,
    is_ip,
    is_label,
    is_port_name,
    is_qualified,
    is_subdomain,
    label,
    labels,
    subdomain,
)

_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
_SPEC: Path = ("spec",)


def service(given: Service) -> Faults:
    """All rules of a Service (core/v1 ValidateService)."""
    spec = given.spec
    yield from _service_type(spec)
    yield from _cluster_ips(spec)
    if not spec.ports and spec.cluster_ip != "None" and spec.type != "ExternalName":
        yield fault((*_SPEC, "ports"), "Required", "is required unless the Service is headless or an ExternalName; add a port")
    yield from service_ports(spec.ports, (*_SPEC, "ports"))
    yield from labels((*_SPEC, "selector"), spec.selector)
    yield from _affinity(spec)
    yield from _outside(spec)
    if spec.traffic_distribution is not None and spec.traffic_distribution not in _DISTRIBUTIONS:
        said = f"{quoted(spec.traffic_distribution)} is not allowed; one of {', '.join(_DISTRIBUTIONS)}"
        yield fault((*_SPEC, "trafficDistribution"), "NotSupported", said)


def _service_type(spec: ServiceSpec) -> Faults:
    if spec.type == "ExternalName":
        if not is_subdomain(spec.external_name.removesuffix(".")):
            reason = "Invalid" if spec.external_name else "Required"
            said = f"{quoted(spec.external_name)} is not allowed; an ExternalName needs a host name in lower case"
            yield fault((*_SPEC, "externalName"), reason, said)
        if spec.cluster_ip or spec.cluster_ips:
            yield fault((*_SPEC, "clusterIP"), "Forbidden", "an ExternalName has no address of its own; remove it")
    elif spec.cluster_ip == "None" and spec.type != "ClusterIP":
        yield fault((*_SPEC, "clusterIP"), "Invalid", f"a Service of type {spec.type} cannot be headless; remove None")


def _cluster_ips(spec: ServiceSpec) -> Faults:
    for index, address in enumerate(spec.cluster_ips):
        if not is_ip(address) and not (address == "None" and len(spec.cluster_ips) == 1):
            yield fault((*_SPEC, "clusterIPs", index), "Invalid", f"{quoted(address)} is not an IP address, nor None alone")
    if spec.cluster_ip not in ("", "None") and not is_ip(spec.cluster_ip):
        yield fault((*_SPEC, "clusterIP"), "Invalid", f"{quoted(spec.cluster_ip)} is not an IP address, nor None")
    if spec.cluster_ips and spec.cluster_ip and spec.cluster_ips[0] != spec.cluster_ip:
        yield fault((*_SPEC, "clusterIPs", 0), "Invalid", f"must be that of clusterIP, {spec.cluster_ip}")
    if len(spec.cluster_ips) > 2:
        yield fault((*_SPEC, "clusterIPs"), "TooMany", "at most one address per IP family is allowed")
    yield from doubled((*_SPEC, "ipFamilies"), spec.ip_families, lambda family: family, "", "is already in the list")


def service_ports(ports: Sequence[ServicePort], path: Path) -> Faults:
    """Ports have distinct names, and distinct (protocol, number)."""
    yield from doubled(path, [each.name or (index,) for index, each in enumerate(ports)], _same, "name", "the name is taken")
    yield from doubled(path, ports, lambda each: (each.protocol, each.port), "port", "port and protocol are taken")
    for index, each in enumerate(ports):
        place = (*path, index)
        if each.name:
            yield from label((*place, "name"), each.name)
        elif len(ports) > 1:
            yield fault((*place, "name"), "Required", "is required where there are several ports; add it")
        if each.target_port is not None:
            yield from port_or_name(each.target_port, (*place, "targetPort"))
        yield from _app_protocol(each.app_protocol, place)


def _same(value: Hashable) -> Hashable:
    return value


def port_or_name(value: IntOrString, path: Path) -> Faults:
    """A port number, or the name of a container port."""
    if isinstance(value, int):
        if not 1 <= value <= 65535:
            yield fault(path, "Invalid", f"{value} is out of range; must be 1 to 65535")
    elif not is_port_name(value):
        hint = f"; write it without quotes: {value}" if value.isdigit() else ""
        said = f"{quoted(value)} is no port name: at most 15 lower-case letters, digits and single dashes, with a letter{hint}"
        yield fault(path, "Invalid", said)


def _app_protocol(value: str | None, path: Path) -> Faults:
    if value is not None and not is_qualified(value):
        yield fault((*path, "appProtocol"), "Invalid", f"{quoted(value)} is not allowed; must be a name such as kubernetes.io/h2c")


def _affinity(spec: ServiceSpec) -> Faults:
    config = spec.session_affinity_config
    path = (*_SPEC, "sessionAffinityConfig")
    if config is None:
        return
    if spec.session_affinity == "None":
        yield fault(path, "Forbidden", "belongs to sessionAffinity ClientIP; remove it, or set sessionAffinity")
    seconds = config.client_ip.timeout_seconds if config.client_ip else None
    if seconds is not None and not 1 <= seconds <= 86400:
        yield fault((*path, "clientIP", "timeoutSeconds"), "Invalid", f"{seconds} is out of range; must be 1 to 86400")


def _outside(spec: ServiceSpec) -> Faults:
    """What only Services that are reached from outside have."""
    for index, address in enumerate(spec.external_ips):
        if not is_ip(address):
            yield fault((*_SPEC, "externalIPs", index), "Invalid", f"{quoted(address)} is not an IP address")
    for index, block in enumerate(spec.load_balancer_source_ranges):
        if not _is_cidr(block.strip()):
            yield fault((*_SPEC, "loadBalancerSourceRanges", index), "Invalid", f"{quoted(block)} is no block such as 10.0.0.0/8")
    held = {
        "loadBalancerSourceRanges": bool(spec.load_balancer_source_ranges),
        "loadBalancerClass": spec.load_balancer_class is not None,
        "allocateLoadBalancerNodePorts": spec.allocate_load_balancer_node_ports is not None,
        "healthCheckNodePort": bool(spec.health_check_node_port),
    }
    for name, is_held in held.items():
        if is_held and spec.type != "LoadBalancer":
            yield fault((*_SPEC, name), "Forbidden", f"belongs to type LoadBalancer, not {spec.type}; remove it")
    if spec.external_traffic_policy and spec.type not in ("NodePort", "LoadBalancer") and not spec.external_ips:
        said = f"belongs to types NodePort and LoadBalancer, not {spec.type}; remove it"
        yield fault((*_SPEC, "externalTrafficPolicy"), "Forbidden", said)


def _is_cidr(value: str) -> bool:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return "/" in value


def endpoint_slice(given: EndpointSlice) -> Faults:
    """All rules of an EndpointSlice (discovery/v1); loopback addresses are allowed, as standalone pods have them."""
    if len(given.endpoints) > 1000:
        yield fault(("endpoints",), "TooMany", f"has {len(given.endpoints)} elements; at most 1000 are allowed; use more slices")
    for index, each in enumerate(given.endpoints):
        yield from _endpoint(each, given.address_type, ("endpoints", index))
    path: Path = ("ports",)
    yield from doubled(path, given.ports, lambda each: each.name, "name", "the name is taken")
    for index, port in enumerate(given.ports):
        if port.name:
            yield from label((*path, index, "name"), port.name)
        yield from _app_protocol(port.app_protocol, (*path, index))


def _endpoint(given: Endpoint, family: str, path: Path) -> Faults:
    if not 1 <= len(given.addresses) <= 100:
        yield fault((*path, "addresses"), "Required", "needs at least 1 and at most 100 addresses")
    for index, address in enumerate(given.addresses):
        yield from _address(address, family, (*path, "addresses", index))
    yield from doubled((*path, "addresses"), given.addresses, _same, "", "is already in the list")
    if given.hostname is not None:
        yield from label((*path, "hostname"), given.hostname)
    if given.node_name is not None:
        yield from subdomain((*path, "nodeName"), given.node_name)
    if given.hints and len(given.hints.for_zones) > 8:
        yield fault((*path, "hints", "forZones"), "TooMany", "at most 8 zones are allowed")


def _address(address: str, family: str, path: Path) -> Faults:
    if family == "FQDN":
        yield from subdomain(path, address)
        return
    version = 4 if family == "IPv4" else 6
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        yield fault(path, "Invalid", f"{quoted(address)} is not an {family} address, as addressType asks for")
        return
    if parsed.version != version or "%" in address:
        yield fault(path, "Invalid", f"{quoted(address)} is not an {family} address, as addressType asks for")
    elif parsed.is_unspecified or parsed.is_multicast or parsed.is_link_local:
        yield fault(path, "Invalid", f"{address} is unspecified, multicast or link-local; must be the address of one endpoint")


def service_export(given: ServiceExport) -> Faults:
    """Rules of a ServiceExport: it carries the name of a Service."""
    if not is_label(given.metadata.name):
        said = f"{quoted(given.metadata.name)} cannot be the name of a Service: at most 63 lower-case letters, digits and dashes"
        yield fault(("metadata", "name"), "Invalid", said)
    yield from labels(("spec", "exportedLabels"), given.spec.exported_labels)
    yield from annotations(("spec", "exportedAnnotations"), given.spec.exported_annotations)


def service_import(given: ServiceImport) -> Faults:
    """Rules of a ServiceImport (mcs v1beta1)."""
    path: Path = ("spec", "ports")
    ports = given.spec.ports
    yield from doubled(path, ports, lambda each: (each.protocol, each.port), "port", "port and protocol are taken")
    yield from doubled(path, [each.name or (index,) for index, each in enumerate(ports)], _same, "name", "the name is taken")
    for index, port in enumerate(ports):
        if port.name:
            yield from label((*path, index, "name"), port.name)
        yield from _app_protocol(port.app_protocol, (*path, index))
    for index, address in enumerate(given.spec.ips):
        if not is_ip(address):
            yield fault(("spec", "ips", index), "Invalid", f"{quoted(address)} is not an IP address")
