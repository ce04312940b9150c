"""Looking after one running process of a container: its postStart hook and its probes (core/v1 Container, Probe)."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from flota.fleet.pods import Probe
from flota.local.hooks import run_hook
from flota.local.probes import Target, Verdict, accepts, ask

_FAST = (0.01, 0.5)
"""Seconds between looks at a container that is coming up: from, to."""


class Condemned(NamedTuple):
    """Why a process must be ended, and the probe that says so; None where it was the hook."""

    why: str
    probe: Probe | None


class Watch:
    """From the start of a process, or its adoption (`adopted`: it was well when we left), until something is wrong with it.

    `ready` is told whether it may get traffic, and why not; `started` is set once it is up.
    """

    def __init__(self, target: Target, ready: Callable[[bool, str], None], started: asyncio.Event, *, adopted: bool) -> None:
        self._target = target
        self._container = target.container
        self._ready = ready
        self._started = started
        self._adopted = adopted

    async def run(self) -> Condemned | None:
        """The hook first, then the startup probe, then readiness and liveness side by side. None = there is nothing more to look at."""
        condemned = None if self._adopted else await self._come_up()
        if condemned is not None:
            return condemned
        self._started.set()
        async with asyncio.TaskGroup() as group:
            readiness = group.create_task(self._readiness(), name=f"readiness of {self._container.name}")
            probe = self._container.liveness_probe
            if probe is None:
                return None
            why = await self._until_failure(probe)
            readiness.cancel()
        return Condemned(f"liveness probe failed: {why}", probe)

    async def _come_up(self) -> Condemned | None:
        hooks, startup = self._container.lifecycle, self._container.startup_probe
        if hooks is not None and hooks.post_start is not None:
            fault = await run_hook(hooks.post_start, self._target)
            if fault is not None:
                return Condemned(f"postStart hook failed: {fault}", None)
        if startup is not None:
            fault = await self._until_verdict(startup)
            if fault is not None:
                return Condemned(f"startup probe failed: {fault}", startup)
        return None

    async def _readiness(self) -> None:
        probe = self._container.readiness_probe
        if probe is None:
            await self._ports_accept()
            self._ready(True, "")
            return
        verdict, came_up = Verdict(), self._adopted
        if self._adopted:
            verdict = verdict.assumed()
            self._ready(True, "")
        else:
            await asyncio.sleep(probe.initial_delay_seconds)
        fast, limit = _FAST
        while True:
            fault = await ask(probe, self._target)
            verdict = verdict.after(probe, success=fault is None)
            self._ready(verdict.good is True, "" if fault is None else f"readiness probe: {fault}")
            # Until it is ready for the first time it is asked more often than its period: a start should not wait.
            came_up = came_up or verdict.good is True
            await asyncio.sleep(probe.period_seconds if came_up else min(fast, probe.period_seconds))
            fast = min(limit, fast * 1.5)

    async def _ports_accept(self) -> None:
        """Kubernetes calls a container without a probe ready at once; here it must first accept on its declared TCP ports,
        so that a rollout sends no request to a port that is not open yet.
        """
        for port in self._container.ports:
            wait, limit = _FAST
            while port.protocol == "TCP" and not await accepts(self._target.ip, port.container_port):
                await asyncio.sleep(wait)
                wait = min(limit, wait * 1.5)

    async def _until_verdict(self, probe: Probe) -> str | None:
        """Ask until it is decided: None when it has come up, else why not."""
        verdict = Verdict()
        await asyncio.sleep(probe.initial_delay_seconds)
        while True:
            fault = await ask(probe, self._target)
            verdict = verdict.after(probe, success=fault is None)
            if verdict.good is not None:
                return None if verdict.good else fault
            await asyncio.sleep(probe.period_seconds)

    async def _until_failure(self, probe: Probe) -> str:
        verdict = Verdict()
        await asyncio.sleep(0 if self._adopted else probe.initial_delay_seconds)
        while True:
            fault = await ask(probe, self._target)
            verdict = verdict.after(probe, success=fault is None)
            if verdict.good is False:
                return fault or ""
            await asyncio.sleep(probe.period_seconds)
