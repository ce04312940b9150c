"""The proxies of one Gateway as Kubernetes objects. Pure: the same values give the same objects, so that a second apply changes nothing."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from flota.fleet.gateway import Gateway
from flota.fleet.proxytemplate import ProxyTemplateSpec
from flota.plan import Listener
from flota.writeback.conditions import Json
from flota.writeback.names import object_name, own_labels, selector
from flota.writeback.pods import PodSettings, pod_spec

Ports = tuple[tuple[str, int, int], ...]
"""(protocol, port of the Gateway, port of the container)."""


class Wanted(Struct, frozen=True):
    """All that the objects of a Gateway follow from."""

    gateway: Gateway
    uid: str
    group: str
    """What the node ids of its proxies begin with."""
    ports: Ports
    template: ProxyTemplateSpec = ProxyTemplateSpec()
    pods: PodSettings = PodSettings()


def ports(listeners: Iterable[Listener]) -> Ports:
    """Those of the plan's listeners that the Gateway's own proxies serve."""
    return tuple(sorted({(each.protocol, each.port, each.bind[1]) for each in listeners if each.bind is not None}))


def objects(wanted: Wanted) -> tuple[Json, ...]:
    """What to apply, in this order. Without a port that is served there is no Service to make; one that exists stays as it is."""
    made = [_service_account(wanted), _deployment(wanted), _disruption_budget(wanted)]
    if wanted.ports:
        made.append(_service(wanted))
    if wanted.template.autoscaling is not None:
        made.append(_autoscaler(wanted))
    return tuple(made)


def _deployment(wanted: Wanted) -> Json:
    gateway, template = wanted.gateway, wanted.template
    spec: Json = {
        "selector": {"matchLabels": dict(selector(gateway.metadata.name))},
        # A new pod takes over before an old one goes.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": _given(labels=labels(wanted), annotations={**_annotations(gateway), **template.pod_annotations}),
            "spec": pod_spec(wanted.pods, template, gateway.metadata.name, wanted.group, _name(wanted)),
        },
    }
    if template.autoscaling is None:
        spec["replicas"] = wanted.pods.replicas if template.replicas is None else template.replicas
    return {**_head(wanted, "apps/v1", "Deployment"), "spec": spec}


def _service(wanted: Wanted) -> Json:
    service = wanted.template.service
    spec: Json = {
        "type": service.type,
        "selector": dict(selector(wanted.gateway.metadata.name)),
        "ports": [
            {"name": f"{protocol.lower()}-{port}", "protocol": protocol, "port": port, "targetPort": target}
            for protocol, port, target in wanted.ports
        ],
    }
    if service.external_traffic_policy is not None and service.type != "ClusterIP":
        spec["externalTrafficPolicy"] = service.external_traffic_policy
    if service.load_balancer_class is not None:
        spec["loadBalancerClass"] = service.load_balancer_class
    asked = asked_address(wanted.gateway)
    if asked is not None and service.type == "LoadBalancer":
        spec["loadBalancerIP"] = asked
    made = _head(wanted, "v1", "Service")
    made["metadata"]["annotations"] = {**made["metadata"].get("annotations", {}), **service.annotations}
    return {**made, "spec": spec}


def asked_address(gateway: Gateway) -> str | None:
    """The address to ask a load balancer for: it has one, so of several the first."""
    return next((each.value for each in gateway.spec.addresses if each.type == "IPAddress" and each.value), None)


def _service_account(wanted: Wanted) -> Json:
    return {**_head(wanted, "v1", "ServiceAccount"), "automountServiceAccountToken": False}


def _disruption_budget(wanted: Wanted) -> Json:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": dict(selector(wanted.gateway.metadata.name))}}
    return {**_head(wanted, "policy/v1", "PodDisruptionBudget"), "spec": spec}


def _autoscaler(wanted: Wanted) -> Json:
    scaling = wanted.template.autoscaling
    assert scaling is not None  # noqa: S101
    target = {"type": "Utilization", "averageUtilization": scaling.target_cpu_percent}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": _name(wanted)},
        "minReplicas": scaling.min_replicas,
        "maxReplicas": scaling.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return {**_head(wanted, "autoscaling/v2", "HorizontalPodAutoscaler"), "spec": spec}


def labels(wanted: Wanted) -> dict[str, str]:
    """Labels of all of it: those that the Gateway's infrastructure asks for, and our own."""
    gateway = wanted.gateway
    asked = gateway.spec.infrastructure.labels if gateway.spec.infrastructure else {}
    return {**asked, **own_labels(gateway.metadata.name, gateway.spec.gateway_class_name)}


def metadata(wanted: Wanted, name: str) -> Json:
    """Of an object that goes when the Gateway goes."""
    meta = wanted.gateway.metadata
    owner = {"apiVersion": wanted.gateway.api_version, "kind": "Gateway", "name": meta.name, "uid": wanted.uid, "controller": True}
    said = {"name": name, "namespace": meta.namespace, "ownerReferences": [owner]}
    return {**said, **_given(labels=labels(wanted), annotations=_annotations(wanted.gateway))}


def _head(wanted: Wanted, api_version: str, kind: str) -> Json:
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata(wanted, _name(wanted))}


def _name(wanted: Wanted) -> str:
    return object_name(wanted.gateway.metadata.name, wanted.gateway.spec.gateway_class_name)


def _annotations(gateway: Gateway) -> dict[str, str]:
    return dict(gateway.spec.infrastructure.annotations) if gateway.spec.infrastructure else {}


def _given(**fields: Mapping[str, str]) -> Json:
    return {name: dict(value) for name, value in fields.items() if value}
