"""The proxies of Gateways to the API server: applied when what is wanted differs from what was applied, or somebody took it away."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import msgspec
from msgspec import Struct

from flota.clock import Clock
from flota.fleet.gateway import Gateway
from flota.fleet.meta import Key
from flota.fleet.proxytemplate import ProxyTemplateSpec
from flota.kube.client import Client
from flota.kube.errors import ApiError
from flota.kube.resource import Resource
from flota.latest import Latest
from flota.plan import GatewayStatus, Listener, ObjectRef
from flota.writeback.authority import SECRETS, files, files_to_pair, secret
from flota.writeback.conditions import Json
from flota.writeback.errands import Errands
from flota.writeback.held import Heldings
from flota.writeback.names import secret_name
from flota.writeback.picture import Picture
from flota.writeback.pki import Pair, good, issue
from flota.writeback.pods import PodSettings
from flota.writeback.proxies import Wanted, metadata, objects, ports

RESOURCES = {
    "ServiceAccount": Resource("", "v1", "serviceaccounts", "ServiceAccount"),
    "Service": Resource("", "v1", "services", "Service"),
    "Deployment": Resource("apps", "v1", "deployments", "Deployment"),
    "PodDisruptionBudget": Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    "HorizontalPodAutoscaler": Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
}
AGAIN_S = 5.0
RENEW_S = 6 * 3600.0
"""Certificates are looked at this often."""


class Credentials(Struct, frozen=True):
    """How certificates of proxies are made. `uri`: the name in that of a Gateway, from what its node ids begin with."""

    authority: Pair
    uri: Callable[[str], str]
    files: Callable[[Pair, bytes], dict[str, bytes]]
    """(certificate, roots) → the files that a proxy's Secret has."""


