"""Log files of detached writers: bounded in size, and read from the end."""

import asyncio
import contextlib
import glob
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

LIMIT = 10 << 20
"""A log is cut when it is longer than this, in bytes."""
KEPT = 2
"""So many older parts are kept: `NAME.1` is the newest."""
GONE_KEPT = 20
"""So many logs of containers whose pod is gone are kept."""

_CHUNK = 1 << 20


def size(path: Path) -> int:
    """Bytes in a log, 0 when there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def tail(path: Path, start: int = 0, limit: int = 64 << 10) -> tuple[str, ...]:
    """The last whole lines of a log from byte `start` on, at most `limit` bytes of them."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            # A log that was cut since is shorter than where we were told to start.
            begin = max(start if start <= end else 0, end - limit)
            file.seek(begin)
            text = file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ()
    lines = text.splitlines()
    return tuple(lines[1:] if begin > start and len(lines) > 1 else lines)


def prune(folder: Path, living: Collection[Path], kept: int = GONE_KEPT) -> None:
    """Remove the oldest logs of pods that are gone: what a pod said last is wanted after its end, but not for ever."""
    dated = sorted(((_age(path), path) for path in folder.glob("pod-*.log") if path not in living), reverse=True)
    for _, path in dated[kept:]:
        for part in (path, *folder.glob(f"{glob.escape(path.name)}.*")):
            with contextlib.suppress(OSError):
                part.unlink()


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def rotate(path: Path, limit: int = LIMIT, kept: int = KEPT) -> bool:
    """Cut a log that has outgrown `limit`, keeping its text as `NAME.1`. Raises OSError (a full disk), then after
    cutting.

    The writers are detached and hold the file open for appending, so it is copied and then cut to nothing: renaming
    it would carry
    them along. Only a line written between the last read and the cut, some microseconds, can be lost.
    """
    if size(path) <= limit:
        return False
    error: OSError | None = None
    try:
        _shift(path, kept)
    except OSError as failed:
        error = failed
    with path.open("r+b") as source:
        try:
            if error is None:
                _copy(source.fileno(), path.with_name(f"{path.name}.1"))
        except OSError as failed:
            error = failed
        # Also when the copy failed: a log that can't be kept must still not fill the disk.
        source.truncate(0)
    if error is not None:
        raise error
    return True


def _shift(path: Path, kept: int) -> None:
    for number in range(kept, 1, -1):
        older = path.with_name(f"{path.name}.{number - 1}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number}"))


def _copy(source: int, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        while data := os.read(source, _CHUNK):
            os.write(descriptor, data)
    finally:
        os.close(descriptor)


async def keep_short(paths: Callable[[], Iterable[Path]], every: float = 2.0) -> None:
    """Rotate what has outgrown the limit, again and again, until cancelled. Copying is done off the event loop.

    A busy proxy writes several MB of access log a second: what comes between two looks is over the limit.
    """
    while True:
        await asyncio.sleep(every)
        for path in tuple(paths()):
            if size(path) > LIMIT:
                await asyncio.to_thread(_rotate_quietly, path)


def _rotate_quietly(path: Path) -> None:
    try:
        rotate(path)
    except OSError:
        # The log was cut, which is what the disk needs; its text could not be kept.
        return
