"""Files and folders on disk, read without ever waiting for them or trusting them.

Pipes, devices and sockets are not opened, link loops and missing rights are told, sizes and counts are bounded. Links to
files are followed, links to folders are not (design 6.1).
"""

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from flota.sources.documents import MAX_FILE
from flota.sources.yaml import Flaw, Steps

MAX_FILES = 20_000
"""Manifest files of one cluster."""
MAX_FOLDERS = 5_000
"""Sub-folders of one cluster, each of which takes a watch."""
MAX_ENTRIES = 500_000
"""Directory entries looked at for one cluster, whatever they are."""
_PAUSE = 200
_NAMES = (".yaml", ".yml")

Stamp = tuple[int, int, int, int]
"""(inode, size, modified ns, changed ns): differs when a file may have changed."""
NOTHING: Stamp = (0, 0, 0, 0)
"""The stamp of a file that is not there, or not read yet."""


class Listing(msgspec.Struct, frozen=True):
    """The manifest files (path from the top of the fleet's folder → stamp), folders, and links of a tree."""

    files: Mapping[str, Stamp]
    folders: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    flaws: tuple[tuple[str, str], ...] = ()
    """(folder, why it or a part of it could not be read)."""


def is_manifest(name: str) -> bool:
    """Whether a file of that name is read: `.yaml` or `.yml`, no dot file, no editor's backup."""
    return name.endswith(_NAMES) and not name.startswith((".", "#", "~"))


def is_folder(name: str) -> bool:
    """Whether a sub-folder of that name is looked into."""
    return not name.startswith(".")


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file, behind links; all zero for one that is not there."""
    try:
        found = path.stat()
    except OSError:
        return NOTHING
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read(path: Path) -> bytes | Flaw | None:
    """The bytes of a manifest; None when it is gone. A file larger than allowed is cut one byte behind the limit."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return Flaw(1, 1, f"{_what(path.stat().st_mode)} is not a manifest; remove it or give it another name")
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Flaw(1, 1, "the link points to nothing") if path.is_symlink() else None
    except OSError as error:
        return Flaw(1, 1, _why(error))
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            return Flaw(1, 1, f"{_what(found.st_mode)} is not a manifest; remove it or give it another name")
        return _bytes_of(handle)
    except OSError as error:
        return Flaw(1, 1, _why(error))
    finally:
        os.close(handle)


def list_tree(root: Path, folder: str, *, deep: bool = True) -> Steps[Listing]:
    """What lies in `folder` (from `root`, `""` for the top) and, when deep, below it. Nothing below a link to a folder."""
    tree = _Tree(root)
    pending = [folder]
    while pending and not tree.full:
        at = pending.pop()
        below: list[str] = []
        for number, entry in enumerate(tree.entries(at), 1):
            tree.take(at, entry, below if deep else [])
            if tree.full:
                break
            if number % _PAUSE == 0:
                yield
        pending.extend(sorted(below, reverse=True))
        yield
    return tree.listing()


class _Tree:
    """What was found so far."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, Stamp] = {}
        self._folders: list[str] = []
        self._links: list[str] = []
        self._flaws: list[tuple[str, str]] = []
        self._entries = 0
        self.full = False

    def entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        self._folders.append(folder)
        if len(self._folders) > MAX_FOLDERS:
            self._overfull(folder, f"more than {MAX_FOLDERS:,} folders")
            return
        try:
            with os.scandir(self._root / folder) as listed:
                yield from listed
        except OSError as error:
            self._flaws.append((folder, _why(error)))

    def take(self, folder: str, entry: os.DirEntry[str], below: list[str]) -> None:
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            self._overfull(folder, f"more than {MAX_ENTRIES:,} entries")
        path = f"{folder}/{entry.name}" if folder else entry.name
        try:
            path.encode()
        except UnicodeEncodeError:
            self._flaws.append((folder, f"the name {path!r} is not UTF-8; rename it"))
            return
        if entry.is_dir(follow_symlinks=False):
            if is_folder(entry.name):
                below.append(path)
        elif is_manifest(entry.name):
            self._file(folder, path, entry)

    def _file(self, folder: str, path: str, entry: os.DirEntry[str]) -> None:
        if entry.is_symlink():
            self._links.append(path)
            if (self._root / path).is_dir():
                return
        self._files[path] = stamp_of(self._root / path)
        if len(self._files) > MAX_FILES:
            del self._files[path]
            self._overfull(folder, f"more than {MAX_FILES:,} manifests")

    def _overfull(self, folder: str, what: str) -> None:
        self.full = True
        self._flaws.append((folder, f"{what}; the rest is not read: move what is no manifest out of the folder"))

    def listing(self) -> Listing:
        files = {path: self._files[path] for path in sorted(self._files)}
        return Listing(files, tuple(self._folders), tuple(sorted(self._links)), tuple(self._flaws))


def _bytes_of(handle: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size <= MAX_FILE and (part := os.read(handle, MAX_FILE + 1 - size)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _what(mode: int) -> str:
    names = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISDIR, "a folder"),
             (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"))
    return next((name for test, name in names if test(mode)), "this")


def _why(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "the link leads in a circle; remove it"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "no permission to read it; give the user who runs Flota the right to read"
    return f"it cannot be read: {os.strerror(error.errno or 0)}"
