"""The one writer of the fleet: folder → watch → read → admit → assemble → `Latest[Fleet]`, `Latest[tuple[Problem, ...]]`.

All reading is done in short turns on the event loop, file by file in parallel, so the most hostile file holds up nothing
else; what is ready goes live while it is still being chewed.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from flota.clock import Clock
from flota.fleet.drain import Drain
from flota.fleet.fleet import Fleet
from flota.fleet.problem import Problem
from flota.fleet.signals import Signals
from flota.latest import Latest
from flota.sources.assemble import Addresses, Given, Slices, Unusable
from flota.sources.folder import Folder
from flota.sources.memory import SourceMemory
from flota.sources.objects import TOP
from flota.sources.watch import QUIET, Burst, Watch
from flota.sources.yaml import Steps

TURN = 0.004
"""Seconds of reading between two looks at the event loop."""
HOLD = 1.0
"""Seconds that a deletion waits at most for the rest of a burst: the object may turn up in another file."""
SWEEP = 30.0
"""Seconds between two looks at everything; finds what the kernel does not tell (network file systems)."""
SWEPT_AT_ONCE = 1000
"""With more files than this a look at everything comes less often, so that it costs no more."""
POLL = 1.0
"""The same where the kernel has no watches left."""
SETTLED = 0.2
"""Seconds since its last change after which a file that was found changed, and not told of, is taken as written."""


class FolderSource:
    """Keeps `fleet` and `problems` up to date with the folder at `root` and with what else makes up the fleet."""

    def __init__(self, root: Path, memory: SourceMemory, clock: Clock) -> None:
        self.fleet: Latest[Fleet] = Latest(Fleet(name=""))
        self.problems: Latest[tuple[Problem, ...]] = Latest(())
        self.ready: Latest[bool] = Latest(False)
        """True once the whole folder has been read."""
        self.slices: Latest[Slices] = Latest({})
        self.drains: Latest[tuple[Drain, ...]] = Latest(())
        self.signals: Latest[Signals] = Latest(Signals())
        self.addresses: Latest[Addresses] = Latest({})
        self.unusable: Latest[Unusable] = Latest({})
        self.folder = Folder(root, memory)
        self._clock = clock
        self._wake = asyncio.Event()
        self._watch = Watch(root, clock, self._wake.set)
        self._jobs: dict[str, Steps[None]] = {}
        self._held_since: float | None = None
        self._swept = clock.monotonic()
        self._recheck: float | None = None
        self._streaming = False

    def memory(self) -> SourceMemory:
        """What to keep over a restart; valid once ready."""
        return self.folder.table.memory()

    async def run(self) -> None:
        """Read the folder, then follow it until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch.run(), name="sources.watch")
            for name, cell in (("slices", self.slices), ("drains", self.drains), ("signals", self.signals),
                               ("addresses", self.addresses), ("unusable", self.unusable)):
                tasks.create_task(self._note(cell), name=f"sources.{name}")
            while not self._watch.started:
                await self._wake.wait()
                self._wake.clear()
            self._list(TOP)
            while not await self._round():
                pass
            self.ready.set(True)
            while True:
                await self._woken()
                self._look_again(await self._watch.burst(self._turn))
                await self._round()

    async def _note(self, cell: "_Followed") -> None:
        async for _ in cell.follow():
            self._wake.set()

    async def _woken(self) -> None:
        """Wait for news; not at all while there is reading left to do."""
        if self._jobs:
            return
        wait = self._every()
        if self._recheck is not None:
            wait = SETTLED / 2
        if self._held_since is not None:
            wait = 2 * QUIET
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    def _look_again(self, burst: Burst) -> None:
        for path in burst.files | {path for path in burst.touched if self.folder.table.is_unreadable(path)}:
            if self.folder.accepts(path):
                self._jobs[path] = self._read_job(path)
        for folder in sorted({each for changed in burst.folders for each in self.folder.affected(changed)}):
            self._list(folder)
        now = self._clock.monotonic()
        if burst.everything or now - self._swept >= self._every() or (self._recheck is not None and now >= self._recheck):
            self._swept, self._recheck = now, None
            for folder in self.folder.tops():
                self._list(folder, patient=True)
        self._streaming = not burst.over

    def _every(self) -> float:
        if self._watch.limit is None and self._watch.covers(TOP):
            return SWEEP * max(1.0, self.folder.size() / SWEPT_AT_ONCE)
        return POLL

    def _list(self, folder: str, *, patient: bool = False) -> None:
        self._jobs[f"{folder}/"] = self._list_job(folder, patient=patient)

    async def _round(self) -> bool:
        """Some reading, then what is ready goes live. Whether nothing is left to do."""
        self._turn()
        now = self._clock.monotonic()
        hold = self._hold(now)
        for folder in self.folder.settle(self._clock.now(), hold=hold):
            self._list(folder)
        self._watch.follow(self.folder.parents())
        if self.ready.get() or not self._jobs:
            self._publish()
        await asyncio.sleep(0)
        return not self._jobs

    def _turn(self) -> bool:
        """Some reading, a step of each job after the other. Whether there was any to do."""
        busy = bool(self._jobs)
        end = self._clock.monotonic() + TURN
        while self._jobs and self._clock.monotonic() < end:
            key = next(iter(self._jobs))
            job = self._jobs.pop(key)
            if not self._step(job):
                self._jobs.setdefault(key, job)  # behind the others; a newer job for the same file goes first
        return busy

    def _hold(self, now: float) -> bool:
        """Whether deletions wait: while something is still being read or events are still coming, but not for ever."""
        unfinished = bool(self._jobs) or self._watch.pending or self._streaming
        if not unfinished:
            self._held_since = None
            return False
        if self._held_since is None:
            self._held_since = now
        return now - self._held_since < HOLD

    @staticmethod
    def _step(job: Steps[None]) -> bool:
        try:
            next(job)
        except StopIteration:
            return True
        return False

    def _read_job(self, path: str) -> Steps[None]:
        reading = yield from self.folder.read(path)
        self.folder.put(path, reading)
        if self.folder.is_link(path):
            self._watch.follow_link(path)

    def _list_job(self, folder: str, *, patient: bool) -> Steps[None]:
        listing = yield from self.folder.list(folder)
        while self._watch.follow(listing.folders):  # read before they were watched: something may have come since
            listing = yield from self.folder.list(folder)
        news, gone = self.folder.compare(folder, listing)
        now = self._clock.now().timestamp()
        for path in sorted(news):
            young = now - listing.files[path][2] / 1e9
            if patient and 0 <= young < SETTLED and self.folder.knows(path):
                self._recheck = self._clock.monotonic() + SETTLED  # perhaps half written: it is told when it is closed
            elif self.folder.accepts(path):
                self._jobs[path] = self._read_job(path)
        for path in gone:
            self.folder.put(path, None)

    def _publish(self) -> None:
        given = Given(self.slices.get(), self.drains.get(), self.signals.get(), self.addresses.get(), self.unusable.get())
        fleet, problems = self.folder.fleet(given)
        if self._watch.limit is not None:
            limit = Problem(None, "Folder", "", "", "WatchLimit", self._watch.limit, retry=True)
            problems = (limit, *problems)
        self.fleet.set(fleet)
        if problems != self.problems.get():
            self.problems.set(problems)


class _Followed(Protocol):
    def follow(self) -> AsyncIterator[object]: ...
