"""Flota inside a Kubernetes cluster: API server → fleet → plan → proxies in pods, and what was decided back to the API server.

Every replica plans and serves proxies; only the leader writes. Nothing is planned before everything was read, and nothing is taken away
because the API server is silent.
"""

import asyncio
import gc
import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping
from random import random
from typing import Protocol

from msgspec import Struct, structs

from flota.app.podproxies import PodProxies
from flota.app.replicas import Peers, gateways
from flota.clock import Clock
from flota.envoy.doors import TlsDoor, gateway_uri
from flota.envoy.podbootstrap import ADMIN, CREDENTIALS, READY_PORT, PodProxy, credentials, pod_bootstrap
from flota.envoy.protos import load
from flota.fleet.core import EndpointSlice
from flota.fleet.fleet import Fleet
from flota.fleet.meta import Key
from flota.fleet.problem import Problem
from flota.kube.client import Client
from flota.kube.lease import LeaderElection
from flota.kube.pace import Pace
from flota.latest import Latest
from flota.plan import Plan
from flota.routing.features import SUPPORTED
from flota.routing.planner import Planner
from flota.settings import Settings
from flota.writeback.balancers import Balancers
from flota.writeback.held import Heldings, Ref
from flota.writeback.picture import Picture
from flota.writeback.pki import CONTROL_PLANE_URI, Pair, client_context, issue, load_pair, server_context
from flota.writeback.pods import PodSettings
from flota.writeback.proxywriter import Credentials, ProxyWriter
from flota.writeback.statuswriter import StatusWriter

LEASE = "flota-leader"
SERVICE = "flota"
"""The Service that proxies find us by; its endpoints are the replicas."""
COLLECT = (20_000, 20, 20)
"""Thresholds of the cyclic garbage collector: little here is cyclic, and reading a large cluster allocates much."""
RENEW_S = 24 * 3600.0
"""How often Flota makes itself a new certificate; it keeps none."""
EMPTY = Plan(proxies={}, statuses={}, problems=())


class Source(Protocol):
    """Where the fleet comes from."""

    fleet: Latest[Fleet]
    problems: Latest[tuple[Problem, ...]]
    ready: Latest[bool]

    async def run(self) -> None: ...


class Place(Struct, frozen=True):
    """Which cluster this is, the namespace of Flota in it, and which of its replicas we are."""

    cluster: str
    namespace: str
    identity: str
    address: str = ""
    """Our own, as other pods see it; empty where it is not known."""


