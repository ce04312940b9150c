"""The Envoys of all clusters of a fleet."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from flota.clock import Clock
from flota.latest import Latest
from flota.local.process import Process, Runner
from flota.local.proxy import Proxy
from flota.local.proxyspec import ProxySpec, ProxyState
from flota.local.state import StateFolder

_PREFIX = "proxy/"


class Proxies:
    """Runs one Envoy per cluster. Cancelling `run` leaves all of them running; `stop_all` ends them."""

    def __init__(self, state: StateFolder, runner: Runner, clock: Clock, adopted: Mapping[str, Process]) -> None:
        """`adopted` are the living processes from `Runner.adopt`; those of proxies are taken from it."""
        self.states: Latest[Mapping[str, ProxyState]] = Latest({})
        """Cluster → state; replaced on every change."""
        self._state = state
        self._runner = runner
        self._clock = clock
        self._orphans = _by_cluster(adopted)
        self._wanted: Latest[Mapping[str, ProxySpec]] = Latest({})
        self._proxies: dict[str, Proxy] = {}
        self._drain = 1.0

    def adopted(self) -> tuple[str, ...]:
        """The clusters whose Envoy was found running and is not yet wanted again."""
        return tuple(self._orphans)

    def want(self, specs: Mapping[str, ProxySpec]) -> None:
        """The Envoys to run, by cluster; one that is no longer named is drained and stopped."""
        self._wanted.set(dict(specs))

    def log_paths(self) -> tuple[Path, ...]:
        """The logs that may grow."""
        return tuple(proxy.paths.log for proxy in self._proxies.values())

    async def run(self) -> None:
        """Keep what is wanted running until cancelled."""
        async with asyncio.TaskGroup() as group:
            async for specs in self._wanted.follow():
                self._apply(group, specs)

    async def stop_all(self, drain: float = 1.0) -> None:
        """Drain and end every Envoy, adopted ones too; returns when all are gone. `run` must be running."""
        self._drain = drain
        for cluster in tuple(self._orphans):
            spec = ProxySpec(cluster=cluster, envoy=Path(), version="", bootstrap=b"")
            self._proxies[cluster] = proxy = self._make(spec)
            proxy.stop(drain)
            await self._live(proxy)
        self._wanted.set({})
        while self._proxies:
            await self.states.changed()

    def _apply(self, group: asyncio.TaskGroup, specs: Mapping[str, ProxySpec]) -> None:
        for cluster, spec in specs.items():
            known = self._proxies.get(cluster)
            if known is not None:
                known.want(spec)
                continue
            self._proxies[cluster] = proxy = self._make(spec)
            group.create_task(self._live(proxy), name=f"proxy {cluster}")
        for cluster, proxy in self._proxies.items():
            if cluster not in specs:
                proxy.stop(self._drain)

    def _make(self, spec: ProxySpec) -> Proxy:
        return Proxy(spec, self._state, self._runner, self._clock, self._publish, self._orphans.pop(spec.cluster, {}))

    async def _live(self, proxy: Proxy) -> None:
        cluster = proxy.spec.cluster
        await proxy.run()
        self._proxies.pop(cluster, None)
        states = dict(self.states.get())
        states.pop(cluster, None)
        self.states.set(states)
        # Wanted again while it was going: look once more.
        self._wanted.set(dict(self._wanted.get()))

    def _publish(self, state: ProxyState) -> None:
        if self.states.get().get(state.cluster) != state:
            self.states.set({**self.states.get(), state.cluster: state})


def _by_cluster(adopted: Mapping[str, Process]) -> dict[str, dict[int, Process]]:
    found: dict[str, dict[int, Process]] = {}
    for name, process in adopted.items():
        if name.startswith(_PREFIX):
            cluster, _, epoch = name[len(_PREFIX) :].rpartition("/")
            found.setdefault(cluster, {})[int(epoch)] = process
    return found
