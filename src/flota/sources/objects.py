"""The objects that are in effect: documents of files → admitted objects, each with one owner and its last good version.

Pure bookkeeping with one writer; time is handed in. The rules (design 6.1): an object that is refused keeps its last
admitted version; a file that cannot be read keeps the last good version of all its objects; of the same object twice the
first seen stays; moving an object to another file changes nothing.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from weakref import WeakValueDictionary

import msgspec

from flota.fleet import kinds
from flota.fleet.core import Namespace
from flota.fleet.meta import Key
from flota.fleet.problem import Problem
from flota.sources.documents import Chunk
from flota.sources.memory import Remembered, SourceMemory
from flota.sources.positions import Path, lines_of
from flota.sources.readings import FileReading, Placed, Reading, read_document
from flota.sources.yaml import Flaw, finish

TOP = ""
"""Instead of a cluster's name: the top of the folder."""
_TOP_KINDS = ("ClusterSet", "TrafficPolicy")
Objects = Mapping[Key, msgspec.Struct]


class ObjectId(NamedTuple):
    """An object of the fleet; versions of its API are the same object."""

    cluster: str
    group: str
    kind: str
    namespace: str
    name: str


class _Claim(msgspec.Struct, eq=False):
    """A document that says it is the object. `order`: when it was first seen."""

    order: tuple[int, int]
    path: str
    placed: Placed


class _Entry(msgspec.Struct, eq=False):
    """An object in effect."""

    path: str
    reading: Reading
    object: msgspec.Struct
    first_seen: datetime
    generation: int
    kept: Remembered | None = None
    """What a later start is to know of it, made once."""


class _File(msgspec.Struct, eq=False):
    clusters: tuple[str, ...]
    documents: tuple[Placed, ...]
    claims: dict[ObjectId, list[_Claim]] = msgspec.field(default_factory=dict)