class Serving:
    """One replica. `run` must be running."""

    def __init__(
        self,
        client: Client,
        source: Source,
        place: Place,
        authority: Pair,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self.client, self.source, self.place, self.settings, self.clock = client, source, place, settings, clock
        self._authority = authority
        self._pace = Pace(clock)
        self.plan: Latest[Plan] = Latest(EMPTY)
        self.planned: Fleet | None = None
        self.picture: Latest[Picture | None] = Latest(None)
        self.leading: Latest[bool] = Latest(False)
        self.election = LeaderElection(
            client, place.namespace, LEASE, place.identity, clock=clock, jitter=random, changed=self.leading.set
        )
        self.balancers = Balancers(client, clock, random, self._pace)
        self._tls = server_context(authority.certificate, self._certificate())
        self._client_tls = client_context(authority.certificate, self._certificate())
        host, _, port = settings.xds_listen.rpartition(":")
        self.door = TlsDoor(host.strip("[]"), int(port), self._tls)
        self.replicas: Latest[frozenset[tuple[str, int]]] = Latest(frozenset())
        self._slices_seen: Mapping[Key, EndpointSlice] | None = None
        self.peers = Peers(self._client_tls, clock, lambda groups: self._moved(gateways(groups)))
        self.proxies = PodProxies(place.cluster, self.door, load(), settings, clock, self._moved, self.peers.nodes)
        self.statuses = StatusWriter(client, self.picture, self.proxies.delivered, SUPPORTED, self.election.leads, clock)
        self.objects = ProxyWriter(client, self.picture, self._pod_settings(), self._credentials(), self.election.leads, clock)
        self._planner = Planner()
        self.plans = 0
        self.plan_seconds = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        gc.set_threshold(*COLLECT)
        parts: Mapping[str, Callable[[], Awaitable[None]]] = {
            "sources": self.source.run,
            "balancers": self.balancers.run,
            "plan": self._plan,
            "ads": self.proxies.serve,
            "election": self.election.run,
            "lead": self._lead,
            "certificate": self._renew,
        }
        async with asyncio.TaskGroup() as tasks:
            for name, part in parts.items():
                tasks.create_task(_run(part), name=name)

    def ready(self) -> tuple[bool, str]:
        """Whether proxies get what they should have, and in words."""
        if self.planned is None:
            return False, "the cluster is still being read"
        return True, "ok"

    async def _plan(self) -> None:
        await _until(self.source.ready)
        await _until(self.balancers.synced)
        async with asyncio.TaskGroup() as tasks:
            wake = asyncio.Event()
            tasks.create_task(_wake(self.source.fleet, wake), name="plan for fleet")
            tasks.create_task(_wake(self.balancers.addresses, wake), name="plan for addresses")
            while True:
                await wake.wait()
                wake.clear()
                self._plan_once()
                await asyncio.sleep(0)

    def _plan_once(self) -> None:
        cluster = self.place.cluster
        addresses = {(cluster, *key): each for key, each in self.balancers.addresses.get().items()}
        before = self.planned
        fleet = structs.replace(
            self.source.fleet.get(),
            addresses=before.addresses if before is not None and before.addresses == addresses else addresses,
            own_proxies=frozenset({cluster}),
        )
        began = self.clock.monotonic()
        plan = self._planner.plan(fleet)
        self.plans, self.plan_seconds = self.plans + 1, self.plan_seconds + self.clock.monotonic() - began
        self.planned = fleet
        self.proxies.publish(plan)
        self.plan.set(plan)
        self._look_for_replicas(fleet)
        self.picture.set(Picture(cluster, fleet, plan))
        self.statuses.look()
        self.objects.look()

    def _look_for_replicas(self, fleet: Fleet) -> None:
        """The other endpoints of our own Service, ready or not."""
        cluster, port = fleet.clusters.get(self.place.cluster), self.door.address[1]
        held = cluster.endpoint_slices if cluster is not None else {}
        if held is self._slices_seen:
            return
        self._slices_seen, slices = held, held.values()
        mine = [each for each in slices if (each.metadata.namespace, each.service) == (self.place.namespace, SERVICE)]
        found = frozenset((address, port) for each in mine for one in each.endpoints for address in one.addresses[:1])
        found -= {(self.place.address, port)}
        if found != self.replicas.get():
            self.replicas.set(found)

    async def _lead(self) -> None:
        """Write while we lead; stop at once when we no longer do."""
        async for leads in self.leading.follow():
            if not leads:
                continue
            async with asyncio.TaskGroup() as tasks:
                writing = tasks.create_task(self._write(), name="writeback")
                while self.leading.get():
                    await self.leading.changed()
                writing.cancel()

    async def _write(self) -> None:
        held = Heldings(self.client, self.clock, random, self._pace, self._held_changed)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.peers.run(self.replicas), name="peers")
            tasks.create_task(held.run(), name="held")
            tasks.create_task(self.statuses.work(held), name="statuses")
            tasks.create_task(self.objects.work(held), name="objects")

    def _held_changed(self, refs: Iterable[Ref]) -> None:
        several = tuple(refs)
        self.statuses.errands.ask(several)
        self.objects.errands.ask(ref[1:] for ref in several if ref[0] == "Gateway")

    def _moved(self, gateways: Iterable[Key]) -> None:
        self.statuses.delivered(gateways)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            load_pair(self._tls, self._certificate())
            load_pair(self._client_tls, self._certificate())

    def _certificate(self) -> Pair:
        return issue(self._authority, CONTROL_PLANE_URI, self.clock.now())

    def _credentials(self) -> Credentials:
        def files(pair: Pair, roots: bytes) -> dict[str, bytes]:
            return credentials(pair.certificate, pair.key, roots, CONTROL_PLANE_URI)

        return Credentials(self._authority, gateway_uri, files)

    def _pod_settings(self) -> PodSettings:
        settings, place = self.settings, self.place
        host, _, port = (settings.xds_address or f"flota.{place.namespace}.svc:18000").rpartition(":")
        proxy = PodProxy(
            place.cluster, settings.cluster_region, settings.cluster_zone, (host.strip("[]"), int(port)), CONTROL_PLANE_URI,
            drain_s=settings.proxy_drain_s,
        )  # fmt: skip

        def bootstrap(_: str, drain: str) -> str:
            return pod_bootstrap(structs.replace(proxy, drain_path=drain)).decode()

        def drain_path(group: str) -> str:
            return f"/drain/{hmac.digest(self._authority.key, group.encode(), 'sha256').hex()[:32]}"

        return PodSettings(
            bootstrap=bootstrap,
            drain_path=drain_path,
            drain_s=settings.proxy_drain_s,
            image=settings.proxy_image,
            replicas=settings.proxy_replicas,
            concurrency=settings.envoy_concurrency,
            log_level=settings.envoy_log_level,
            ready_port=READY_PORT,
            credentials=str(CREDENTIALS),
            run=str(ADMIN.parent),
        )


async def _run(part: Callable[[], Awaitable[None]]) -> None:
    await part()


async def _until(cell: Latest[bool]) -> None:
    while not cell.get():
        await cell.changed()


async def _wake(cell: "Latest[Fleet] | Latest[Mapping[Key, tuple[str, ...]]]", wake: asyncio.Event) -> None:
    async for _ in cell.follow():
        wake.set()
