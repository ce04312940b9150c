"""The life of one container: start, probe, restart with back-off, stop. The pod above decides when it must end."""

import asyncio
import contextlib
import hashlib
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct, json

from flota.clock import Clock
from flota.fleet.pods import Container, Probe
from flota.fleet.problem import Problem
from flota.local import logs
from flota.local.backoff import CONTAINER, CRASH_LOOP
from flota.local.environment import Environment, Sources, command, environment
from flota.local.hooks import run_hook
from flota.local.podplan import PodPlan
from flota.local.probes import Target
from flota.local.process import Exit, Process, ProcessSpec, Runner
from flota.local.watch import Watch

LEAST_GRACE = 2.0
"""Seconds a container gets after its preStop hook has used the whole grace period, as from the kubelet."""


class Engine(Struct, frozen=True):
    """What every container of a fleet needs to run."""

    runner: Runner
    clock: Clock
    folder: Path
    """Working directory of containers that name none."""
    logs: Path
    exits: Path
    environ: Mapping[str, str]
    """What containers inherit of Flota's own environment."""
    drain_s: float = 1.0
    """How long a pod that is to stop keeps serving when nobody says that its traffic has left."""


class Condition(Struct, frozen=True):
    """How a container is."""

    status: Literal["Waiting", "Running", "Ended"] = "Waiting"
    pid: int | None = None
    ready: bool = False
    restarts: int = 0
    reason: str = ""
    message: str = ""