class ObjectTable:
    """All files' documents and what is in effect of them. Call `put` and `drop` for files, then `settle`."""

    def __init__(self, memory: SourceMemory) -> None:
        self.known: WeakValueDictionary[bytes, Reading] = WeakValueDictionary()
        """Every reading in use, by digest of its text."""
        self._remembered = {ObjectId(m.cluster, m.group, m.kind, m.namespace, m.name): m for m in memory.objects}
        self._newest = max((m.first_seen for m in memory.objects), default=datetime.min.replace(tzinfo=UTC))
        """Of all times when something was first seen."""
        self._files: dict[str, _File] = {}
        self._claims: dict[ObjectId, list[_Claim]] = {}
        self._entries: dict[ObjectId, _Entry] = {}
        self._dirty: set[ObjectId] = set()
        self._maps: dict[tuple[str, str], dict[Key, msgspec.Struct]] = {}
        self._problems: dict[ObjectId | str, tuple[Problem, ...]] = {}
        self._listed: tuple[Problem, ...] | None = ()
        self._seen = 0

    def put(self, path: str, clusters: tuple[str, ...], reading: FileReading) -> None:
        """The file at `path` says this now, in these clusters (`TOP` = for all). With a flaw its last good version stays."""
        if reading.flaw is not None:
            kept = self._files[path].documents if path in self._files else self._from_memory(path)
            self._tell(path, (_unreadable(path, clusters, reading.flaw, kept),))
            self._replace(path, _File(clusters, kept))
        else:
            self._tell(path, ())
            self._replace(path, _File(clusters, reading.documents))
            self.known.update((placed.reading.digest, placed.reading) for placed in reading.documents)

    def drop(self, path: str) -> None:
        """The file is gone."""
        self._tell(path, ())
        self._replace(path, None)

    def move(self, path: str, clusters: tuple[str, ...]) -> None:
        """The file belongs to these clusters from now on."""
        file = self._files.get(path)  # none while it is being read for the first time
        if file is not None and file.clusters != clusters:
            self._replace(path, _File(clusters, file.documents))

    def recall(self, clusters: Collection[str]) -> tuple[str, ...]:
        """Take the last good version of these clusters' files from memory, as nothing can be read of them; the files' paths."""
        found: dict[str, set[str]] = {}
        for old in self._remembered.values():
            if old.cluster in clusters and old.path not in self._files:
                found.setdefault(old.path, set()).add(old.cluster)
        for path, owners in found.items():
            self._replace(path, _File(tuple(sorted(owners)), self._from_memory(path)))
        return tuple(found)

    def clusters_of(self, path: str) -> tuple[str, ...]:
        """Whose objects the file holds now; nobody's before it was put."""
        return self._files[path].clusters if path in self._files else ()

    def settle(self, now: datetime, *, hold: bool = False) -> bool:
        """Put into effect what was put and dropped; whether anything changed. `hold`: nothing is deleted for now."""
        changed: dict[tuple[str, str], dict[Key, msgspec.Struct | None]] = {}
        held: set[ObjectId] = set()
        if self._dirty:
            # Who was first has precedence: what comes after the clock was set back may not seem to be older than what was there.
            now = self._newest = now if now >= self._newest else self._newest + timedelta(microseconds=1)
        for each in sorted(self._dirty):
            if hold and each in self._entries and each not in self._claims:
                held.add(each)
                continue
            before = self._entries.get(each)
            after = self._decide(each, now)
            if after is not before and (before is None or after is None or after.object is not before.object):
                place = each.cluster, _collection(each)
                changed.setdefault(place, {})[each.namespace, each.name] = after.object if after else None
        self._dirty = held
        for place, news in changed.items():
            merged = dict(self._maps.get(place, {}))
            for key, value in news.items():
                if value is not None:
                    merged[key] = value
                else:
                    merged.pop(key, None)
            self._maps[place] = merged
        return bool(changed)

    def objects(self, cluster: str, collection: str) -> Objects:
        """A cluster's objects of a kind, by the name of the field in `Cluster`; the identical mapping until one changes."""
        return self._maps.setdefault((cluster, collection), {})

    def problems(self) -> tuple[Problem, ...]:
        """Every refusal; the identical tuple until one changes. In the order of files and lines."""
        if self._listed is None:
            listed = [problem for group in self._problems.values() for problem in group]
            self._listed = tuple(sorted(listed, key=lambda p: (p.file or "", p.line or 0, p.name, p.message)))
        return self._listed

    def where(self, cluster: str, kind: str, namespace: str, name: str, path: Path = ()) -> tuple[str, int] | None:
        """File and line of the object in effect, or of the field at `path`. A cluster-scoped kind has an empty namespace."""
        for known in kinds.KINDS:
            each = ObjectId(cluster, known.group, kind, namespace, name)
            entry = self._entries.get(each) if known.kind == kind else None
            if entry is None:
                continue
            for claim in self._claims.get(each, ()):
                if claim.path == entry.path:
                    text, line = claim.placed.reading.text, claim.placed.line - 1
                    return claim.path, lines_of(text, (path,))[path] + line if path else claim.placed.first_line
        return None

    def is_unreadable(self, path: str) -> bool:
        """Whether the file could not be used when it was last read."""
        return path in self._problems

    def ignored(self) -> Mapping[str, int]:
        """How many documents of foreign kinds there are, by `group/Kind`."""
        heads = (d.reading.head for f in self._files.values() for d in f.documents if d.reading.ignored)
        return dict(Counter(f"{head.group}/{head.kind}".removeprefix("/") for head in heads))

    def memory(self) -> SourceMemory:
        """What a later start must know to go on from here. Parts that did not change are the identical objects."""
        return SourceMemory(tuple(entry.kept or _keep(each, entry) for each, entry in self._entries.items()))

    def _replace(self, path: str, file: _File | None) -> None:
        """Exchange a file's claims; one that it had before keeps its place in the order."""
        self._seen += 1
        old = self._files.pop(path, None)
        before = old.claims if old else {}
        if file is not None:
            self._files[path] = file
            self._fill(file, path, before)
        after = file.claims if file else {}
        for each in before.keys() | after.keys():
            mine, news = before.get(each, []), after.get(each, [])
            if self._is_only_moved(each, mine, news):
                mine[0].placed, mine[0].order = news[0].placed, news[0].order
                after[each] = mine
                continue
            claims = [claim for claim in self._claims.get(each, ()) if claim.path != path] + news
            if claims:
                self._claims[each] = claims
            else:
                del self._claims[each]
            self._dirty.add(each)

    def _fill(self, file: _File, path: str, before: Mapping[ObjectId, list[_Claim]]) -> None:
        for cluster in file.clusters:
            for index, placed in enumerate(file.documents):
                if not placed.reading.ignored:
                    each = ObjectId(cluster, *placed.reading.head)
                    seen = before[each][0].order[0] if each in before else self._seen
                    file.claims.setdefault(each, []).append(_Claim((seen, index), path, placed))

    def _is_only_moved(self, each: ObjectId, mine: list[_Claim], news: list[_Claim]) -> bool:
        """Whether nobody else claims it, nothing is wrong with it, and it says what it said: nothing to decide, then."""
        return (
            len(mine) == len(news) == len(self._claims[each]) == 1
            and mine[0].placed.reading is news[0].placed.reading
            and each not in self._problems
        )

    def _decide(self, each: ObjectId, now: datetime) -> _Entry | None:
        """Who the object is now, and what is wrong with it."""
        claims = self._claims.get(each, ())
        if not claims:
            self._tell(each, ())
            self._remembered.pop(each, None)
            return self._entries.pop(each, None) and None
        entry = self._entries.get(each)
        old = self._remembered.pop(each, None)
        owner = _owner(claims, entry.path if entry else old.path if old else None, entry.reading.digest if entry else None)
        if old is not None and entry is None:
            entry = self._restored(old, owner.placed.reading)
        misplaced = _misplaced(each)
        if misplaced is None and owner.placed.reading.object is not None:
            entry = _admitted(entry, owner, now)
        if entry is not None:
            if entry.path != owner.path:
                entry.path, entry.kept = owner.path, None
            self._entries[each] = entry
        self._tell(each, _problems(each, claims, owner, misplaced, kept=entry is not None))
        return entry

    def _restored(self, old: Remembered, reading: Reading) -> _Entry | None:
        """The version that was in effect before the last stop; its text is read again only where it is not what the file says."""
        if old.text != reading.text:
            found = self._reread(old)
            if found is None:
                return None
            reading = found
        if reading.object is None:
            return None
        stamped = _stamped(reading.object, old.first_seen, old.generation)
        return _Entry(old.path, reading, stamped, old.first_seen, old.generation)

    def _reread(self, old: Remembered) -> Reading | None:
        reading = finish(read_document(Chunk.of(old.text, 1)))
        if isinstance(reading, Flaw) or reading is None:
            return None
        return self.known.setdefault(reading.digest, reading)

    def restored(self, old: Remembered) -> msgspec.Struct | None:
        """The object that was remembered; None if it would not be admitted any more."""
        reading = self._reread(old)
        return None if reading is None or reading.object is None else _stamped(reading.object, old.first_seen, old.generation)

    def _from_memory(self, path: str) -> tuple[Placed, ...]:
        """The last good version of a file that could not be read since the start."""
        texts = {old.text: old for old in self._remembered.values() if old.path == path}
        readings = (self._reread(old) for old in texts.values())
        return tuple(Placed(1, reading) for reading in readings if reading is not None)

    def _tell(self, subject: ObjectId | str, problems: tuple[Problem, ...]) -> None:
        if self._problems.get(subject, ()) != problems:
            self._listed = None
            if problems:
                self._problems[subject] = problems
            else:
                del self._problems[subject]


