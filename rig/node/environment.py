"""The environment and the command of a container, as the kubelet gives them (core/v1 EnvVar, Container.command). Pure."""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from flota.local.environment import expand
from rig.api import Object

_MAPPED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")

Fetch = Callable[[str, str], Object | None]
"""(kind, name) → a ConfigMap or Secret of the pod's namespace, None when it is not there."""


class MissingError(LookupError):
    """Something that a pod refers to is not there (yet)."""


class Host(Struct, frozen=True):
    """What a pod may learn of the node it runs on."""

    node: str
    ip: str
    service: tuple[str, int]
    """Where pods reach the API server: the first address of the Service range, and 443."""


def environment(pod: Object, container: Object, ip: str, host: Host, image: Mapping[str, str], fetch: Fetch) -> dict[str, str]:
    """Of the image, then of the cluster, then `envFrom`, then `env`; the later wins. Raises MissingError."""
    found = {**image, "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"]}
    found |= {"KUBERNETES_SERVICE_HOST": host.service[0], "KUBERNETES_SERVICE_PORT": str(host.service[1])}
    own: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        own |= _many(source, fetch)
    for variable in container.get("env", ()):
        value = _one(variable, own, pod, container, ip, host, fetch)
        if value is not None:
            own[variable["name"]] = value
    return found | own


def command(container: Object, entrypoint: tuple[str, ...], variables: Mapping[str, str]) -> tuple[str, ...]:
    """`command` stands for the image's entry point, `args` follow either."""
    words = (*(container.get("command") or entrypoint), *container.get("args", ()))
    return tuple(expand(word, variables) for word in words)


def field(path: str, pod: Object, ip: str, host: Host) -> str:
    """A field of the pod (core/v1 ObjectFieldSelector). Raises MissingError for one that does not exist."""
    meta, spec = pod["metadata"], pod["spec"]
    plain = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": host.node,
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.hostIP": host.ip,
        "status.hostIPs": host.ip,
        "status.podIP": ip,
        "status.podIPs": ip,
    }
    if path in plain:
        return str(plain[path])
    if path in ("metadata.labels", "metadata.annotations"):
        return "\n".join(f'{name}="{value}"' for name, value in sorted(meta.get(path.removeprefix("metadata."), {}).items()))
    mapped = _MAPPED.fullmatch(path)
    if mapped is None:
        raise MissingError(f"field {path}")
    return str(meta.get(mapped[1], {}).get(mapped[2], ""))


def values(held: Object) -> dict[str, bytes]:
    """The content of a ConfigMap or Secret."""
    if held["kind"] == "Secret":
        return {name: base64.b64decode(text) for name, text in (held.get("data") or {}).items()}
    plain = {name: str(text).encode() for name, text in (held.get("data") or {}).items()}
    return plain | {name: base64.b64decode(text) for name, text in (held.get("binaryData") or {}).items()}


def _one(variable: Object, own: Mapping[str, str], pod: Object, container: Object, ip: str, host: Host, fetch: Fetch) -> str | None:
    source: dict[str, Any] = variable.get("valueFrom") or {}
    if not source:
        return expand(variable.get("value", ""), own)
    if ref := source.get("fieldRef"):
        return field(ref["fieldPath"], pod, ip, host)
    if ref := source.get("resourceFieldRef"):
        return _resource(ref, container)
    kind = "ConfigMap" if "configMapKeyRef" in source else "Secret"
    ref = source.get("configMapKeyRef") or source.get("secretKeyRef") or {}
    held = fetch(kind, ref["name"])
    content = values(held) if held is not None else {}
    if ref["key"] in content:
        return content[ref["key"]].decode("utf-8", "replace")
    if ref.get("optional"):
        return None
    raise MissingError(f"{kind} {ref['name']} key {ref['key']}")


def _many(source: Object, fetch: Fetch) -> dict[str, str]:
    kind, ref = ("ConfigMap", source["configMapRef"]) if "configMapRef" in source else ("Secret", source["secretRef"])
    held = fetch(kind, ref["name"])
    if held is None and not ref.get("optional"):
        raise MissingError(f"{kind} {ref['name']}")
    content = values(held) if held is not None else {}
    return {source.get("prefix", "") + name: raw.decode("utf-8", "replace") for name, raw in content.items()}


def _resource(ref: Object, container: Object) -> str:
    """A limit or request in units of the divisor; without one, what the kubelet takes the node to have."""
    group, _, name = ref["resource"].partition(".")
    held = (container.get("resources") or {}).get(group, {}).get(name)
    amount = quantity(held) if held is not None else {"cpu": 1.0, "memory": 1024.0**3}.get(name, 0.0)
    divisor = quantity(ref.get("divisor") or "1") or 1.0
    return str(-int(-amount // divisor))


_UNITS = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def quantity(text: str) -> float:
    """A Kubernetes quantity such as 100m or 64Mi."""
    unit = text.lstrip("0123456789.eE+-")
    return float(text.removesuffix(unit)) * _UNITS.get(unit, 1.0)
