"""`flota logs`: of Flota, the proxies (their access logs too) and the pods."""

import time
from collections.abc import Iterator
from pathlib import Path

from flota.cli.failure import Failure
from flota.cli.output import write

_POLL_S = 0.2
_TAIL_BYTES = 64 << 10


def log_files(folder: Path, name: str | None) -> list[Path]:
    """The logs whose name has `name` in it, by name; all without one. Raises Failure when there is none."""
    chosen = _found(folder, name)
    if not chosen:
        known = ", ".join(label(folder, path) for path in _found(folder, None)) or "none: nothing was started here yet"
        raise Failure(f"there is no log of that name; there are: {known}" if name else f"there are no logs in {folder}")
    return chosen


def _found(folder: Path, name: str | None) -> list[Path]:
    every = [path for root in ("logs", "proxies") for path in sorted((folder / ".flota" / root).rglob("*.log"))]
    return [path for path in every if name is None or name in label(folder, path)]


def label(folder: Path, path: Path) -> str:
    """The name of a log, as it stands before its lines."""
    return str(path.relative_to(folder / ".flota").with_suffix("")).removeprefix("logs/")


def show(folder: Path, name: str | None, lines: int, *, follow: bool) -> None:
    """Print the last lines of the chosen logs, and with `follow` what is added until interrupted."""
    files = log_files(folder, name)
    many = len(files) > 1 or follow
    ends = {path: _size(path) for path in files}
    for path in files:
        from flota.local.logs import tail

        for line in tail(path, limit=_TAIL_BYTES)[-lines:] if lines else ():
            write(f"{label(folder, path)} | {line}" if many else line)
    while follow:
        time.sleep(_POLL_S)
        for path in _found(folder, name):
            for line in _added(path, ends):
                write(f"{label(folder, path)} | {line}")


def _added(path: Path, ends: dict[Path, int]) -> Iterator[str]:
    """Whole lines written since the last look; a log that was cut starts anew."""
    size, start = _size(path), ends.get(path, 0)
    start = 0 if size < start else start
    try:
        with path.open("rb") as file:
            file.seek(start)
            chunk = file.read(size - start)
    except FileNotFoundError:  # its pod went, and so may its log
        return
    whole = chunk.rfind(b"\n") + 1
    ends[path] = start + whole
    yield from chunk[:whole].decode("utf-8", "replace").splitlines()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