def _owner(claims: Sequence[_Claim], path: str | None, digest: bytes | None) -> _Claim:
    """The file that had the object keeps it (there the unchanged document first); else the first seen that was admitted."""
    here = [claim for claim in claims if claim.path == path]
    if here:
        return min(here, key=lambda claim: (claim.placed.reading.digest != digest, claim.order))
    return min(claims, key=lambda claim: (claim.placed.reading.object is None, claim.order))


def _admitted(entry: _Entry | None, claim: _Claim, now: datetime) -> _Entry:
    """The object as the claim has it; the identical one where it says the same."""
    reading = claim.placed.reading
    assert reading.object is not None  # noqa: S101 - the caller looked
    if entry is None:
        return _Entry(claim.path, reading, _stamped(reading.object, now, 1), now, 1)
    if entry.reading is reading:
        return entry
    news = _stamped(reading.object, entry.first_seen, entry.generation)
    if news == entry.object:
        news = entry.object
    generation = entry.generation
    if _without_metadata(news, entry.object) != entry.object:
        generation += 1
        news = _stamped(reading.object, entry.first_seen, generation)
    return _Entry(claim.path, reading, news, entry.first_seen, generation)


def _keep(each: ObjectId, entry: _Entry) -> Remembered:
    entry.kept = Remembered(*each, entry.path, entry.reading.text, entry.first_seen, entry.generation)
    return entry.kept


