"""The pod of a proxy: it passes PodSecurity `restricted`, writes nothing to its image, and lets connections finish before it goes."""

from collections.abc import Callable

from msgspec import Struct

from flota.fleet.proxytemplate import ProxyTemplateSpec
from flota.writeback.conditions import Json
from flota.writeback.names import XDS, selector

USER = 65532
_RESOURCES: Json = {"requests": {"cpu": "100m", "memory": "128Mi"}}
_NAME = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}


class PodSettings(Struct, frozen=True):
    """What all proxies have in common."""

    bootstrap: Callable[[str, str], str] = lambda _group, _drain: ""
    """(what its node ids begin with, path that begins its end) → JSON, handed over on the command line: another one is another pod."""
    image: str = ""
    command: tuple[str, ...] = ("envoy",)
    replicas: int = 2
    concurrency: int = 1
    log_level: str = "warning"
    ready_port: int = 0
    credentials: str = ""
    """Folder that the Secret with the certificate is put at."""
    run: str = ""
    """Folder for the admin socket, in memory."""
    drain_path: Callable[[str], str] = lambda _group: "/drain"
    """What its node ids begin with → path on the readiness port that begins the end of a proxy."""
    drain_s: int = 30


def pod_spec(settings: PodSettings, template: ProxyTemplateSpec, gateway: str, group: str, name: str) -> Json:
    """core/v1 PodSpec. `group`: what the node ids of the Gateway's proxies begin with; `name`: that of its objects."""
    spec: Json = {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.drain_s + 15,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(settings, template, group)],
        "volumes": [
            {"name": "xds", "secret": {"secretName": f"{name}{XDS}", "defaultMode": 0o440}},
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
        ],
        # A node or zone that fails takes as few as can be with it.
        "topologySpreadConstraints": [
            _spread("topology.kubernetes.io/zone", gateway),
            _spread("kubernetes.io/hostname", gateway),
        ],
    }
    if template.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": each} for each in template.image_pull_secrets]
    if template.node_selector:
        spec["nodeSelector"] = dict(template.node_selector)
    if template.tolerations:
        spec["tolerations"] = list(template.tolerations)
    if template.affinity is not None:
        spec["affinity"] = template.affinity
    if template.priority_class_name is not None:
        spec["priorityClassName"] = template.priority_class_name
    return spec


def _container(settings: PodSettings, template: ProxyTemplateSpec, group: str) -> Json:
    drain = settings.drain_path(group)
    ready = {"httpGet": {"path": "/ready", "port": settings.ready_port}}
    return {
        "name": "envoy",
        "image": template.image or settings.image,
        "command": list(settings.command),
        "args": [
            "--service-node", f"{group}/$(POD_NAME)",
            "--concurrency", str(settings.concurrency),
            "--log-level", settings.log_level,
            "--disable-hot-restart",
            "--drain-time-s", str(settings.drain_s),
            "--config-yaml", settings.bootstrap(group, drain),
        ],
        "env": [_NAME],
        # Only this one is named: a Gateway that gets another listener keeps its pods.
        "ports": [{"name": "ready", "containerPort": settings.ready_port, "protocol": "TCP"}],
        "startupProbe": {**ready, "periodSeconds": 1, "failureThreshold": 600},
        "readinessProbe": {**ready, "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 3},
        # Load balancers forget the pod while it still serves; the proxy asks clients to come again, and ends when they have had time.
        "lifecycle": {"preStop": {"httpGet": {"path": drain, "port": settings.ready_port}}},
        "resources": template.resources or _RESOURCES,
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "xds", "mountPath": settings.credentials, "readOnly": True},
            {"name": "run", "mountPath": settings.run},
        ],
    }


def _spread(key: str, gateway: str) -> Json:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(selector(gateway))},
    }
