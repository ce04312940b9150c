"""The running Flota: sources → fleet → plan → proxies and pods → what was observed → back.

Every part has one task with a name in one group; when one ends by a bug, all end. Cancelling the engine leaves proxies and pods running:
they are found again by the next one.
"""

import asyncio
import gc
import os
from collections.abc import Mapping
from pathlib import Path

from flota.app.addresses import GatewayAddresses
from flota.app.delivery import Deliveries
from flota.app.drains import Drains
from flota.app.encoding import access_log
from flota.app.kept import Keeper, Kept
from flota.app.trials import Trials, routes_before
from flota.clock import Clock
from flota.envoy.bootstrap import bootstrap, envoy_path, envoy_version
from flota.fleet.fleet import Fleet
from flota.fleet.problem import Problem
from flota.fleet.signals import Signals
from flota.latest import Latest
from flota.local import logs
from flota.local.addresses import Addresses
from flota.local.admin import Admin
from flota.local.container import Engine as PodEngine
from flota.local.endpoints import endpoint_slices
from flota.local.environment import inherited
from flota.local.pods import Pods
from flota.local.process import Runner
from flota.local.proxies import Proxies
from flota.local.proxyspec import ProxySpec, proxy_paths
from flota.local.state import StateFolder
from flota.observe.observer import Observer
from flota.plan import Plan
from flota.routing.planner import Planner
from flota.settings import Settings
from flota.sources.source import FolderSource

SAVE_EVERY_S = 1.0
"""What was learnt is kept on disk at most this often."""
SAVE_SHARE = 50
"""Keeping that took t seconds is followed by a pause of at least 50 t: a large fleet under change is not written again and again."""
ADDRESSES_EVERY_S = 2.0
"""How often the addresses that Gateways name are tried."""
COLLECT = (20_000, 20, 20)
"""Thresholds of the cyclic garbage collector: little here is cyclic, and reading a large folder allocates much."""
EMPTY = Plan(proxies={}, statuses={}, problems=())


