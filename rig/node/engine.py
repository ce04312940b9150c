"""What every pod of a node needs to run, and what it is told about them."""

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from flota.clock import Clock
from flota.local.process import Runner
from rig.api import Api, Object, RefusedError
from rig.build import Say
from rig.node.environment import Fetch, Host
from rig.node.volumes import Token, tokens_wanted


class Engine(Struct, frozen=True):
    """Of one cluster's nodes."""

    cluster: str
    api: Api
    runner: Runner
    clock: Clock
    logs: Path
    """A folder for the output of containers; outlives the rig."""
    scratch: Path
    """A file system of its own for what pods write; vanishes with the rig."""
    images: Mapping[str, Path]
    """Further images: name → program."""
    resolver: str
    """The address of the cluster's DNS."""
    say: Say
    host: Callable[[Object], Host]
    """What a pod may learn of its node."""

    def now(self) -> str:
        """RFC 3339 in UTC, to the second, as Kubernetes writes times."""
        return self.clock.now().astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_path(pod: Object, sub: str = "") -> str:
    """Of a pod in the API."""
    meta = pod["metadata"]
    return f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}" + (f"/{sub}" if sub else "")


_REFERENCES = {"secretRef": "Secret", "secretKeyRef": "Secret", "configMapRef": "ConfigMap", "configMapKeyRef": "ConfigMap"}


def references(pod: Object) -> frozenset[tuple[str, str]]:
    """(kind, name) of the ConfigMaps and Secrets that a pod refers to."""
    found: set[tuple[str, str]] = set()
    spec = pod["spec"]
    for volume in spec.get("volumes", ()):
        for source in (volume, *volume.get("projected", {}).get("sources", ())):
            if "secret" in source:
                found.add(("Secret", source["secret"].get("secretName") or source["secret"].get("name")))
            if "configMap" in source:
                found.add(("ConfigMap", source["configMap"]["name"]))
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        sources = [*container.get("envFrom", ()), *((each.get("valueFrom") or {}) for each in container.get("env", ()))]
        for source in sources:
            found |= {(kind, source[key]["name"]) for key, kind in _REFERENCES.items() if key in source}
    return frozenset(found)


async def fetched(api: Api, pod: Object) -> Fetch:
    """All that a pod refers to, as it is now. Raises RefusedError, aiohttp.ClientError, TimeoutError."""
    held: dict[tuple[str, str], Object] = {}
    namespace = pod["metadata"]["namespace"]
    for kind, name in references(pod):
        path = f"/api/v1/namespaces/{namespace}/{kind.lower()}s/{name}"
        try:
            held[kind, name] = await api.call("GET", path)
        except RefusedError as refused:
            if refused.status != 404:
                raise
    return lambda kind, name: held.get((kind, name))


async def tokens(api: Api, pod: Object) -> dict[Token, str]:
    """The service account tokens that a pod's volumes want, new ones, bound to the pod."""
    meta = pod["metadata"]
    account = pod["spec"].get("serviceAccountName") or "default"
    path = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{account}/token"
    found: dict[Token, str] = {}
    for audience, seconds in tokens_wanted(pod):
        bound = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
        spec = {"audiences": [audience] if audience else [], "expirationSeconds": seconds, "boundObjectRef": bound}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        found[audience, seconds] = (await api.call("POST", path, request))["status"]["token"]
    return found
