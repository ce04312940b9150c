"""The life of one pod: its containers in order, its graceful end, and its state as others see it."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from flota.fleet.pods import Container, LifecycleHandler
from flota.local.container import Condition, ContainerLife, Engine
from flota.local.environment import Sources
from flota.local.podplan import PodPlan
from flota.local.podstate import Phase, PodState
from flota.local.probes import http_get, run_command
from flota.local.process import Exit, Process

_LEAST_GRACE = 2.0
"""What a container gets after its preStop hook has used the whole grace period, as from the kubelet."""


class PodLife:
    """One pod from its start, or its adoption, to its end. It is never restarted as a whole: a new one is made."""

    def __init__(self, engine: Engine, plan: PodPlan, ip: str, sources: Callable[[], Sources], changed: Callable[[], None]) -> None:
        self.plan = plan
        self.ip = ip
        self.terminating = False
        self.ready_since: float | None = None
        """Monotonic seconds; None while it is not ready."""
        self.phase: Phase = "Pending"
        self._engine = engine
        self._changed = changed
        self._stop = asyncio.Event()
        self._left = asyncio.Event()

        def life(container: Container, *, init: bool = False) -> ContainerLife:
            return ContainerLife(engine, plan, container, ip, sources, self._noticed, init=init)

        self._init = tuple(life(container, init=True) for container in plan.spec.init_containers)
        self._mains = tuple(life(container) for container in plan.spec.containers)

    @property
    def containers(self) -> tuple[ContainerLife, ...]:
        return (*self._init, *self._mains)

    def stop(self) -> None:
        """Let it end in good order: told first, then drained, then SIGTERM."""
        if not self.terminating:
            self.terminating = True
            self._stop.set()
            self._changed()

    def traffic_left(self) -> None:
        """Nobody sends to it any more, so it need not wait out its drain time."""
        self._left.set()

    def state(self, previous: PodState | None = None) -> PodState:
        """How it is; the very same object as `previous` when nothing has changed."""
        worst = next((c for c in self._conditions() if c.reason not in ("", "Completed")), Condition())
        found = PodState(
            self.plan.cluster,
            self.plan.namespace,
            self.plan.name,
            (self.plan.owner_kind, self.plan.owner_name),
            self.plan.labels,
            self.ip,
            self.phase,
            self.ready_since is not None,
            worst.reason,
            worst.message,
            sum(c.restarts for c in self._conditions()),
            tuple(c.pid for c in self._conditions() if c.pid is not None),
            self.terminating,
            tuple(port for life in self._mains for port in life.container.ports),
        )
        return previous if found == previous else found

    async def run(self, living: Mapping[str, Process], gone: Mapping[str, Exit]) -> bool:
        """Live to the end: True when all containers succeeded. `living` and `gone` are found containers by name."""
        try:
            async with asyncio.TaskGroup() as group:
                stopper = group.create_task(self._stopper(), name=f"stop of {self.plan.name}")
                sidecars, begun = await self._initialise(group, living)
                mains = [
                    group.create_task(self._main(life, living, gone), name=life.name)
                    for life in self._mains
                    if (begun and not self.terminating) or life.container.name in living
                ]
                ends = [await task for task in mains]
                for life in sidecars:
                    await life.stop(float(self.plan.spec.termination_grace_period_seconds))
                stopper.cancel()
        finally:
            for life in self.containers:
                life.let_go()
        succeeded = len(ends) == len(self._mains) and all(end.code == 0 for end in ends)
        self.phase = "Succeeded" if succeeded else "Failed"
        self.ready_since = None
        self._changed()
        return succeeded

    async def _initialise(self, group: asyncio.TaskGroup, living: Mapping[str, Process]) -> tuple[list[ContainerLife], bool]:
        """Init containers one after the other; those that restart always are sidecars and run beside the rest.

        Returns the sidecars, and whether the others have all succeeded.
        """
        started = any(life.container.name in living for life in self._mains)
        sidecars = []
        for life in self._init:
            name = life.container.name
            if life.container.restart_policy == "Always":
                sidecars.append(life)
                group.create_task(life.run(living.get(name)), name=life.name)
            elif not self.terminating and (not started or name in living):
                end = await life.run(living.get(name))
                if end.code != 0:
                    return sidecars, False
        return sidecars, True

    async def _main(self, life: ContainerLife, living: Mapping[str, Process], gone: Mapping[str, Exit]) -> Exit:
        end = gone.get(life.container.name)
        if end is not None and not life.restarts_after(end):
            return end
        self.phase = "Running"
        return await life.run(living.get(life.container.name))

    async def _stopper(self) -> None:
        """Once told: drain and preStop side by side, then the signal. The drain is ours and costs no grace."""
        await self._stop.wait()
        clock = self._engine.clock
        grace = float(self.plan.spec.termination_grace_period_seconds)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._drain(), name=f"drain of {self.plan.name}")
            begun = clock.monotonic()
            hooks = [group.create_task(self._pre_stop(life, grace), name=f"preStop of {life.name}") for life in self._mains]
            for hook in hooks:
                await hook
            used = clock.monotonic() - begun if any(life.container.lifecycle for life in self._mains) else 0.0
        left = max(grace - used, min(grace, _LEAST_GRACE))
        async with asyncio.TaskGroup() as group:
            for life in (*self._mains, *self._init):
                group.create_task(life.stop(left), name=f"stop of {life.name}")

    async def _drain(self) -> None:
        if self.ready_since is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._engine.drain_s):
                    await self._left.wait()

    async def _pre_stop(self, life: ContainerLife, grace: float) -> None:
        lifecycle = life.container.lifecycle
        if lifecycle is None or lifecycle.pre_stop is None or life.condition.status != "Running":
            return
        # A hook that fails or takes too long does not keep a pod alive.
        with contextlib.suppress(TimeoutError, OSError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(grace):
                await self._hook(life, lifecycle.pre_stop)

    async def _hook(self, life: ContainerLife, handler: LifecycleHandler) -> None:
        if handler.exec is not None:
            await run_command(handler.exec, life.target)
        elif handler.http_get is not None:
            await http_get(handler.http_get, life.target)
        elif handler.sleep is not None:
            await asyncio.sleep(handler.sleep.seconds)

    def _conditions(self) -> list[Condition]:
        return [life.condition for life in self.containers]

    def _noticed(self) -> None:
        """A container has changed: the pod is ready when all that serve are (init containers only while they run aside)."""
        serving = [life for life in self.containers if life in self._mains or life.container.restart_policy == "Always"]
        ready = all(life.condition.ready for life in serving)
        if ready != (self.ready_since is not None):
            self.ready_since = self._engine.clock.monotonic() if ready else None
        self._changed()