class Engine:
    """One fleet folder, running."""

    def __init__(self, state: StateFolder, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.state = state
        self.problems: list[Problem] = []
        """What stands on disk and could not be used."""
        kept = self._kept()
        self._keeper = Keeper(state)
        self.plan: Latest[Plan] = Latest(EMPTY)
        self.planned: Fleet | None = None
        """The fleet that `plan` is of; None before the first one was read."""
        self.signals: Latest[Signals] = Latest(kept.signals())
        self.drains = Drains(kept.drains, clock)
        self.source = FolderSource(state.folder, kept.memory, clock)
        self.source.drains.set(kept.drains)
        self.source.signals.set(self.signals.get())
        runner = Runner(state.processes, state.identity)
        adopted, ended = runner.adopt()
        self._addresses = Addresses(state)
        self.gateway_addresses = GatewayAddresses(self._addresses)
        self.proxies = Proxies(state, runner, clock, adopted)
        self.pods = Pods(self._pod_engine(runner), state, self._addresses, adopted, ended)
        self.observer = Observer(self.fetch, self.plan, self.signals, clock, settings)
        self.deliveries = Deliveries(state.sockets / "ads", state.logs, clock, settings, self.observer.hear, self._heard)
        self._envoy_version = envoy_version()
        self._planner = Planner()
        self._replan = asyncio.Event()
        self._rounds: Latest[int] = Latest(0)
        """Changes with every plan, also when it is the same."""
        self.trials = Trials(self._replan.set, self._envoy_version)
        self._before = kept
        """What the last Flota served; until this one knows what has changed since."""
        self._adopted = frozenset(self.proxies.adopted())
        self.started = clock.now()
        self.stopping = False
        """What runs is being ended."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.plans = 0
        self.plan_seconds = 0.0

    def _pod_engine(self, runner: Runner) -> PodEngine:
        return PodEngine(
            runner=runner,
            clock=self.clock,
            folder=self.state.folder,
            logs=self.state.logs,
            exits=self.state.exits,
            environ=inherited(os.environ),
            drain_s=self.settings.drain_ms / 1000,
        )

    async def run(self) -> None:
        """Until cancelled."""
        gc.set_threshold(*COLLECT)
        async with asyncio.TaskGroup() as tasks:
            for name, part in {
                "ads": self.deliveries.serve(),
                "sources": self.source.run(),
                "fleet": self._follow_fleet(),
                "plan": self._plan(),
                "addresses": self._look_at_addresses(),
                "pods wanted": self._want_pods(),
                "pods": self.pods.run(),
                "endpoints": self._give_endpoints(),
                "proxies": self.proxies.run(),
                "observe": self.observer.run(),
                "signals": self._give_signals(),
                "drains": self.drains.give(self.source.drains.set),
                "keep": self._keep(),
                "memory": self._settle_memory(),
                "logs": logs.keep_short(self._log_paths),
            }.items():
                self._tasks[name] = tasks.create_task(part, name=name)

    async def stop(self) -> None:
        """End everything that was started, in good order: proxies drain first, then pods. `run` must be running."""
        self.stopping = True
        for name in ("plan", "pods wanted", "observe"):  # what goes away changes the fleet, and a new fleet must not start it again
            if name in self._tasks:
                self._tasks[name].cancel()
        await self.proxies.stop_all(self.settings.drain_ms / 1000)
        await self.pods.stop_all()
        self.state.tidy()

    async def fetch(self, cluster: str, target: str) -> bytes:
        """A look at the admin interface of a cluster's proxy. Raises ConnectionError."""
        return (await Admin(proxy_paths(self.state, cluster).admin).get(target)).body

    async def _plan(self) -> None:
        await self._first_read()
        await self._pods_adopted()
        self._go_on()
        while True:
            await self._replan.wait()
            self._replan.clear()
            fleet = self.trials.serve(self.source.fleet.get())
            running = self._adopted | self.proxies.states.get().keys()
            addresses = self.gateway_addresses.of(fleet, running)
            unusable = self.gateway_addresses.unusable(fleet)
            self.source.addresses.set(addresses)
            self.source.unusable.set(unusable)
            if addresses is not fleet.addresses or unusable is not fleet.unusable:
                continue  # the next fleet has them
            began = self.clock.monotonic()
            plan = self._planner.plan(fleet)
            self.plans, self.plan_seconds = self.plans + 1, self.plan_seconds + self.clock.monotonic() - began
            self.planned = fleet
            self.deliveries.publish(plan)
            self.trials.published(plan, self.deliveries)
            self.plan.set(plan)
            self.proxies.want({cluster: self._proxy(fleet, cluster) for cluster in plan.proxies})
            self._rounds.set(self.plans)

    async def _look_at_addresses(self) -> None:
        """An interface may come or go while no file changes."""
        while True:
            await asyncio.sleep(ADDRESSES_EVERY_S)
            self.source.unusable.set(self.gateway_addresses.unusable(self.source.fleet.get()))

    async def _follow_fleet(self) -> None:
        async for _ in self.source.fleet.follow():
            self._replan.set()

    def _go_on(self) -> None:
        """Routes that changed while no Flota ran fall back to what was served before, should the proxy not take them."""
        kept, self._before = self._before, Kept()
        before = routes_before(kept.memory, self.source.memory(), self.source.folder.table.restored)
        self.trials.begin(before, kept.bad, self.source.fleet.get())

    async def _first_read(self) -> None:
        """Until the whole folder was read: before that nothing is planned, so that nothing that runs is taken away."""
        while not self.source.ready.get():
            await self.source.ready.changed()

    async def _pods_adopted(self) -> None:
        """Until pods that run already are endpoints again: a plan without them would take them away for a moment."""
        self.pods.want(self.source.fleet.get().clusters)
        while not self.pods.looks.get():
            await self.pods.looks.changed()
        self._set_slices(self.source.fleet.get())
        while not self._has_slices(self.source.fleet.get()):
            await self.source.fleet.changed()

    def _has_slices(self, fleet: Fleet) -> bool:
        """Whether the fleet knows the endpoints that pods made."""
        return all(
            found.keys() <= fleet.clusters[name].endpoint_slices.keys()
            for name, found in self.source.slices.get().items()
            if name in fleet.clusters
        )

    def _proxy(self, fleet: Fleet, cluster: str) -> ProxySpec:
        paths = proxy_paths(self.state, cluster)
        member = fleet.clusters[cluster]
        return ProxySpec(
            cluster=cluster,
            envoy=envoy_path(),
            version=self._envoy_version,
            bootstrap=bootstrap(
                cluster=cluster,
                region=member.region,
                zone=member.zone or "",
                ads=self.state.sockets / "ads",
                admin=paths.admin,
            ),
            concurrency=self.settings.envoy_concurrency,
            log_level=self.settings.envoy_log_level,
        )

    async def _want_pods(self) -> None:
        await self._first_read()
        async for fleet in self.source.fleet.follow():
            self.pods.want(fleet.clusters)

    async def _give_endpoints(self) -> None:
        """Pods that are ready are endpoints; looked at again when pods or Services change."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_pods(), name="endpoints of pods")
            async for fleet in self.source.fleet.follow():
                self._set_slices(fleet)

    async def _follow_pods(self) -> None:
        async for _ in self.pods.states.follow():
            self._set_slices(self.source.fleet.get())

    def _set_slices(self, fleet: Fleet) -> None:
        states, before = self.pods.states.get(), self.source.slices.get()
        found = {name: endpoint_slices(cluster, states, before.get(name)) for name, cluster in fleet.clusters.items()}
        if found.keys() != before.keys() or any(found[name] is not before[name] for name in found):
            self.source.slices.set(found)

    def _heard(self, cluster: str, took: Mapping[str, str]) -> None:
        self.trials.heard(cluster, took, self.deliveries)

    async def _give_signals(self) -> None:
        async for signals in self.signals.follow():
            self.source.signals.set(signals)

    async def _settle_memory(self) -> None:
        """What the first plan was made of stays: the collector need not look at it again, which holds up changes by
        200 ms each time with 5,000 routes. What of it is replaced is freed all the same, by its count of references.
        """
        await self.plan.changed()
        gc.freeze()

    async def _keep(self) -> None:
        """Keep the last good state on disk, shortly after it changed."""
        await self._first_read()
        last: Kept | None = None
        pause = SAVE_EVERY_S
        async for _ in self._rounds.follow():
            await asyncio.sleep(pause)
            began = self.clock.monotonic()
            kept = self._worth_keeping()
            if kept != last:
                # Not on the event loop, which has changes to carry out.
                self._saved(await asyncio.to_thread(self._keeper.save, kept, began))
                last = kept
                pause = max(SAVE_EVERY_S, SAVE_SHARE * (self.clock.monotonic() - began))

    def keep_now(self) -> None:
        """Keep what must not be lost at once (a drain)."""
        self._saved(self._keeper.save(self._worth_keeping(), self.clock.monotonic()))

    def _worth_keeping(self) -> Kept:
        learnt = sorted((cluster, label, ms) for (cluster, label), ms in self.signals.get().per_try.items())
        return Kept(self.source.memory(), self.drains.latest.get(), tuple(learnt), self.trials.bad())

    def _saved(self, problem: Problem | None) -> None:
        self.problems = [each for each in self.problems if each.kind != "State"] + ([problem] if problem else [])

    def _kept(self) -> Kept:
        kept = self.state.load("kept", Kept)
        if isinstance(kept, Problem):
            self.problems.append(kept)
            return Kept()
        return kept or Kept()

    def _log_paths(self) -> tuple[Path, ...]:
        access = (access_log(self.state.logs, cluster) for cluster in self.plan.get().proxies)
        return (*self.proxies.log_paths(), *self.pods.log_paths(), *access, self.state.logs / "flota.log")