class ContainerLife:
    """One container of one pod, over all its restarts."""

    def __init__(
        self,
        engine: Engine,
        plan: PodPlan,
        container: Container,
        ip: str,
        sources: Callable[[], Sources],
        changed: Callable[[], None],
        *,
        init: bool = False,
        note: Mapping[str, str] | None = None,
    ) -> None:
        """`note`: what a later life is to find in the records of its processes, beside the plan and the address."""
        self.container = container
        self.condition = Condition()
        self.started = asyncio.Event()
        """Set once it has started (its postStart hook is done and its startup probe, if any, has succeeded) or need not any more."""
        self._note = note or {}
        self._engine = engine
        self._plan = plan
        self._ip = ip
        self._sources = sources
        self._changed = changed
        policy = container.restart_policy or plan.spec.restart_policy
        # An init container of a pod that restarts always must still end before the next one may start.
        once = init and policy == "Always" and container.restart_policy is None
        self._policy = "OnFailure" if once else policy
        self._process: Process | None = None
        self._told: Process | None = None
        """The process whose preStop hook was carried out."""
        self._env: Mapping[str, str] = {}
        self._stopping = asyncio.Event()
        self._started_at = engine.clock.monotonic()
        self._adopted = False
        self._crashes = 0
        self._restarts = 0
        self._unwell = ""

    @property
    def name(self) -> str:
        plan = self._plan
        return f"pod/{plan.cluster}/{plan.namespace}/{plan.name}/{self.container.name}"

    @property
    def log(self) -> Path:
        return log_path(self._engine.logs, self._plan, self.container.name)

    @property
    def target(self) -> Target:
        folder = self._engine.folder
        return Target(self._ip, self.container, self._env, folder / (self.container.working_dir or "."))

    def restarts_after(self, end: Exit) -> bool:
        """Whether the policy wants another start; an end nobody saw counts as a failure."""
        return self._policy == "Always" or (self._policy == "OnFailure" and end.code != 0)

    async def run(self, adopted: Process | None) -> Exit:
        """Live until the policy or `stop` says that it is over; the last end is returned."""
        self._process = adopted
        self._adopted = adopted is not None
        self._env = self._environment().variables
        while self._process is not None or not self._stopping.is_set():
            end = await self._once()
            # What could not even be started is tried again whatever the policy: there is nothing yet that could be over.
            over = end is not None and not self.restarts_after(end)
            if end is not None and (self._stopping.is_set() or over):
                self._set(Condition("Ended", None, False, self._restarts, self._word(end), end.words))
                return end
            await self._pause(end)
            if self._stopping.is_set():
                return end or Exit(None)
            self._restarts += 1
        return Exit(None)

    async def pre_stop(self, grace: float) -> float:
        """Carry out its preStop hook, if it runs and has one; gives what is left of the grace period (seconds)."""
        hooks = self.container.lifecycle
        if hooks is None or hooks.pre_stop is None or self._process is None or self._process is self._told:
            return grace
        self._told = self._process
        begun = self._engine.clock.monotonic()
        # A hook that fails or takes too long does not keep a container alive.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await run_hook(hooks.pre_stop, self.target)
        return max(grace - (self._engine.clock.monotonic() - begun), min(grace, LEAST_GRACE))

    async def stop(self, grace: float) -> None:
        """End it for good: the stop signal, then SIGKILL after `grace` seconds."""
        self._stopping.set()
        if self._process is not None:
            await self._process.stop(grace, self._stop_signal)

    @property
    def _stop_signal(self) -> signal.Signals:
        hooks = self.container.lifecycle
        word = hooks.stop_signal if hooks is not None and hooks.stop_signal else "SIGTERM"
        return signal.Signals[word] if word in signal.Signals.__members__ else signal.SIGTERM

    def let_go(self) -> None:
        """Flota ends, the container does not."""
        if self._process is not None:
            self._process.close()

    async def _once(self) -> Exit | None:
        """One start and its end; None when it could not be started."""
        process = self._process or self._start()
        if isinstance(process, Problem):
            self._set(Condition("Waiting", None, False, self._restarts, process.reason, process.message))
            self._unwell = process.message
            return None
        self._process = process
        self._unwell = ""
        self._set(Condition("Running", process.pid, False, self._restarts))
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch(process), name=f"probes of {self.name}")
            end = await process.wait()
            watch.cancel()
        self._process = None
        self._adopted = False
        return end

    def _start(self) -> Process | Problem:
        engine, plan, container = self._engine, self._plan, self.container
        found = self._environment()
        if found.missing:
            message = f"container {container.name} needs {', '.join(found.missing)}: not found in namespace {plan.namespace}"
            return Problem(plan.cluster, "Pod", plan.namespace, plan.name, "ConfigMissing", message, retry=True)
        self._env = found.variables
        keep = None
        if self._policy != "Always":
            keep = engine.exits / hashlib.sha256(self.name.encode()).hexdigest()[:24]
            with contextlib.suppress(OSError):
                keep.unlink(missing_ok=True)
        self._started_at = engine.clock.monotonic()
        return engine.runner.start(
            ProcessSpec(
                name=self.name,
                argv=command(container, found.variables),
                env=found.variables,
                cwd=self.target.cwd,
                log=self.log,
                digest=plan.hash,
                keep_exit=keep,
                note={"plan": json.encode(plan).decode(), "ip": self._ip, **self._note},
            )
        )

    def _environment(self) -> Environment:
        return environment(self.container, self._plan, self._ip, self._sources(), self._engine.environ)

    async def _pause(self, end: Exit | None) -> None:
        """Back off before the next start: at once after the first end, then 10 s doubling to 5 min."""
        lived = self._engine.clock.monotonic() - self._started_at
        self._crashes = CONTAINER.crashes(self._crashes, lived)
        delay = CONTAINER.delay(self._crashes)
        said = self._unwell or " | ".join(logs.tail(self.log)[-3:])
        if end is None:
            reason, message = self.condition.reason, said
        else:
            reason = "CrashLoopBackOff" if self._crashes >= CRASH_LOOP else self._word(end)
            message = f"{end.words}: {said}" if said else end.words
        self._set(Condition("Waiting", None, False, self._restarts, reason, f"{message}; next start in {delay:g} s"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._stopping.wait()

    async def _watch(self, process: Process) -> None:
        def ready(well: bool, why: str) -> None:
            self._set(Condition("Running", process.pid, well, self._restarts, "" if well else "NotReady", "" if well else why))

        condemned = await Watch(self.target, ready, self.started, adopted=self._adopted).run()
        if condemned is not None:
            await self._kill_unwell(process, condemned.why, condemned.probe)

    async def _kill_unwell(self, process: Process, why: str, probe: Probe | None) -> None:
        self._unwell = why
        self._set(Condition("Running", process.pid, False, self._restarts, "Unhealthy", why))
        own = probe.termination_grace_period_seconds if probe is not None else None
        left = await self.pre_stop(float(own or self._plan.spec.termination_grace_period_seconds))
        await process.stop(left, self._stop_signal)

    def _set(self, condition: Condition) -> None:
        if condition != self.condition:
            self.condition = condition
            self._changed()

    def _word(self, end: Exit) -> str:
        return "Completed" if end.code == 0 else "Error"


def log_path(folder: Path, plan: PodPlan, container: str) -> Path:
    """Where a container's output goes; names too long for a file are cut and told apart by a digest."""
    name = f"pod-{plan.cluster}-{plan.namespace}-{plan.name}-{container}"
    if len(name) > 200:
        name = f"{name[:180]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return folder / f"{name}.log"
