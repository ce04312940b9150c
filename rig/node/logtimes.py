"""When which part of a log was written: files have no times of lines, so their growth is watched."""

import bisect
import time
from pathlib import Path

from asyncinotify import Inotify, Mask


class LogTimes:
    """Of all logs in a folder, while `run` runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, tuple[list[float], list[int]]] = {}

    def offset(self, path: Path, moment: float) -> int:
        """The size a log had at a moment (seconds since the epoch): what comes after it was written later."""
        times, sizes = self._seen.get(path.name, ([], []))
        place = bisect.bisect_left(times, moment)
        return sizes[place - 1] if place else 0

    async def run(self) -> None:
        """Until cancelled."""
        with Inotify() as inotify:
            inotify.add_watch(self._folder, Mask.MODIFY | Mask.CREATE | Mask.DELETE)
            async for event in inotify:
                if event.name is None:
                    continue
                name = str(event.name)
                if event.mask & (Mask.DELETE | Mask.CREATE):
                    self._seen.pop(name, None)
                if event.mask & Mask.MODIFY:
                    self._grown(name)

    def _grown(self, name: str) -> None:
        try:
            size = (self._folder / name).stat().st_size
        except OSError:
            return
        times, sizes = self._seen.setdefault(name, ([], []))
        if not sizes or size != sizes[-1]:
            times.append(time.time())
            sizes.append(size)
