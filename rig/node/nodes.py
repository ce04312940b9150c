"""The nodes of one cluster: known to the API server, given pods, running them."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from rig.api import Object, RefusedError
from rig.node.engine import Engine, pod_path
from rig.node.pod import PodLife
from rig.node.scheduling import choose
from rig.space import ADDRESS

_TRANSIENT = (RefusedError, aiohttp.ClientError, TimeoutError)
_RENEW_S = 5 * 60.0


class Nodes:
    """All nodes of a cluster are this one process; they differ in name and labels only."""

    def __init__(self, engine: Engine, nodes: Mapping[str, Mapping[str, str]], kubelet_port: int, pods: str) -> None:
        """`nodes` has their labels by name; `pods` is the range of pod addresses, a /16."""
        self.nodes = nodes
        self.lives: dict[str, PodLife] = {}
        """By uid."""
        self._engine = engine
        self._kubelet_port = kubelet_port
        self._prefix = pods.removesuffix(".0.0/16")
        self._cluster_number = int(self._prefix.split(".")[1])
        self._given = 0
        self._binding: set[str] = set()

    def find(self, namespace: str, name: str) -> PodLife | None:
        """The pod that runs under a name; the newest where an old one still ends."""
        found = [life for life in self.lives.values() if life.key == f"{namespace}/{name}"]
        return found[-1] if found else None

    async def run(self) -> None:
        """Until cancelled."""
        await self._registered()
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    await self._follow(group)
                except _TRANSIENT:
                    # The API server is not there just now; what runs goes on.
                    await asyncio.sleep(0.3)

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        listed: set[str] = set()
        synced = False
        async for event, pod in self._engine.api.watch("/api/v1/pods"):
            if event == "SYNCED":
                synced = True
                for uid in self.lives.keys() - listed:
                    self.lives[uid].vanished()
                continue
            uid = pod["metadata"]["uid"]
            if not synced:
                listed.add(uid)
            if event == "DELETED":
                self._binding.discard(uid)
                if uid in self.lives:
                    self.lives[uid].vanished()
            elif not pod["spec"].get("nodeName"):
                await self._bind(pod)
            elif pod["spec"]["nodeName"] in self.nodes:
                self._take(pod, group)

    def _take(self, pod: Object, group: asyncio.TaskGroup) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self.lives:
            self.lives[uid].seen(pod)
        elif pod.get("status", {}).get("phase") not in ("Succeeded", "Failed") or pod["metadata"].get("deletionTimestamp"):
            number = self._next()
            ip = f"{self._prefix}.{number >> 8 & 255}.{number & 255}"
            # The cable's name must be unique among all clusters of the rig, and is at most 15 characters long.
            self.lives[uid] = life = PodLife(self._engine, pod, ip, self._cluster_number << 16 | number)
            life.seen(pod)
            group.create_task(self._live(uid, life), name=f"pod {life.key}")

    async def _live(self, uid: str, life: PodLife) -> None:
        try:
            await life.run()
        finally:
            del self.lives[uid]

    def _next(self) -> int:
        """An address that no living pod has; used ones come again only after all others."""
        taken = {life.ip for life in self.lives.values()}
        while True:
            self._given = self._given % 65000 + 1
            if self._given & 255 not in (0, 255) and f"{self._prefix}.{self._given >> 8}.{self._given & 255}" not in taken:
                return self._given

    async def _bind(self, pod: Object) -> None:
        """What the scheduler does, without weighing anything."""
        meta, spec = pod["metadata"], pod["spec"]
        node = choose(spec, self.nodes, len(self._binding))
        if node is None or spec.get("schedulingGates") or meta.get("deletionTimestamp") or meta["uid"] in self._binding:
            return
        self._binding.add(meta["uid"])
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"]}, "target": target}
        try:
            await self._engine.api.call("POST", pod_path(pod, "binding"), binding)
        except RefusedError:
            # Deleted or bound in between; if not, its next change brings it here again.
            self._binding.discard(meta["uid"])

    async def _registered(self) -> None:
        for name, labels in self.nodes.items():
            known = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **labels}
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": known}, "spec": {}}
            await self._engine.api.apply(node)
            patch = {"status": _status(name, self._kubelet_port, self._engine.now())}
            await self._engine.api.call("PATCH", f"/api/v1/nodes/{name}/status", patch, "application/merge-patch+json")


def _status(name: str, port: int, now: str) -> Object:
    quantities = {"cpu": "8", "memory": "32Gi", "pods": "500", "ephemeral-storage": "100Gi"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now, "lastTransitionTime": now}
    release = Path("/proc/sys/kernel/osrelease").read_text().strip()
    return {
        "capacity": quantities,
        "allocatable": quantities,
        "conditions": [ready],
        "addresses": [{"type": "InternalIP", "address": ADDRESS}, {"type": "Hostname", "address": name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "nodeInfo": {
            "kubeletVersion": "v1.36.1",
            "kubeProxyVersion": "",
            "containerRuntimeVersion": "rig://1",
            "kernelVersion": release,
            "osImage": "Linux",
            "operatingSystem": "linux",
            "architecture": "amd64",
            "machineID": name,
            "systemUUID": name,
            "bootID": name,
        },
    }
