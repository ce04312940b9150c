"""Clusters with nodes: pods that run, Services that lead to them, DNS. All of it in the room that `space.enter` made."""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from flota.clock import SystemClock
from rig.api import Api, Object
from rig.balancer.balancer import Balancer, Member
from rig.build import Say
from rig.components import ClusterPlan
from rig.dns import documents
from rig.node.engine import Engine
from rig.node.environment import Host
from rig.node.kubelet import Kubelet
from rig.node.logtimes import LogTimes
from rig.node.nodes import Nodes
from rig.plane import Plane, free_ports
from rig.relay import Publisher, relay
from rig.space import ADDRESS, HostNetwork, run


class Room:
    """What runs beside the control planes. Use as an async context manager around them."""

    def __init__(
        self,
        plane: Plane,
        nodes: int,
        images: Mapping[str, Path],
        listeners: Mapping[str, socket.socket],
        host: HostNetwork | None,
        say: Say,
    ) -> None:
        """`nodes` per cluster; `listeners` of the host, by cluster, are led to its API server.

        Load-balancer addresses are shown to `host`, where one is given.
        """
        self._host = host
        self._plane = plane
        self._nodes = nodes
        self._images = images
        self._listeners = listeners
        self._say = say
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, stack: AsyncExitStack, group: asyncio.TaskGroup) -> None:
        """Returns when DNS answers in every cluster; then pods do too."""
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(self._plane.wanted.folder / "scratch"))
        apis = {plan.name: await stack.enter_async_context(self._plane.api(plan)) for plan in self._plane.plans}
        publisher = Publisher(self._host, self._say) if self._host is not None else None
        balancer = Balancer([Member(apis[plan.name], plan.balanced) for plan in self._plane.plans], self._say, publisher)
        self._tasks.append(group.create_task(balancer.run(), name="balancer"))
        times = LogTimes(self._plane.wanted.folder / "logs")
        self._tasks.append(group.create_task(times.run(), name="times of logs"))
        for plan, port in zip(self._plane.plans, free_ports(len(self._plane.plans)), strict=True):
            nodes = Nodes(self._engine(plan, apis[plan.name]), self._labels(plan), port, plan.pods)
            await Kubelet(nodes, plan, self._plane.wanted.folder / "logs", times).serve(stack, port)
            self._tasks.append(group.create_task(nodes.run(), name=f"nodes of {plan.name}"))
            self._tasks.append(group.create_task(relay(self._listeners[plan.name], plan.port), name=f"relay to {plan.name}"))
        await asyncio.gather(*(_dns(apis[plan.name], plan) for plan in self._plane.plans))

    def stop(self) -> None:
        """Let the tasks end; the pods end with the room."""
        for task in self._tasks:
            task.cancel()

    def _engine(self, plan: ClusterPlan, api: Api) -> Engine:
        folder = self._plane.wanted.folder
        first = plan.services.replace(".0.0/16", ".0.1")
        return Engine(
            cluster=plan.name,
            api=api,
            runner=self._plane.runner,
            clock=SystemClock(),
            logs=folder / "logs",
            scratch=folder / "scratch",
            images=self._images,
            resolver=plan.resolver,
            say=self._say,
            host=lambda pod: Host(pod["spec"].get("nodeName", ""), ADDRESS, (first, 443)),
        )

    def _labels(self, plan: ClusterPlan) -> dict[str, dict[str, str]]:
        """Node → labels: the cluster is a region, each node a zone of it."""
        return {
            f"{plan.name}-{letter}": {
                "topology.kubernetes.io/region": plan.name,
                "topology.kubernetes.io/zone": f"{plan.name}-{letter}",
            }
            for letter in "abcdefghij"[: self._nodes]
        }


async def _dns(api: Api, plan: ClusterPlan) -> None:
    for document in documents(plan.resolver):
        await api.apply(document)
    async with asyncio.timeout(60):
        async for event, found in api.watch("/apis/apps/v1/namespaces/kube-system/deployments", "fieldSelector=metadata.name%3Dcoredns"):
            if event != "SYNCED" and _available(found):
                return


def _available(deployment: Object) -> bool:
    return bool(deployment.get("status", {}).get("availableReplicas"))
