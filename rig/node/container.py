"""The life of one container on the rig's node: start, probes, restarts with back-off, stop."""

import asyncio
import contextlib
import signal
import ssl
from collections.abc import Callable
from pathlib import Path

import msgspec

from flota.fleet import pods
from flota.fleet.problem import Problem
from flota.local import logs
from flota.local.backoff import CONTAINER, CRASH_LOOP
from flota.local.probes import Target, Verdict, ask, http_get, run_command
from flota.local.process import Exit, Process, ProcessSpec
from rig.api import Object
from rig.node.engine import Engine
from rig.node.listening import listens
from rig.node.status import ContainerState

_UNPROBED_S = 1.0
"""So long a container without a readiness probe may take to listen before it counts as ready anyway."""

Prepare = Callable[[], tuple[tuple[str, ...], dict[str, str]]]
"""The command line and the environment for a start now. Raises MissingError."""


class ContainerLife:
    """One container of one pod, over all its restarts."""

    def __init__(self, engine: Engine, name: str, spec: Object, ip: str, log: Path, policy: str, changed: Callable[[], None]) -> None:
        self.name = name
        self.spec = spec
        self.log = log
        self.state = ContainerState()
        self.process: Process | None = None
        self.env: dict[str, str] = {}
        self._engine = engine
        self._typed = msgspec.convert({key: spec[key] for key in _TYPED & spec.keys()}, pods.Container)
        self._ip = ip
        self._policy = policy
        self._changed = changed
        self._stopping = asyncio.Event()
        self._crashes = 0
        self._began = 0.0

    async def run(self, prepare: Prepare) -> Exit:
        """Live until the policy or `stop` says that it is over."""
        end: Exit | None = None
        while not self._stopping.is_set():
            self._began = self._engine.clock.monotonic()
            end = await self._once(prepare)
            if self._stopping.is_set() or self._policy == "Never" or (self._policy == "OnFailure" and end.code == 0):
                return end
            await self._pause(end)
        return end or Exit(None)

    async def stop(self, grace: float) -> None:
        """End it for good: the stop signal, then SIGKILL after `grace` seconds."""
        self._stopping.set()
        if self.process is not None:
            await self.process.stop(grace, signal.SIGTERM)

    async def before_stop(self, seconds: float) -> None:
        """The preStop hook; one that fails or takes too long does not keep a pod alive."""
        hooks = self._typed.lifecycle
        if hooks is None or hooks.pre_stop is None or self.process is None:
            return
        with contextlib.suppress(TimeoutError, OSError, ValueError, asyncio.IncompleteReadError, ssl.SSLError):
            async with asyncio.timeout(seconds):
                if hooks.pre_stop.exec is not None:
                    await run_command(self._inside(hooks.pre_stop.exec), self._target)
                elif hooks.pre_stop.http_get is not None:
                    await http_get(hooks.pre_stop.http_get, self._target)
                elif hooks.pre_stop.sleep is not None:
                    await asyncio.sleep(hooks.pre_stop.sleep.seconds)

    async def _once(self, prepare: Prepare) -> Exit:
        argv, self.env = prepare()
        wanted = ProcessSpec(name=self.name, argv=argv, env=self.env, cwd=Path("/"), log=self.log, digest="")
        started = self._engine.runner.start(wanted)
        if isinstance(started, Problem):
            self._set(state="waiting", reason="RunContainerError", message=started.message)
            return Exit(None)
        self.process = started
        self._set(state="running", reason="", message="", began=self._engine.now(), ready=False, started=False, id=f"{started.pid}")
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch(started), name=f"probes of {self.name}")
            end = await started.wait()
            watch.cancel()
        self.process = None
        # A signal's number is told as shells do (bash(1), 128 + n).
        code = 255 if end.code is None else end.code if end.code >= 0 else 128 - end.code
        said = " | ".join(logs.tail(self.log)[-3:])
        reason = "Completed" if code == 0 else "Error"
        self._set(state="terminated", reason=reason, message=said, code=code, ended=self._engine.now(), ready=False, started=False)
        return end

    async def _pause(self, end: Exit) -> None:
        self._crashes = CONTAINER.crashes(self._crashes, self._engine.clock.monotonic() - self._began)
        delay = CONTAINER.delay(self._crashes)
        if delay:
            reason = "CrashLoopBackOff" if self._crashes >= CRASH_LOOP else "RunContainerError" if end.code is None else "Error"
            self._again(reason, f"{end.words}: {self.state.message}; next start in {delay:g} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
        else:
            self._again("", "")

    def _again(self, reason: str, message: str) -> None:
        last = msgspec.structs.replace(self.state, last=None)
        restarts = self.state.restarts + 1
        self._set(state="waiting", reason=reason, message=message, last=last, restarts=restarts, code=None)

    async def _watch(self, process: Process) -> None:
        """Startup probe first, then readiness and liveness side by side (core/v1 Container)."""
        startup = self._typed.startup_probe
        if startup is not None:
            await asyncio.sleep(startup.initial_delay_seconds)
            if not await self._decided(startup):
                await self._unwell(process, startup)
                return
        self._set(started=True)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._readiness(process), name=f"readiness of {self.name}")
            group.create_task(self._liveness(process), name=f"liveness of {self.name}")

    async def _readiness(self, process: Process) -> None:
        probe = self._typed.readiness_probe
        if probe is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_UNPROBED_S):
                    while not listens(process.pid, self._typed.ports):
                        await asyncio.sleep(0.02)
            self._set(ready=True)
            return
        verdict = Verdict()
        await asyncio.sleep(probe.initial_delay_seconds)
        while True:
            verdict = verdict.after(probe, success=await self._ask(probe) is None)
            self._set(ready=verdict.good is True)
            # Until it is ready for the first time it is asked more often than its period: a start should not wait.
            await asyncio.sleep(probe.period_seconds if verdict.good is not None else min(0.1, probe.period_seconds))

    async def _liveness(self, process: Process) -> None:
        probe = self._typed.liveness_probe
        if probe is None:
            return
        await asyncio.sleep(probe.initial_delay_seconds)
        verdict = Verdict()
        while verdict.good is not False:
            verdict = verdict.after(probe, success=await self._ask(probe) is None)
            if verdict.good is not False:
                await asyncio.sleep(probe.period_seconds)
        await self._unwell(process, probe)

    async def _decided(self, probe: pods.Probe) -> bool:
        verdict = Verdict()
        while verdict.good is None:
            verdict = verdict.after(probe, success=await self._ask(probe) is None)
            if verdict.good is None:
                await asyncio.sleep(min(probe.period_seconds, 1))
        return verdict.good

    async def _unwell(self, process: Process, probe: pods.Probe) -> None:
        await process.stop(float(probe.termination_grace_period_seconds or 30))

    async def _ask(self, probe: pods.Probe) -> str | None:
        inside = self._inside(probe.exec) if probe.exec is not None else None
        return await ask(msgspec.structs.replace(probe, exec=inside), self._target)

    @property
    def _target(self) -> Target:
        return Target(self._ip, self._typed, self.env, Path("/"))

    def _inside(self, action: pods.ExecAction) -> pods.ExecAction:
        return pods.ExecAction(inside(self.process.pid if self.process else 0, action.command))

    def _set(self, **changes: object) -> None:
        found = msgspec.structs.replace(self.state, **changes)
        if found != self.state:
            self.state = found
            self._changed()


_TYPED = frozenset({"name", "image", "ports", "readinessProbe", "livenessProbe", "startupProbe", "lifecycle"})
"""What of a container is read by its declared type."""


def inside(pid: int, words: tuple[str, ...]) -> tuple[str, ...]:
    """A command line that runs in a container, as the user of its process, given by the number of that."""
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    except OSError:
        status = {}
    user, group = (status.get(name, "0").split()[0] for name in ("Uid", "Gid"))
    spaces = ("--net", "--uts", "--ipc", "--mount", "--root", "--wd", "--setuid", user, "--setgid", group)
    return ("nsenter", "--target", str(pid), *spaces, "--", *words)
