"""Rules of Gateway and ListenerSet (Gateway API v1.6.1 gateway_types.go, listenerset_types.go)."""

import re
from collections.abc import Sequence

from flota.fleet.gateway import (
    Gateway,
    GatewayInfrastructure,
    GatewaySpecAddress,
    Listener,
    ListenerNamespaces,
    ListenerSet,
    RouteNamespaces,
)
from flota.fleet.meta import LabelSelector
from flota.sources.admission.fault import Faults, Path, doubled, fault, quoted, text
from flota.sources.admission.names import is_ip, is_qualified, labels

_HOSTNAME = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_PLAIN = frozenset({"HTTP", "TCP", "UDP"})
_NAMELESS = frozenset({"TCP", "UDP"})


def gateway(given: Gateway) -> Faults:
    """All rules of a Gateway."""
    spec = given.spec
    yield from listeners(spec.listeners)
    yield from _addresses(spec.addresses)
    if spec.infrastructure:
        yield from _infrastructure(spec.infrastructure)
    if spec.allowed_listeners:
        yield from _namespaces(spec.allowed_listeners.namespaces, ("spec", "allowedListeners", "namespaces"))
    if spec.tls and spec.tls.frontend:
        place = ("spec", "tls", "frontend", "perPort")
        yield from doubled(place, spec.tls.frontend.per_port, lambda each: each.port, "port", "the port has its TLS")


def listener_set(given: ListenerSet) -> Faults:
    """All rules of a ListenerSet."""
    yield from listeners(given.spec.listeners)


def listeners(given: Sequence[Listener]) -> Faults:
    """Rules of listeners: each on its own, and distinct by name and by port, protocol and hostname."""
    path: Path = ("spec", "listeners")
    yield from doubled(path, given, lambda each: each.name, "name", "the name of a listener is taken")
    seen: dict[tuple[int, str, str | None], int] = {}
    for index, each in enumerate(given):
        place = (*path, index)
        before = seen.setdefault((each.port, each.protocol, each.hostname), index)
        if before != index:
            said = f"port, protocol and hostname are those of {text((*path, before))}; change one of them"
            yield fault(place, "Duplicate", said)
        yield from _listener(each, place)
        yield from _namespaces(each.allowed_routes.namespaces, (*place, "allowedRoutes", "namespaces"))


def _listener(given: Listener, path: Path) -> Faults:
    if given.hostname is not None:
        if given.protocol in _NAMELESS:
            yield fault((*path, "hostname"), "Forbidden", f"protocol {given.protocol} has no host names; remove it")
        if is_ip(given.hostname.removeprefix("*.")):
            yield fault((*path, "hostname"), "Invalid", f'"{given.hostname}" is an IP address; a host name is needed')
    if given.tls is None:
        if given.protocol in ("HTTPS", "TLS"):
            yield fault((*path, "tls"), "Required", f"is required for protocol {given.protocol}; add mode and certificateRefs")
        return
    if given.protocol in _PLAIN:
        yield fault((*path, "tls"), "Forbidden", f"protocol {given.protocol} has no TLS; remove it, or use HTTPS or TLS")
    if given.protocol == "HTTPS" and given.tls.mode != "Terminate":
        said = f"must be Terminate for protocol HTTPS, not {given.tls.mode}; use protocol TLS to pass connections through"
        yield fault((*path, "tls", "mode"), "Invalid", said)
    if given.tls.mode == "Terminate" and not given.tls.certificate_refs and not given.tls.options:
        yield fault((*path, "tls", "certificateRefs"), "Required", "is required for mode Terminate; name a Secret with the key pair")


def _namespaces(given: RouteNamespaces | ListenerNamespaces, path: Path) -> Faults:
    if given.selector:
        yield from selector(given.selector, (*path, "selector"))


def selector(given: LabelSelector, path: Path) -> Faults:
    """Rules of a label selector (apimachinery): In and NotIn need values, the others have none."""
    yield from labels((*path, "matchLabels"), given.match_labels)
    for index, each in enumerate(given.match_expressions):
        place = (*path, "matchExpressions", index)
        if not is_qualified(each.key):
            yield fault((*place, "key"), "Invalid", f"{quoted(each.key)} is not a label key of the form [domain/]name")
        if each.operator in ("In", "NotIn") and not each.values:
            yield fault((*place, "values"), "Required", f"is required for operator {each.operator}; add at least one value")
        elif each.operator in ("Exists", "DoesNotExist") and each.values:
            yield fault((*place, "values"), "Forbidden", f"operator {each.operator} has no values; remove them")


def _addresses(given: Sequence[GatewaySpecAddress]) -> Faults:
    path: Path = ("spec", "addresses")
    known: dict[tuple[str, str], int] = {}
    for index, each in enumerate(given):
        place = (*path, index, "value")
        if each.value is None:
            continue
        if each.type == "IPAddress" and not is_ip(each.value):
            yield fault(place, "Invalid", f"{quoted(each.value)} is not an IP address, as type IPAddress asks for")
        elif each.type == "Hostname" and not _HOSTNAME.match(each.value):
            yield fault(place, "Invalid", f"{quoted(each.value)} is not a host name in lower case, as type Hostname asks for")
        before = known.setdefault((each.type, each.value), index)
        if before != index and each.type in ("IPAddress", "Hostname"):
            yield fault(place, "Duplicate", f"{each.value} is already {text((*path, before))}; remove one of the two")


def _infrastructure(given: GatewayInfrastructure) -> Faults:
    """Keys as of labels, but for their prefix, which the API gives one character less."""
    for name, keys in (("labels", given.labels), ("annotations", given.annotations)):
        for key in keys:
            if not is_qualified(key) or len(key.partition("/")[0]) >= 253:
                said = (
                    "the key must be of the form [domain/]name, the domain of at most 252 characters, the name of 63 letters, digits, - _ ."
                )
                yield fault(("spec", "infrastructure", name, key), "Invalid", said)
