"""One cluster's Envoy: started detached, adopted, restarted when it crashes, replaced by hot restart, drained before
it stops.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable

import msgspec

from flota.clock import Clock
from flota.fleet.problem import Problem
from flota.local import logs
from flota.local.admin import Admin, AdminError
from flota.local.backoff import CRASH_LOOP, PROXY
from flota.local.envoylog import Trouble, trouble
from flota.local.process import Exit, Process, ProcessSpec, Runner
from flota.local.proxyspec import (
    ProxySpec,
    ProxyState,
    argv,
    bootstrap_file,
    proxy_paths,
    remove_traces,
    validate,
)
from flota.local.state import StateFolder, disk_problem

_READY_EVERY = (0.01, 0.5)


class Proxy:
    """The life of one cluster's Envoy. `run` until cancelled (Envoy lives on) or until `stop` has ended it."""

    def __init__(
        self,
        spec: ProxySpec,
        state: StateFolder,
        runner: Runner,
        clock: Clock,
        publish: Callable[[ProxyState], None],
        adopted: dict[int, Process],
    ) -> None:
        self.spec = spec
        self._state = state
        self._runner = runner
        self._clock = clock
        self._publish_state = publish
        self.paths = proxy_paths(state, spec.cluster)
        self.admin = Admin(self.paths.admin)
        self._epoch = max(adopted, default=0)
        self._current: Process | None = adopted.pop(self._epoch, None)
        self._parents = list(adopted.values())
        self._version = self._current.record.note.get("version", "") if self._current else ""
        self._refused: str | None = None
        self._crashes = 0
        self._restarts = 0
        self._started_at = clock.monotonic()
        self._log_start = logs.size(self.paths.log)
        self._changed = asyncio.Event()
        self._stop_after: float | None = None

    def want(self, spec: ProxySpec) -> None:
        """Replace the spec; a different digest means a hot restart."""
        if spec != self.spec:
            self.spec = spec
            self._refused = None
            self._changed.set()

    def stop(self, drain: float) -> None:
        """Let `run` drain for at most `drain` seconds and end Envoy."""
        self._stop_after = drain
        self._changed.set()

    async def run(self) -> None:
        """Keep the wanted Envoy running."""
        try:
            while self._stop_after is None:
                self._changed.clear()
                await self._step()
            await self._finish(self._stop_after)
        finally:
            for process in (self._current, *self._parents):
                if process is not None:
                    process.close()

    async def _step(self) -> None:
        """Start, replace, or watch: one of them, then return to look again."""
        if self._current is None:
            await self._begin()
        elif self._current.record.digest != self.spec.digest and self._refused != self.spec.digest:
            await self._replace(self._current)
        else:
            await self._watch(self._current)

    async def _begin(self) -> None:
        """A cold start, epoch 0: whatever an earlier epoch left must be gone, or its sockets and memory would be in
        the way.
        """
        for parent in self._parents:
            await parent.stop(1.0)
            self._runner.forget(parent.name)
        self._parents.clear()
        self._epoch = 0
        started = self._start(0)
        if isinstance(started, Problem):
            self._crashes = PROXY.crashes(self._crashes, 0.0)
            await self._back_off(Trouble(started.reason, started.message))
            return
        self._current = started

    async def _replace(self, old: Process) -> None:
        """Hot restart (Envoy's "Hot restart" architecture page): the new epoch takes the sockets over, the old one
        drains and ends itself.
        """
        fault = await validate(self.spec, self.paths)
        if fault is not None:
            self._refuse(old, fault)
            return
        # Only one parent at a time: its own sockets are numbered by epoch modulo three.
        await self._await_parents()
        started = self._start(self._epoch + 1)
        if isinstance(started, Problem):
            self._refuse(old, Trouble(started.reason, started.message))
            return
        if await self._ready(started):
            self._epoch += 1
            self._current = started
            self._parents.append(old)
            return
        found = self._trouble(started.exit)
        self._runner.forget(started.name)
        self._refuse(old, found)

    def _refuse(self, old: Process, fault: Trouble) -> None:
        """The new one can't live: the old one goes on, and the spec is not tried again until it changes."""
        self._refused = self.spec.digest
        self._publish(
            "Running",
            old.pid,
            "UpgradeFailed",
            f"the new Envoy or bootstrap was not taken over ({fault.reason}): {fault.message}",
        )

    async def _watch(self, process: Process) -> None:
        """Until something changes: the process ends, another spec comes, or it must stop."""
        if self._refused is None and await self._ready(process):
            self._publish("Running", process.pid)
        if process.exit is None and not self._changed.is_set():
            await self._either(process)
        if process.exit is not None:
            await self._crashed(process, process.exit)

    async def _crashed(self, process: Process, end: Exit) -> None:
        self._current = None
        self._runner.forget(process.name)
        self._crashes = PROXY.crashes(self._crashes, self._clock.monotonic() - self._started_at)
        self._restarts += 1
        await self._back_off(self._trouble(end))

    async def _back_off(self, why: Trouble) -> None:
        delay = PROXY.delay(self._crashes)
        phase = "CrashLoop" if self._crashes >= CRASH_LOOP else "Restarting"
        self._publish(phase, None, why.reason, f"{why.message}; next start in {delay:g} s" if delay else why.message)
        if self._current is None and delay:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._changed.wait()

    async def _ready(self, process: Process) -> bool:
        """Wait until Envoy says it is live; False when it ended, or when something else is wanted meanwhile."""
        wait, limit = _READY_EVERY
        while process.exit is None and not self._changed.is_set():
            with contextlib.suppress(AdminError):
                info = await self.admin.get("/server_info", timeout=1.0)
                # During a hot restart the old epoch may still answer on the same path.
                found = msgspec.json.decode(info.body) if info.status == 200 else {}
                if found.get("state") == "LIVE" and found["command_line_options"]["restart_epoch"] == _epoch_of(process):
                    return True
            self._publish("Starting", process.pid, "Initializing", "Envoy waits for its first configuration")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._either(process)
            wait = min(limit, wait * 1.5)
        return False

    async def _either(self, process: Process) -> None:
        """Wait for the end of a process or for a wish, whichever comes first."""
        async with asyncio.TaskGroup() as group:
            waits = {
                group.create_task(process.wait(), name="proxy ends"),
                group.create_task(self._changed.wait(), name="proxy wish"),
            }
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in waits:
                task.cancel()

    async def _await_parents(self) -> None:
        for parent in self._parents:
            try:
                async with asyncio.timeout(1.0 + 2 * self.spec.drain_s):
                    await parent.wait()
            except TimeoutError:
                await parent.stop(1.0)
            self._runner.forget(parent.name)
        self._parents.clear()

    async def _finish(self, drain: float) -> None:
        """Drain, then end: connections are told to go, and get the time to."""
        process = self._current
        if process is not None and process.exit is None:
            self._publish("Draining", process.pid)
            await self._drain(process, drain)
            await process.stop(5.0)
            self._runner.forget(process.name)
        for parent in self._parents:
            await parent.stop(1.0)
            self._runner.forget(parent.name)
        remove_traces(self._state, self.spec.cluster)
        self._publish("Stopped", None)

    async def _drain(self, process: Process, seconds: float) -> None:
        with contextlib.suppress(AdminError, TimeoutError):
            async with asyncio.timeout(seconds):
                await self.admin.post("/drain_listeners?graceful", timeout=1.0)
                # Envoy can't be waited on for this; the statistics are asked, with a limit on the whole.
                while process.exit is None and await self._connections() > 0:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    async def _connections(self) -> int:
        """Client connections still open; where statistics are off, one, so that the drain takes its whole time."""
        answer = await self.admin.get("/stats?filter=^listener%5C..*downstream_cx_active$", timeout=1.0)
        counts = [int(line.rpartition(":")[2]) for line in answer.text.splitlines() if "admin" not in line]
        return sum(counts) if counts else 1

    def _start(self, epoch: int) -> Process | Problem:
        spec, paths = self.spec, self.paths
        try:
            bootstrap = bootstrap_file(spec, paths)
        except OSError as error:
            return disk_problem("write", paths.folder, error)
        self._log_start = logs.size(paths.log)
        started = self._runner.start(
            ProcessSpec(
                name=f"proxy/{spec.cluster}/{epoch}",
                argv=argv(spec, self._state, bootstrap, epoch),
                env={"PATH": os.defpath},
                cwd=paths.folder,
                log=paths.log,
                digest=spec.digest,
                orphan=True,
                note={"version": spec.version},
            )
        )
        if not isinstance(started, Problem):
            self._started_at = self._clock.monotonic()
            self._version = spec.version
        return started

    def _trouble(self, end: Exit | None) -> Trouble:
        words = f"Envoy {end.words}" if end is not None else "Envoy did not come up"
        return trouble(logs.tail(self.paths.log, self._log_start), words)

    def _publish(self, phase: str, pid: int | None, reason: str = "", message: str = "") -> None:
        self._publish_state(ProxyState(self.spec.cluster, phase, pid, self._epoch, self._version, self._restarts, reason, message))


def _epoch_of(process: Process) -> int:
    return int(process.name.rpartition("/")[2])
