"""Where a link to a file leads, step by step: each place whose change would make the link mean another file."""

import os
from pathlib import Path

_MOST = 40  # as the kernel


def hops(path: Path) -> list[tuple[Path, str]]:
    """(folder, name) of `path`, and of every link and the file behind it. Folders are real paths; a circle ends the list."""
    places: list[tuple[Path, str]] = []
    at, rest = path.parent, [path.name]
    while rest and len(places) < _MOST:
        name = rest.pop(0)
        if name == "..":
            at = at.parent
            continue
        last = at / name
        linked = last.is_symlink()
        if linked or not rest:
            places.append((at, name))
        if not linked:
            at = last
            continue
        target = os.readlink(last)  # noqa: PTH115 - text, so that `..` and `.` stay visible
        parts = [part for part in target.split("/") if part not in ("", ".")]
        at = Path("/") if target.startswith("/") else at
        rest = parts + rest
    return places
