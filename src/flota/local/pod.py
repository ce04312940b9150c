"""The life of one pod: its containers in order, its graceful end, and its state as others see it."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from flota.fleet.pods import Container
from flota.local.container import LEAST_GRACE, Condition, ContainerLife, Engine
from flota.local.environment import Sources
from flota.local.podplan import PodPlan
from flota.local.podstate import Phase, PodState
from flota.local.process import Exit, Process


class PodLife:
    """One pod from its start, or its adoption, to its end. It is never restarted as a whole: a new one is made."""

    def __init__(
        self,
        engine: Engine,
        plan: PodPlan,
        ip: str,
        sources: Callable[[], Sources],
        changed: Callable[[], None],
        begun: float | None = None,
    ) -> None:
        """`begun`: when an adopted pod was started (Unix seconds); None = it starts now."""
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
        self._begun = engine.clock.now().timestamp() if begun is None else begun
        self._overdue = False
        self.over = False
        """Whether all of it has ended."""
        note = {"begun": repr(self._begun)}

        def life(container: Container, *, init: bool = False) -> ContainerLife:
            return ContainerLife(engine, plan, container, ip, sources, self._noticed, init=init, note=note)

        self._init = tuple(life(container, init=True) for container in plan.spec.init_containers)
        self._mains = tuple(life(container) for container in plan.spec.containers)

    @property
    def containers(self) -> tuple[ContainerLife, ...]:
        return (*self._init, *self._mains)

    @property
    def restarts(self) -> int:
        """How often its containers were started again."""
        return sum(c.restarts for c in self._conditions())

    def stop(self) -> None:
        """Let it end in good order: told first, then drained, then SIGTERM."""
        if not self.terminating:
            self.terminating = True
            self._halt()

    def traffic_left(self) -> None:
        """Nobody sends to it any more, so it need not wait out its drain time."""
        self._left.set()

    def state(self, previous: PodState | None = None) -> PodState:
        """How it is; the very same object as `previous` when nothing has changed."""
        worst = next((c for c in self._conditions() if c.reason not in ("", "Completed")), Condition())
        if self._overdue:
            limit = self.plan.spec.active_deadline_seconds
            worst = Condition(reason="DeadlineExceeded", message=f"it ran for its activeDeadlineSeconds ({limit} s) and was ended")
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
            self.restarts,
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
                deadline = group.create_task(self._deadline(), name=f"deadline of {self.plan.name}")
                sidecars, begun = await self._initialise(group, living)
                mains = [
                    group.create_task(self._main(life, living, gone), name=life.name)
                    for life in self._mains
                    if (begun and not self._stop.is_set()) or life.container.name in living
                ]
                ends = [await task for task in mains]
                deadline.cancel()
                for life in reversed(sidecars):
                    await self._end(life, float(self.plan.spec.termination_grace_period_seconds))
                stopper.cancel()
        finally:
            for life in self.containers:
                life.let_go()
        succeeded = not self._overdue and len(ends) == len(self._mains) and all(end.code == 0 for end in ends)
        self.phase = "Succeeded" if succeeded else "Failed"
        self.over = True
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
                if name in living or not self._stop.is_set():
                    group.create_task(life.run(living.get(name)), name=life.name)
                    await life.started.wait()
            elif not self._stop.is_set() and (not started or name in living):
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

    async def _deadline(self) -> None:
        """End it when it has been active for too long (PodSpec activeDeadlineSeconds)."""
        limit = self.plan.spec.active_deadline_seconds
        if limit is None:
            return
        await asyncio.sleep(max(0.0, self._begun + limit - self._engine.clock.now().timestamp()))
        self._overdue = True
        self.phase = "Failed"
        self.ready_since = None
        self._halt()

    def _halt(self) -> None:
        self._stop.set()
        for life in self._init:
            life.started.set()  # nobody waits for a start any more
        self._changed()

    async def _stopper(self) -> None:
        """Once told: first the containers that do the work, side by side, then the sidecars, last one first."""
        await self._stop.wait()
        grace = float(self.plan.spec.termination_grace_period_seconds)
        clock = self._engine.clock
        async with asyncio.TaskGroup() as group:
            drained = group.create_task(self._drain(), name=f"drain of {self.plan.name}")
            for life in self._mains:
                group.create_task(self._end(life, grace, drained), name=f"stop of {life.name}")
            await drained
            begun = clock.monotonic()
        for life in reversed(self._init):
            await self._end(life, max(grace - (clock.monotonic() - begun), min(grace, LEAST_GRACE)))

    @staticmethod
    async def _end(life: ContainerLife, grace: float, drained: asyncio.Task[None] | None = None) -> None:
        """Its preStop hook, then the signal, which waits for the drain: that is ours and costs no grace."""
        left = await life.pre_stop(grace)
        if drained is not None:
            await drained
        await life.stop(left)

    async def _drain(self) -> None:
        if self.ready_since is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._engine.drain_s):
                    await self._left.wait()

    def _conditions(self) -> list[Condition]:
        return [life.condition for life in self.containers]

    def _noticed(self) -> None:
        """A container has changed: the pod is ready when all that serve are (init containers only while they run aside)."""
        serving = [life for life in self.containers if life in self._mains or life.container.restart_policy == "Always"]
        ready = not self._overdue and all(life.condition.ready for life in serving)
        if ready != (self.ready_since is not None):
            self.ready_since = self._engine.clock.monotonic() if ready else None
        self._changed()
