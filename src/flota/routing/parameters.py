"""Parameters of Gateways and their classes (parametersRef): a ProxyTemplate of ours, or nothing that we know."""

from msgspec.structs import asdict, replace

from flota.fleet.fleet import Cluster
from flota.fleet.gateway import Gateway, GatewayClass
from flota.fleet.proxytemplate import ProxyTemplateSpec
from flota.fleet.references import FLOTA_GROUP
from flota.routing.listeners import Fault

_KIND = (FLOTA_GROUP, "ProxyTemplate")
_PLAIN = ProxyTemplateSpec()


def class_template(each: GatewayClass, cluster: Cluster) -> ProxyTemplateSpec | Fault | None:
    """What a class says of its Gateways' proxies; None = nothing. A class is of no namespace, so its reference has to name one."""
    ref = each.spec.parameters_ref
    if ref is None:
        return None
    if (ref.group, ref.kind) == _KIND and ref.namespace is None:
        return Fault("InvalidParameters", "spec.parametersRef names no namespace, and a ProxyTemplate is in one")
    return _template(ref.group, ref.kind, ref.namespace or "", ref.name, cluster)


def gateway_template(gateway: Gateway, gateway_class: GatewayClass | None, cluster: Cluster) -> ProxyTemplateSpec | Fault | None:
    """What a Gateway says of its proxies, each field before what its class says. A class whose own reference is bad spoils its Gateways."""
    given = class_template(gateway_class, cluster) if gateway_class else None
    if isinstance(given, Fault):
        return Fault("InvalidParameters", f"its GatewayClass {gateway.spec.gateway_class_name} is not accepted: {given.message}")
    ref = gateway.spec.infrastructure.parameters_ref if gateway.spec.infrastructure else None
    if ref is None:
        return given
    own = _template(ref.group, ref.kind, gateway.metadata.namespace, ref.name, cluster)
    return own if given is None or isinstance(own, Fault) else _over(given, own)


def _template(group: str, kind: str, namespace: str, name: str, cluster: Cluster) -> ProxyTemplateSpec | Fault:
    where = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
    if (group, kind) != _KIND:
        text = f"parametersRef: {where} is no ProxyTemplate of group {FLOTA_GROUP}, the only kind that Flota knows"
        return Fault("InvalidParameters", text)
    found = cluster.proxy_templates.get((namespace, name))
    return found.spec if found else Fault("InvalidParameters", f"parametersRef: {where} does not exist")


def _over(given: ProxyTemplateSpec, own: ProxyTemplateSpec) -> ProxyTemplateSpec:
    """The fields that `own` sets, over `given`."""
    return replace(given, **{name: value for name, value in asdict(own).items() if value != getattr(_PLAIN, name)})
