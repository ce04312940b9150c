"""What changed in a fleet's folder, from inotify: cheap, at once, and never trusted to be complete.

A file counts as changed when its writer has closed it, or when it was moved or removed, so a file that is being written is
not read half. A burst of events becomes one: it ends when nothing came for 2 ms, and is handed out after 20 ms at the
latest. When the kernel's queue overflows or its watches run out, the answer is "look at everything again".
"""

import asyncio
import errno
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from asyncinotify import Event, Inotify, Mask

from flota.clock import Clock
from flota.sources.files import is_folder, is_manifest
from flota.sources.links import hops

QUIET = 0.002
"""Seconds without an event after which a burst is over: editors and `mv` leave less between their steps."""
LONGEST = 0.020
"""Seconds after which a burst is handed out, over or not."""
_MASK = (
    Mask.CLOSE_WRITE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE | Mask.CREATE | Mask.ATTRIB
    | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.EXCL_UNLINK | Mask.ONLYDIR
)  # fmt: skip
_CONTENT = Mask.CLOSE_WRITE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE
_SELF = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.IGNORED | Mask.UNMOUNT
_READ_AT_ONCE = 200  # events of the longest name; short ones fit in ten times as many


class Burst(msgspec.Struct, frozen=True):
    """What has to be looked at again. Paths are relative to the folder's top."""

    files: frozenset[str] = frozenset()
    touched: frozenset[str] = frozenset()
    """Files of which only rights, owner or times changed."""
    folders: frozenset[str] = frozenset()
    """Folders that came, went or were replaced."""
    everything: bool = False
    over: bool = True
    """False: handed out while events were still coming."""


class Watch:
    """Watches on folders under `root`. `wake` is called whenever something happened."""

    def __init__(self, root: Path, clock: Clock, wake: Callable[[], None]) -> None:
        self.limit: str | None = None
        """Why not all is watched, with the way to mend it; None when all is."""
        self._root = root
        self._clock = clock
        self._wake = wake
        self._inotify: Inotify | None = None
        self._folders: dict[int, str] = {}
        self._watched: dict[str, int] = {}
        self._targets: dict[tuple[int, str], set[str]] = {}
        self._files: set[str] = set()
        self._touched: set[str] = set()
        self._dirty: set[str] = set()
        self._everything = False
        self._first = self._last = 0.0

    @property
    def pending(self) -> bool:
        """Whether there is something to hand out."""
        return bool(self._files or self._touched or self._dirty or self._everything)

    async def run(self) -> None:
        """Take events until cancelled."""
        try:
            inotify = Inotify(cache_size=_READ_AT_ONCE)
        except OSError as error:
            self._failed(error)
            return
        with inotify:
            self._inotify = inotify
            self._wake()
            try:
                while True:
                    self._take(await inotify.get())
            finally:
                self._inotify = None

    @property
    def started(self) -> bool:
        """Whether folders can be watched now, or it is known that they can't."""
        return self._inotify is not None or self.limit is not None

    def follow(self, folders: Iterable[str]) -> set[str]:
        """Watch these folders from now on; those that were not watched before (so may have been read too early)."""
        fresh = set()
        for folder in folders:
            handle = self._add(self._root / folder)
            if handle is not None and self._folders.get(handle) != folder:
                fresh.add(folder)
                self._folders[handle] = folder
                self._watched[folder] = handle
        return fresh

    def follow_link(self, link: str) -> None:
        """Watch what this link in the folder leads to now, wherever that is, and no longer what it led to before."""
        for place, links in list(self._targets.items()):
            links.discard(link)
            if not links:
                del self._targets[place]
        for folder, name in hops(self._root / link)[1:]:
            handle = self._add(folder)
            if handle is not None:
                self._targets.setdefault((handle, name), set()).add(link)

    def covers(self, folder: str) -> bool:
        """Whether the folder is watched."""
        return folder in self._watched

    async def burst(self, work: Callable[[], bool]) -> Burst:
        """What happened; waits until it is over, but no longer than `LONGEST` after its first event.

        `work` is called meanwhile, and says whether it had something to do.
        """
        # It is the absence of events that is waited for: none could tell it.
        while (now := self._clock.monotonic()) - self._last < QUIET and now - self._first < LONGEST:  # noqa: ASYNC110
            await asyncio.sleep(0 if work() else max(0.0, QUIET - (self._clock.monotonic() - self._last)))
        over = now - self._last >= QUIET
        burst = Burst(
            frozenset(self._files), frozenset(self._touched), frozenset(self._dirty), self._everything, over
        )
        self._files, self._touched, self._dirty, self._everything = set(), set(), set(), False
        return burst

    def _add(self, folder: Path) -> int | None:
        if self._inotify is None:
            return None
        try:
            return self._inotify.add_watch(folder, _MASK).wd
        except OSError as error:
            self._failed(error)
            return None

    def _failed(self, error: OSError) -> None:
        if error.errno in (errno.ENOSPC, errno.EMFILE, errno.ENFILE):
            name = "max_user_watches" if error.errno == errno.ENOSPC else "max_user_instances"
            self.limit = (
                f"the kernel's limit fs.inotify.{name} is reached: changes are looked for once a second instead; "
                f"raise it with `sysctl -w fs.inotify.{name}=...`"
            )
            self._wake()

    def _take(self, event: Event) -> None:
        before = self.pending
        if event.mask & Mask.Q_OVERFLOW:
            self._everything = True
        elif event.watch is not None:
            self._sort(event, event.watch.wd, str(event.name) if event.name else "")
        if not self.pending:
            return
        self._last = self._clock.monotonic()
        if not before:
            self._first = self._last
        self._wake()

    def _sort(self, event: Event, handle: int, name: str) -> None:
        links = self._targets.get((handle, name))
        if links and event.path and (event.mask & _CONTENT or (event.mask & Mask.CREATE and _is_whole(event.path))):
            self._files |= links
        folder = self._folders.get(handle)
        if folder is None:
            return
        if event.mask & _SELF:
            self._lost(event, handle, folder)
            return
        path = f"{folder}/{name}" if folder else name
        if event.mask & Mask.ISDIR:
            if is_folder(name) and not event.mask & Mask.ATTRIB:
                self._dirty.add(path)
        elif is_manifest(name):
            if event.mask & _CONTENT or (event.mask & Mask.CREATE and _is_whole(self._root / path)):
                self._files.add(path)
            elif event.mask & Mask.ATTRIB:
                self._touched.add(path)

    def _lost(self, event: Event, handle: int, folder: str) -> None:
        """The folder itself went; its place may be taken by another one of the same name."""
        self._dirty.add(folder)
        if event.mask & Mask.IGNORED:
            del self._folders[handle]
        if self._watched.get(folder) == handle:
            del self._watched[folder]
        if event.mask & Mask.MOVE_SELF:
            self._folders.pop(handle, None)


def _is_whole(path: Path) -> bool:
    """Whether a new name is all that will come: a link, or a pipe and the like. A plain file is still to be written."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return not stat.S_ISREG(found.st_mode) or found.st_nlink > 1
