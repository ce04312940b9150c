"""The pods of all clusters of a fleet: what manifests ask for is started, what they no longer ask for is ended."""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

from msgspec import structs

from flota.fleet.fleet import Cluster
from flota.fleet.problem import Problem
from flota.latest import Latest
from flota.local import logs
from flota.local.addresses import Addresses
from flota.local.adoption import Found, PodKey, explain, found_pods
from flota.local.container import Engine
from flota.local.environment import Sources
from flota.local.jobs import RETRY, JobRecord, ended, job_moves, judged, time_left
from flota.local.pod import PodLife
from flota.local.podplan import PodPlan, Workload, workloads
from flota.local.podstate import PodState
from flota.local.process import Exit, Process, Record
from flota.local.rollout import Moves, PodView, bare, rollout
from flota.local.state import StateFolder

_JOBS = "jobs"
_RETRY_ADDRESS = 1.0

WorkloadKey = tuple[str, str, str, str]


class Pods:
    """Runs pods as processes. Cancelling `run` leaves all of them running; `stop_all` ends them."""

    def __init__(
        self,
        engine: Engine,
        state: StateFolder,
        addresses: Addresses,
        living: Mapping[str, Process],
        gone: Mapping[str, tuple[Record, Exit]],
    ) -> None:
        """`living` and `gone` come from `Runner.adopt`; those of pods are taken from it."""
        self.states: Latest[tuple[PodState, ...]] = Latest(())
        """All pods, by cluster, namespace and name; an unchanged pod is the same object."""
        self.problems: Latest[tuple[Problem, ...]] = Latest(())
        self.looks: Latest[int] = Latest(0)
        """How often everything was looked at since something is wanted: after the first look `states` has all pods that were adopted."""
        self._engine = engine
        self._state = state
        self._addresses = addresses
        self._found = found_pods(living, gone)
        self._wanted: dict[WorkloadKey, Workload] | None = None
        self._sources: dict[str, Sources] = {}
        self._refused: tuple[Problem, ...] = ()
        self._without_address: dict[PodKey, Problem] = {}
        self._lives: dict[PodKey, PodLife] = {}
        self._strangers: set[str] = set()
        """Processes of pods that nobody can explain, while they end."""
        self._wake = asyncio.Event()
        kept = state.load(_JOBS, dict[str, JobRecord])
        self._jobs: dict[str, JobRecord] = kept if isinstance(kept, dict) else {}
        self._job_problem = kept if isinstance(kept, Problem) else None
        self._retry_at: dict[str, float] = {}
        self._known = asyncio.Event()
        self._closing = False

    def want(self, clusters: Mapping[str, Cluster]) -> None:
        """The clusters as they should be. Nothing is ended before this was called for the first time."""
        found = [workloads(cluster) for cluster in clusters.values()]
        self._wanted = {workload.key: workload for made, _ in found for workload in made}
        self._refused = tuple(problem for _, problems in found for problem in problems)
        self._sources = {name: Sources(cluster.config_maps, cluster.secrets) for name, cluster in clusters.items()}
        self._known.set()
        self._wake.set()

    def traffic_left(self, cluster: str, namespace: str, name: str) -> None:
        """No proxy sends to this terminating pod any more: it may end at once."""
        life = self._lives.get((cluster, namespace, name))
        if life is not None:
            life.traffic_left()

    def log_paths(self) -> tuple[Path, ...]:
        """The logs that may grow."""
        return tuple(container.log for life in self._lives.values() for container in life.containers)

    async def run(self) -> None:
        """Adopt what was found, then keep what is wanted running, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for found in tuple(self._found.values()):
                if found.plan is not None:
                    self._adopt(group, found, found.plan)
            while True:
                self._wake.clear()
                again = self._reconcile(group)
                self._publish()
                if self._wanted is not None:
                    self.looks.set(self.looks.get() + 1)
                delay = None if again is None else max(0.0, again - self._engine.clock.monotonic())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._wake.wait()

    async def stop_all(self) -> None:
        """End every pod in good order; returns when all are gone. `run` must be running."""
        self._closing = True
        self.want({})
        while self._found or self._lives or self._strangers:
            await self.looks.changed()

    def _reconcile(self, group: asyncio.TaskGroup) -> float | None:
        """Look at every workload once; returns when to look again at the latest (monotonic seconds)."""
        if self._wanted is None:
            return None
        self._explain_found(group, self._wanted)
        now = self._engine.clock.monotonic()
        views: dict[WorkloadKey, list[PodView]] = {}
        for life in self._lives.values():
            views.setdefault(life.plan.owner, []).append(PodView(life.plan, life.ready_since, life.terminating, life.restarts))
        for key in views.keys() - self._wanted.keys():
            for view in views[key]:
                self._stop(view.plan.key)
        again = [self._apply(group, self._moves(workload, tuple(views.get(key, ())), now), now) for key, workload in self._wanted.items()]
        self._forget_jobs(self._wanted)
        return min((moment for moment in again if moment is not None), default=None)

    def _forget_jobs(self, wanted: Mapping[WorkloadKey, Workload]) -> None:
        """A Job that is taken out of the files and put back later runs again; one that was only stopped with all the rest does not."""
        names = {"/".join(key) for key in wanted}
        stale = [name for name in self._jobs if name not in names]
        if stale and not self._closing:
            for name in stale:
                del self._jobs[name]
                self._retry_at.pop(name, None)
            self._job_problem = self._state.save(_JOBS, self._jobs)

    def _moves(self, workload: Workload, pods: tuple[PodView, ...], now: float) -> Moves:
        if workload.kind == "Deployment":
            return rollout(workload, pods, now)
        if workload.kind == "Pod":
            return bare(workload, pods)
        return self._job_moves(workload, pods, now)

    def _job_moves(self, workload: Workload, pods: tuple[PodView, ...], now: float) -> Moves:
        key = "/".join(workload.key)
        held = self._jobs.get(key)
        wall = self._engine.clock.now().timestamp()
        record = judged(workload, held if held is not None and held.hash == workload.hash else JobRecord(workload.hash), pods, wall)
        if record != held:
            self._jobs[key] = record
            self._job_problem = self._state.save(_JOBS, self._jobs)
        moves = job_moves(workload, record, pods, now, self._retry_at.get(key, 0.0))
        left = time_left(workload, record, wall)
        if left is None:
            return moves
        return structs.replace(moves, again=min(now + left, now + left if moves.again is None else moves.again))

    def _apply(self, group: asyncio.TaskGroup, moves: Moves, now: float) -> float | None:
        again = moves.again
        for plan in moves.stop:
            self._stop(plan.key)
        for plan in moves.start:
            if plan.key not in self._lives and not self._launch(group, plan):
                again = min(now + _RETRY_ADDRESS, again) if again is not None else now + _RETRY_ADDRESS
        return again

    def _launch(self, group: asyncio.TaskGroup, plan: PodPlan) -> bool:
        ports = tuple(
            (port.protocol, port.container_port)
            for container in plan.spec.containers
            for port in container.ports
            if port.protocol in ("TCP", "UDP")
        )
        address = self._addresses.give(_owner(plan), ports)
        if isinstance(address, Problem):
            self._without_address[plan.key] = _about(plan, address.reason, address.message)
            return False
        self._without_address.pop(plan.key, None)
        self._count_job_pod(plan)
        self._begin(group, plan, address, {}, {})
        return True

    def _adopt(self, group: asyncio.TaskGroup, found: Found, plan: PodPlan) -> None:
        """A pod of an earlier life. One that has wholly ended is only taken up where its end still means something."""
        self._found.pop(found.key, None)
        final = plan.spec.restart_policy != "Always" or plan.spec.active_deadline_seconds is not None
        if found.living or final:
            self._addresses.adopt(_owner(plan), found.ip)
            self._begin(group, plan, found.ip, found.living, found.gone, found.begun)
        else:
            self._forget(plan)

    def _explain_found(self, group: asyncio.TaskGroup, wanted: Mapping[WorkloadKey, Workload]) -> None:
        """Pods without a record: kept when a workload explains them, ended otherwise."""
        for key, found in tuple(self._found.items()):
            plan = explain(found, wanted.values())
            if plan is not None and found.ip:
                self._adopt(group, found, plan)
            else:
                self._found.pop(key)
                for process in found.living.values():
                    self._strangers.add(process.name)
                    group.create_task(self._end_stranger(process), name=f"stop of {process.name}")

    async def _end_stranger(self, process: Process) -> None:
        await process.stop(30.0)
        self._engine.runner.forget(process.name)
        self._strangers.discard(process.name)
        self._wake.set()

    def _begin(
        self,
        group: asyncio.TaskGroup,
        plan: PodPlan,
        ip: str,
        living: Mapping[str, Process],
        gone: Mapping[str, Exit],
        begun: float | None = None,
    ) -> None:
        empty = Sources({}, {})
        life = PodLife(self._engine, plan, ip, lambda: self._sources.get(plan.cluster, empty), self._wake.set, begun)
        self._lives[plan.key] = life
        group.create_task(self._live(life, living, gone), name=f"pod {plan.cluster}/{plan.namespace}/{plan.name}")

    async def _live(self, life: PodLife, living: Mapping[str, Process], gone: Mapping[str, Exit]) -> None:
        succeeded = await life.run(living, gone)
        plan = life.plan
        if plan.owner_kind == "Job" and not life.terminating:
            # One that ended before we lived is counted once it is known what the Job says today.
            await self._known.wait()
            self._job_pod_ended(plan, succeeded=succeeded)
        # A bare Pod that has run to its end stays to be seen, and is not run again.
        if life.terminating or plan.owner_kind != "Pod":
            self._drop(life)
        self._wake.set()

    def _stop(self, key: PodKey) -> None:
        life = self._lives[key]
        if life.over:
            self._drop(life)
            self._wake.set()
        else:
            life.stop()

    def _drop(self, life: PodLife) -> None:
        self._lives.pop(life.plan.key, None)
        self._forget(life.plan)
        if life.terminating:
            logs.prune(self._engine.logs, frozenset(self.log_paths()))

    def _forget(self, plan: PodPlan) -> None:
        self._addresses.release(_owner(plan))
        for container in (*plan.spec.init_containers, *plan.spec.containers):
            name = f"pod/{plan.cluster}/{plan.namespace}/{plan.name}/{container.name}"
            self._engine.runner.forget(name)

    def _count_job_pod(self, plan: PodPlan) -> None:
        """Each pod of a Job has a number of its own, also over our restarts."""
        if plan.owner_kind == "Job":
            key = "/".join(plan.owner)
            record = self._jobs[key]
            self._jobs[key] = structs.replace(record, next_number=record.next_number + 1)
            self._job_problem = self._state.save(_JOBS, self._jobs)

    def _job_pod_ended(self, plan: PodPlan, *, succeeded: bool) -> None:
        workload = (self._wanted or {}).get(plan.owner)
        key = "/".join(plan.owner)
        if workload is None or workload.hash != plan.hash:
            return
        active = sum(life.plan.owner == plan.owner for life in self._lives.values()) - 1
        record = ended(workload, self._jobs.get(key, JobRecord(plan.hash)), plan, succeeded=succeeded, active=active)
        self._jobs[key] = record
        if not succeeded:
            self._retry_at[key] = self._engine.clock.monotonic() + RETRY.delay(record.failed)
        self._job_problem = self._state.save(_JOBS, self._jobs)

    def _publish(self) -> None:
        known = {state.key: state for state in self.states.get()}
        states = tuple(self._lives[key].state(known.get(key)) for key in sorted(self._lives))
        before = self.states.get()
        if len(states) != len(before) or any(a is not b for a, b in zip(states, before, strict=True)):
            self.states.set(states)
        problems = (*self._refused, *self._without_address.values(), *_bad_pods(states), *self._bad_jobs())
        problems += tuple(self._engine.runner.problems.values())
        problems += tuple(problem for problem in (self._job_problem, self._addresses.problem) if problem is not None)
        if problems != self.problems.get():
            self.problems.set(problems)

    def _bad_jobs(self) -> list[Problem]:
        bad = []
        for key, workload in (self._wanted or {}).items():
            record = self._jobs.get("/".join(key))
            if record is not None and record.over == "Failed":
                late = record.reason == "DeadlineExceeded"
                why = "it took longer than activeDeadlineSeconds" if late else f"{record.failed} of its pods failed"
                message = f"the Job failed: {why}; change its template to run it again"
                bad.append(Problem(key[0], "Job", workload.namespace, workload.name, record.reason, message))
        return bad


def _owner(plan: PodPlan) -> str:
    return f"pod/{plan.cluster}/{plan.namespace}/{plan.name}"


def _about(plan: PodPlan, reason: str, message: str) -> Problem:
    return Problem(plan.cluster, "Pod", plan.namespace, plan.name, reason, message, retry=True)


def _bad_pods(states: tuple[PodState, ...]) -> list[Problem]:
    """Pods that need somebody's attention; one that is merely coming up does not."""
    calm = ("", "NotReady", "Completed")
    return [
        Problem(state.cluster, "Pod", state.namespace, state.name, state.reason, state.message, retry=True)
        for state in states
        if state.reason not in calm and not state.terminating
    ]
