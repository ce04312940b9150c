"""A fleet's folder as it stands: what was read of it, what is in effect, and what has to be read again.

The state of one folder with one writer. Reading goes in steps (see `yaml.Steps`), so a caller may do all at once or a
little at a time; nothing here waits or watches.
"""

import os
import pathlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import cast

import msgspec

from flota.fleet.fleet import Fleet
from flota.fleet.policy import ClusterSet
from flota.fleet.problem import Problem
from flota.sources import files
from flota.sources.assemble import Assembler, Given
from flota.sources.files import Listing, Stamp
from flota.sources.layout import layout_of
from flota.sources.memory import SourceMemory
from flota.sources.objects import TOP, ObjectTable
from flota.sources.positions import Path
from flota.sources.readings import FileReading, read_file
from flota.sources.yaml import Flaw, Steps, finish


class Folder:
    """The folder at `root`."""

    def __init__(self, root: pathlib.Path, memory: SourceMemory) -> None:
        self.root = root
        self.table = ObjectTable(memory)
        self.layout = layout_of(None)
        self._set: ClusterSet | None = None
        self._lost: set[str] = set()
        """Clusters whose folder is not there, or has not been read since: nothing says that their objects shall go."""
        self._links: set[str] = set()
        self._assembler = Assembler()
        self._stamps: dict[str, Stamp] = {}
        self._flaws: dict[str, str] = {}
        self._problems: tuple[Problem, ...] = ()

    def tops(self) -> tuple[str, ...]:
        """The folders to list: the top (not deep), and those of the clusters."""
        return (TOP, *self.layout.folders())

    def parents(self) -> tuple[str, ...]:
        """The folders between the top and those of the clusters: nothing in them is read, but they may come and go."""
        return tuple({folder.rsplit("/", n)[0] for folder in self.layout.folders() for n in range(1, folder.count("/") + 1)})

    def affected(self, folder: str) -> tuple[str, ...]:
        """What to list when that folder came or went: itself, or the clusters' folders in it."""
        if any(top and (folder == top or folder.startswith(top + "/")) for top in self.tops()):
            return (folder,)
        return tuple(top for top in self.tops() if not folder or top.startswith(folder + "/"))

    def list(self, folder: str) -> Steps[Listing]:
        """What lies in a folder now; the top itself is not listed deep."""
        obstacle = _obstacle(self.root, folder)
        if obstacle:
            return Listing({}, flaws=((folder, obstacle),) if folder in self.tops() else ())
        listing = yield from files.list_tree(self.root, folder, deep=folder != TOP)
        return listing

    def compare(self, folder: str, listing: Listing) -> tuple[set[str], set[str]]:
        """(files to read, files that are gone) since the last time. Nothing is gone from a folder that can't be listed."""
        for told in [told for told in self._flaws if told == folder or (folder and told.startswith(folder + "/"))]:
            del self._flaws[told]
        self._flaws.update(listing.flaws)
        self._lose(folder, listing)
        self._links = {link for link in self._links if not _lies_in(link, folder)} | set(listing.links)
        known = {path for path in self._stamps if _lies_in(path, folder)}
        news = {path for path, stamp in listing.files.items() if self._stamps.get(path) != stamp}
        gone = known - listing.files.keys()
        if listing.flaws:  # a partial list says nothing about what is not in it
            gone = {path for path in gone if listing.folders and not os.path.lexists(self.root / path)}
        return news, {path for path in gone if not self._lost.intersection(self.clusters_of(path))}

    def _lose(self, folder: str, listing: Listing) -> None:
        """A cluster whose folder is missing is lost; it is found by the first manifest, for a new folder is empty at first."""
        owners = {member.name for member in self.layout.members if member.folder == folder}
        if not listing.folders:
            self._lost |= owners
        elif not listing.files and any(owners & self._lost.intersection(self.table.clusters_of(path)) for path in self._stamps):
            self._flaws.setdefault(folder, _EMPTY)

    def _find(self, path: str) -> None:
        """The clusters of this manifest have their folder again: from now on they are what lies in it."""
        found = self._lost.intersection(self.layout.clusters_of(path))
        if not found:
            return
        self._lost -= found
        for member in self.layout.members:
            if member.name in found and member.folder is not None:
                self._flaws.pop(member.folder, None)
        self._reassign()
        for gone in [known for known in self._stamps if found.intersection(self.clusters_of(known))]:
            if not os.path.lexists(self.root / gone):
                self.put(gone, None)

    def accepts(self, path: str) -> bool:
        """Whether the file is to be read: it is somebody's, and there is room for one more. Call it before `read`."""
        if not self.clusters_of(path):
            return False
        if path not in self._stamps and len(self._stamps) >= files.MAX_FILES:
            folder = path.rpartition("/")[0]
            self._flaws[folder] = f"more than {files.MAX_FILES:,} manifests in the fleet; the rest is not read"
            return False
        self._stamps.setdefault(path, files.NOTHING)
        return True

    def read(self, path: str) -> Steps[FileReading | None]:
        """What the file says now; None when it is gone."""
        data = files.read(self.root / path)
        if data is None:
            return None
        if isinstance(data, Flaw):
            return FileReading(flaw=data)
        reading = yield from read_file(data, self.table.known)
        return reading

    def put(self, path: str, reading: FileReading | None) -> None:
        """Take what the file says; it is in effect after `settle`."""
        if reading is not None and reading.flaw is None:
            self._find(path)
        clusters = self.clusters_of(path)
        self._links.discard(path)
        if reading is None or not clusters:
            self._stamps.pop(path, None)
            self.table.drop(path)
            return
        if (self.root / path).is_symlink():
            self._links.add(path)
        self._stamps[path] = files.stamp_of(self.root / path)
        self.table.put(path, clusters, reading)

    def is_link(self, path: str) -> bool:
        """Whether the manifest is a link."""
        return path in self._links

    def knows(self, path: str) -> bool:
        """Whether the file was read before."""
        return path in self._stamps

    def size(self) -> int:
        """How many manifests there are."""
        return len(self._stamps)

    def clusters_of(self, path: str) -> tuple[str, ...]:
        """Whose objects the file holds; the top's for a file there, nobody's outside the clusters' folders.

        What a lost cluster held stays with it: the ClusterSet may name its new folder before that is there.
        """
        if "/" not in path:
            return (TOP,)
        owners, held = self.layout.clusters_of(path), self._lost.intersection(self.table.clusters_of(path))
        return (*owners, *sorted(held.difference(owners)))

    def settle(self, now: datetime, *, hold: bool = False) -> tuple[str, ...]:
        """Put what was read into effect. The folders that have to be listed now, since the ClusterSet names them newly."""
        self.table.settle(now, hold=hold)
        before = self.tops()
        # A fleet.yaml that is missing (a slip, or an editor between two steps) may not take down every cluster.
        cluster_set = self._cluster_set() or self._set
        if cluster_set is not self._set:
            first, self._set = self._set is None, cluster_set
            self.layout = layout_of(cluster_set)
            self._lost = {m.name for m in self.layout.members if m.folder is None or _obstacle(self.root, m.folder)}
            if first:  # what was in effect before the last stop, and whose folder is missing now
                self._stamps |= dict.fromkeys(self.table.recall(self._lost), files.NOTHING)
            self._reassign()
            # What was in a folder of before may lie in one that is still to be listed: it is not deleted before that.
            self.table.settle(now, hold=hold or bool(self._news(before)))
        return self._news(before)

    def _news(self, before: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(folder for folder in self.tops() if folder not in before)

    def fleet(self, given: Given) -> tuple[Fleet, tuple[Problem, ...]]:
        """The fleet that follows, and every problem. Both identical until something changes."""
        fleet, exports = self._assembler.assemble(self.layout, self.table.objects, given)
        problems = (
            *(self.located(problem, path) for path, problem in self.layout.faults if self._set or not self._refused_at_top()),
            *(self.located(problem) for problem in exports),
            *self._folder_problems(),
            *self.table.problems(),
        )
        self._problems = self._problems if self._problems == problems else problems
        return fleet, self._problems

    def _refused_at_top(self) -> bool:
        return any(problem.cluster is None for problem in self.table.problems())

    def located(self, problem: Problem, path: Path = ()) -> Problem:
        """The problem with the file and line of its object (or of the field at `path` in it), where it has none."""
        cluster = TOP if problem.cluster is None or problem.kind == "ClusterSet" else problem.cluster
        where = self.table.where(cluster, problem.kind, problem.namespace, problem.name, path)
        if where is None or problem.file is not None:
            return problem
        return msgspec.structs.replace(problem, file=where[0], line=where[1])

    def _cluster_set(self) -> ClusterSet | None:
        """The one ClusterSet. With several, the one in force stays; else the first by name counts."""
        found = cast("Mapping[tuple[str, str], ClusterSet]", self.table.objects(TOP, "ClusterSet"))
        names = sorted(name for _, name in found)
        if not names:
            return None
        return found["", self.layout.name if self.layout.name in names else names[0]]

    def _reassign(self) -> None:
        """After a change of the ClusterSet: files change hands, and those that are nobody's now go."""
        for path in list(self._stamps):
            clusters = self.clusters_of(path)
            if clusters:
                self.table.move(path, clusters)
            else:
                self.put(path, None)
        tops = self.tops()
        self._flaws = {at: why for at, why in self._flaws.items() if any(at == top or (top and _lies_in(at, top)) for top in tops)}

    def _folder_problems(self) -> Iterable[Problem]:
        found = self.table.objects(TOP, "ClusterSet")
        if self._set is not None and not found:
            message = "there is no ClusterSet any more at the top of the folder; the last one stays in force: put it back, or `flota down`"
            yield Problem(None, "ClusterSet", "", self.layout.name, "NoClusterSet", message)
        for _, name in sorted(found):
            if name != self.layout.name:
                message = f"there is a ClusterSet already, {self.layout.name}, which stays; a folder is one fleet: remove one"
                yield self.located(Problem(None, "ClusterSet", "", name, "Duplicate", message))
        for folder, why in sorted(self._flaws.items()):
            owners = self.layout.clusters_of(folder + "/") if folder else ()
            yield Problem(owners[0] if owners else None, "Folder", "", folder, "Unreadable", f"{folder or '.'}: {why}", folder)


_EMPTY = "no manifest lies in it yet; the objects of before stay until one does (to empty the cluster, remove it from the ClusterSet)"


class Loaded(msgspec.Struct, frozen=True):
    """A folder read once."""

    fleet: Fleet
    problems: tuple[Problem, ...]
    memory: SourceMemory
    ignored: Mapping[str, int]
    """Documents of kinds that are not ours, by `group/Kind`."""
    folder: Folder
    """For `located` and `table.where`."""


def load_folder(root: pathlib.Path, memory: SourceMemory, now: datetime, given: Given | None = None) -> Loaded:
    """Read a whole folder at once, with nothing started. Never raises for what stands in it."""
    folder = Folder(root, memory)
    finish(load(folder, now))
    fleet, problems = folder.fleet(given or Given())
    return Loaded(fleet, problems, folder.table.memory(), folder.table.ignored(), folder)


def load(folder: Folder, now: datetime) -> Steps[None]:
    """Read everything: the top first, which says where the rest is."""
    pending = [TOP]
    while pending:
        for top in pending:
            news, gone = folder.compare(top, (yield from folder.list(top)))
            for path in filter(folder.accepts, sorted(news)):
                folder.put(path, (yield from folder.read(path)))
            for path in sorted(gone):
                folder.put(path, None)
        pending = list(folder.settle(now))


def _lies_in(path: str, folder: str) -> bool:
    return path.startswith(folder + "/") if folder else "/" not in path


def _obstacle(root: pathlib.Path, folder: str) -> str | None:
    """Why a cluster's folder is not to be listed: missing, or reached by a link."""
    at = root
    for part in folder.split("/") if folder else ():
        at = at / part
        if at.is_symlink():
            return "a link to a folder is not followed; name the folder itself"
    if not at.is_dir():
        return "there is no such folder; create it, or change `manifests` in the ClusterSet (objects that the cluster had stay until then)"
    return None