class ProxyWriter:
    """`look` at what may differ; `work` applies it."""

    def __init__(
        self,
        client: Client,
        picture: Latest[Picture | None],
        pods: PodSettings,
        credentials: Credentials,
        leads: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._client, self._picture, self._pods = client, picture, pods
        self._credentials, self._leads, self._clock = credentials, leads, clock
        self._applied: dict[tuple[Key, str], str] = {}
        """(Gateway, kind) → digest of what was applied."""
        self._certified: dict[Key, tuple[str, datetime]] = {}
        """(uid of the Gateway, when its certificate was looked at last)."""
        self._seen: Mapping[Key, Gateway] = {}
        self._listeners: Mapping[str, Listener] = {}
        self._templates: Mapping[Key, ProxyTemplateSpec | None] = {}
        self.errands: Errands[Key] = Errands(clock)
        self.failures: dict[Key, str] = {}

    def look(self) -> None:
        """A new picture: ask for the Gateways that differ from the last one."""
        picture = self._picture.get()
        if picture is None:
            return
        gateways, proxy = picture.objects.gateways, picture.plan.proxies.get(picture.cluster)
        listeners = proxy.listeners if proxy else {}
        changed = {key for key, each in gateways.items() if self._seen.get(key) is not each}
        if listeners is not self._listeners:
            both = listeners.keys() | self._listeners.keys()
            moved = [name for name in both if listeners.get(name) is not self._listeners.get(name)]
            changed |= {key for name in moved for each in _both(listeners, self._listeners, name) for key in each.gateways}
        templates = {key: _template(picture, key) for key in gateways}
        changed |= {key for key, each in templates.items() if self._templates.get(key) != each}
        self._seen, self._listeners, self._templates = gateways, listeners, templates
        self.errands.ask(changed & gateways.keys())

    def again(self, gateways: Iterable[Key]) -> None:
        """Something of these was changed or deleted by somebody else, or the Gateway itself is new."""
        several = set(gateways)
        for each in [each for each in self._applied if each[0] in several]:
            del self._applied[each]
        self.errands.ask(several)

    async def work(self, held: Heldings) -> None:
        """Until cancelled."""
        self._applied.clear()
        self._certified.clear()
        await self.errands.work(lambda key: self._write(held, key))

    async def _write(self, held: Heldings, key: Key) -> float | None:
        picture, known = self._picture.get(), held.get(("Gateway", *key))
        wanted = _wanted(picture, key, known.metadata.uid, self._pods) if picture is not None and known is not None else None
        if wanted is None or not self._leads():
            return None
        trouble = await self._certify(key, wanted)
        for each in objects(wanted) if trouble is None else ():
            trouble = await self._apply(key, each)
            if trouble is not None:
                break
        if trouble is not None:
            self.failures[key] = f"{trouble.reason}: {trouble.message}"
            return AGAIN_S
        self.failures.pop(key, None)
        return RENEW_S

    async def _apply(self, key: Key, body: Json) -> ApiError | None:
        kind, digest = body["kind"], hashlib.sha256(msgspec.json.encode(body)).hexdigest()
        if self._applied.get((key, kind)) == digest:
            return None
        if not self._leads():
            return None
        answer = await self._client.apply(RESOURCES[kind], body["metadata"]["name"], body, key[0])
        if isinstance(answer, ApiError):
            return answer
        self._applied[key, kind] = digest
        return None

    async def _certify(self, key: Key, wanted: Wanted) -> ApiError | None:
        """See to it that the Secret has a good certificate. One that is good is left as it is."""
        now, uid = self._clock.now(), wanted.uid
        seen = self._certified.get(key)
        if seen is not None and seen[0] == uid and (now - seen[1]).total_seconds() < RENEW_S / 2:
            return None
        name = secret_name(wanted.gateway.metadata.name, wanted.gateway.spec.gateway_class_name)
        found = await self._client.get(SECRETS, name, key[0])
        if isinstance(found, ApiError) and found.code != 404:
            return found
        roots, uri = self._credentials.authority.certificate, self._credentials.uri(wanted.group)
        pair = files_to_pair(files(found)) if isinstance(found, bytes) else Pair(b"", b"")
        if not good(pair, roots, uri, now) or not isinstance(found, bytes) or files(found) != self._credentials.files(pair, roots):
            pair = pair if good(pair, roots, uri, now) else issue(self._credentials.authority, uri, now)
            body = {**secret(name, key[0], self._credentials.files(pair, roots)), "metadata": metadata(wanted, name)}
            answer = await self._client.apply(SECRETS, name, body, key[0])
            if isinstance(answer, ApiError):
                return answer
        self._certified[key] = (uid, now)
        return None


def _template(picture: Picture, key: Key) -> ProxyTemplateSpec | None:
    status = picture.plan.statuses.get(ObjectRef(picture.cluster, "Gateway", *key))
    return status.template if isinstance(status, GatewayStatus) else None


def _wanted(picture: Picture, key: Key, uid: str, pods: PodSettings) -> Wanted | None:
    """Nothing for a Gateway that is not ours, or that is not accepted: what it has stays as it is."""
    gateway = picture.objects.gateways.get(key)
    status = picture.plan.statuses.get(ObjectRef(picture.cluster, "Gateway", *key))
    if gateway is None or not uid or not isinstance(status, GatewayStatus):
        return None
    if any(each.type == "Accepted" and each.status == "False" for each in status.conditions):
        return None
    proxy = picture.plan.proxies.get(picture.cluster)
    mine = [each for each in proxy.listeners.values() if key in each.gateways] if proxy else []
    return Wanted(gateway, uid, group_of(picture.cluster, key), ports(mine), status.template or ProxyTemplateSpec(), pods)


def group_of(cluster: str, gateway: Key) -> str:
    """What the node ids of a Gateway's proxies begin with."""
    return "/".join((cluster, *gateway))


def _both(one: Mapping[str, Listener], other: Mapping[str, Listener], name: str) -> list[Listener]:
    return [each[name] for each in (one, other) if name in each]
