"""How the objects of a Gateway's proxies are called and labelled (Gateway API: GEP-1762, resource attachment)."""

import hashlib
from collections.abc import Mapping

GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"
CLASS_LABEL = "gateway.networking.k8s.io/gateway-class-name"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "flota"
XDS = "-xds"
"""What the name of the Secret with the certificate ends in."""
_LONGEST = 63
"""A label's value, and the name of a Service."""


def object_name(gateway: str, gateway_class: str) -> str:
    """Name of the Deployment, Service, ServiceAccount and PodDisruptionBudget. Two Gateways of a namespace never share one."""
    name = f"{gateway}-{gateway_class}".replace(".", "-")
    # A class with a dash could be the end of a Gateway's name: `a-b` of class `c`, `a` of class `b-c`.
    plain = "." not in gateway + gateway_class and "-" not in gateway_class and not name[0].isdigit() and len(name) <= _LONGEST
    return name if plain else _shortened(name if not name[0].isdigit() else f"gw-{name}", f"{gateway}/{gateway_class}")


def secret_name(gateway: str, gateway_class: str) -> str:
    """Name of the Secret with the proxies' certificate."""
    return f"{object_name(gateway, gateway_class)}{XDS}"


def label_value(name: str) -> str:
    """An object's name as the value of a label, which is at most 63 characters long."""
    return name if len(name) <= _LONGEST else _shortened(name, name)


def own_labels(gateway: str, gateway_class: str) -> Mapping[str, str]:
    """Labels that all of it has; the first two select its pods."""
    return {**selector(gateway), CLASS_LABEL: label_value(gateway_class)}


def selector(gateway: str) -> Mapping[str, str]:
    """Labels by which its pods are found."""
    return {GATEWAY_LABEL: label_value(gateway), MANAGED_BY: MANAGER}


def _shortened(text: str, whole: str) -> str:
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{text[: _LONGEST - len(digest) - 1].rstrip('-.')}-{digest}"