def _stamped(thing: msgspec.Struct, first_seen: datetime, generation: int) -> msgspec.Struct:
    metadata = msgspec.structs.replace(thing.metadata, creation_timestamp=first_seen, generation=generation)  # type: ignore[attr-defined]
    if isinstance(thing, Namespace):  # the label that an API server sets
        labels = {**metadata.labels, "kubernetes.io/metadata.name": metadata.name}
        metadata = msgspec.structs.replace(metadata, labels=labels)
    return msgspec.structs.replace(thing, metadata=metadata)


def _without_metadata(thing: msgspec.Struct, other: msgspec.Struct) -> msgspec.Struct:
    return msgspec.structs.replace(thing, metadata=other.metadata)  # type: ignore[attr-defined]


def _collection(each: ObjectId) -> str:
    known = kinds.find(each.group, each.kind)
    return (known.collection if known else "") or each.kind


def _misplaced(each: ObjectId) -> str | None:
    """Why an object of this kind has no effect where its file lies."""
    if each.cluster == TOP and each.kind not in _TOP_KINDS:
        return f"a {each.kind} at the top of the folder belongs to no cluster; move the file into a cluster's folder"
    if each.cluster != TOP and each.kind == "ClusterSet":
        return "a ClusterSet belongs into fleet.yaml at the top of the folder, not into a cluster's folder"
    return None


def _problems(
    each: ObjectId, claims: Sequence[_Claim], owner: _Claim, misplaced: str | None, *, kept: bool
) -> tuple[Problem, ...]:
    found: list[Problem] = []
    for claim in claims:
        placed = claim.placed
        if misplaced is not None:
            found.append(_problem(each, claim.path, placed.first_line, "Misplaced", misplaced))
            continue
        if claim is not owner:
            first = f"{owner.path}:{owner.placed.first_line}"
            message = f"{each.kind} {each.namespace}/{each.name} is already there: {first} was seen first and stays; remove one"
            found.append(_problem(each, claim.path, placed.first_line, "Duplicate", message))
        stays = "; its last admitted version stays in effect" if kept and placed.reading.object is None else ""
        found.extend(
            _problem(each, claim.path, placed.line + fault.line - 1, fault.reason, fault.message + stays)
            for fault in placed.reading.faults
        )
    return tuple(found)


def _problem(each: ObjectId, path: str, line: int, reason: str, message: str) -> Problem:
    return Problem(each.cluster or None, each.kind, each.namespace, each.name, reason, message, path, line)


def _unreadable(path: str, clusters: tuple[str, ...], flaw: Flaw, kept: tuple[Placed, ...]) -> Problem:
    stays = f"; the last good version of its {len(kept)} objects stays in effect" if kept else ""
    return Problem(clusters[0] or None, "File", "", path, "Unreadable", f"{flaw.message}{stays}", path, flaw.line)
