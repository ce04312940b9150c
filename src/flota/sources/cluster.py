"""One cluster, read from its API server: every kind that Flota knows and the server serves, followed for as long as it runs.

Kinds may appear and vanish (CRDs). What cannot be read is told as a problem and takes nothing away.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypedDict, TypeVar

from msgspec import Struct

from flota.clock import Clock
from flota.fleet.kinds import KINDS, Kind
from flota.fleet.meta import Key
from flota.fleet.problem import Problem
from flota.kube.client import Client
from flota.kube.discovery import Served, discover
from flota.kube.errors import ApiError
from flota.kube.pace import Pace
from flota.kube.reflector import Reflector
from flota.kube.resource import Resource
from flota.kube.timing import Jitter
from flota.sources.byname import NamedObjects
from flota.sources.referenced import SPEAKING, References, split
from flota.sources.served import Held, decoder
from flota.sources.topology import NODES, Place, place_of, whole

DISCOVER_S = 10.0
"""Between two looks at what is served."""
MISSES = 3
"""A kind must be absent from so many looks in a row to count as gone: a server that is starting does not know its CRDs yet."""
CLUSTER_SETS = "cluster_sets"
"""ClusterSets have no place in a `Cluster`; they are told under this name."""
_BY_NAME = ("Secret", "ConfigMap")
_NOT_READ = ("Pod", "Job")
"""Endpoints come from EndpointSlices here, and what pods are probed with from Deployments."""
T = TypeVar("T")
Objects = Mapping[Key, Struct]
Sight = Literal["Reading", "Live", "Blind", "Forbidden", "Absent"]


class Followed:
    """One kind that is being followed."""

    def __init__(self, kind: Kind, reflector: Reflector[Held]) -> None:
        self.kind = kind
        self.reflector = reflector
        self.objects: Objects = {}
        """Replaced when an object changes."""
        self.statuses: Mapping[Key, bytes] = {}
        """Replaced when a status changes; empty where statuses are not kept."""
        self.misses = 0
        self.task: asyncio.Task[None] | None = None

    def take(self) -> None:
        """Bring the mappings up to date."""
        changed = tuple(self.reflector.cache.take())
        held = self.reflector.cache.objects
        self.objects = _updated(self.objects, {key: held[key].object if key in held else None for key in changed})
        self.statuses = _updated(self.statuses, {key: (held[key].status or None) if key in held else None for key in changed})

    @property
    def sight(self) -> Sight:
        """How well it is known."""
        state = self.reflector.state
        if state.live:
            return "Live"
        if state.trouble is not None and state.trouble.code == 403:
            return "Forbidden"
        return "Blind" if state.trouble is not None else "Reading"


class _Shared(TypedDict):
    """What all reflectors of a cluster are given."""

    clock: Clock
    jitter: Jitter
    pace: Pace
    notify: Callable[[], None]


class ClusterReader:
    """Follows one API server. `notify` is called when `update` has something to do."""

    def __init__(
        self,
        name: str,
        client: Client,
        *,
        clock: Clock,
        jitter: Jitter,
        pace: Pace,
        notify: Callable[[], None],
        statuses: frozenset[str] = frozenset(),
    ) -> None:
        """`statuses`: collections of which the status is kept too."""
        self.name = name
        self.trouble: ApiError | None = None
        """Why it is not known what the server serves."""
        self._client, self._jitter, self._notify = client, jitter, notify
        self._shared = _Shared(clock=clock, jitter=jitter, pace=pace, notify=notify)
        self._nodes: Reflector[Place] = Reflector(client, NODES, place_of, **self._shared, metadata_only=True)
        self._statuses = statuses
        self._served: Served | None = None
        self._kinds: dict[str, Followed] = {}
        self._named: dict[str, NamedObjects] = {}
        self._references = References()

    def objects(self, collection: str) -> Objects:
        """What is known of a collection of `Cluster`; the identical mapping until one of its objects changes."""
        named = next((each for each in self._named.values() if each.kind.collection == collection), None)
        if named is not None:
            return named.objects
        followed = self._kinds.get(collection)
        return followed.objects if followed is not None else _NOTHING

    def statuses(self, collection: str) -> Mapping[Key, bytes]:
        """The statuses as JSON of those objects of a collection that have one; the identical mapping until one changes."""
        followed = self._kinds.get(collection)
        return followed.statuses if followed is not None else {}

    def serves(self, collection: str) -> bool:
        """Whether the server has the kind."""
        return collection in self._kinds or any(each.kind.collection == collection for each in self._named.values())

    def reflectors(self) -> Iterator[tuple[str, Reflector[Any]]]:
        """(kind, its reflector) of everything that is followed."""
        yield "Node", self._nodes
        yield from ((each.kind.kind, each.reflector) for each in self._kinds.values())
        yield from ((each.kind.kind, each.reflector) for each in self._named.values())

    def sight(self) -> Mapping[str, Sight]:
        """How well each kind is known."""
        found: dict[str, Sight] = {each.kind: "Absent" for each in _wanted()}
        found |= {each.kind.kind: each.sight for each in self._kinds.values()}
        return found | {each.kind.kind: _sight(each) for each in self._named.values()}

    @property
    def settled(self) -> bool:
        """Whether everything that can be known at the start is."""
        kinds = all(each.reflector.state.synced or each.sight == "Forbidden" for each in self._kinds.values())
        nodes = self._nodes.state.synced or self._nodes.state.trouble is not None
        return self._served is not None and nodes and kinds and all(each.settled for each in self._named.values())

    @property
    def stuck(self) -> bool:
        """Whether something is missing, and nothing more will come before it is tried again."""
        if self._served is None:
            return self.trouble is not None
        named = all(each.settled or each.reflector.state.trouble is not None for each in self._named.values())
        return named and all(each.reflector.state.synced or each.sight in ("Blind", "Forbidden") for each in self._kinds.values())

    @property
    def blind_since(self) -> float | None:
        """Monotonic seconds since which nothing at all is live; None while something is."""
        states = [each.reflector.state for each in self._kinds.values()]
        if not states or any(state.live for state in states):
            return None
        return max((state.blind_since or 0.0) for state in states)

    def error(self) -> ApiError | None:
        """What the API server, or the way to it, says against being read."""
        return self.trouble or next((each.reflector.state.trouble for each in self._kinds.values() if each.sight == "Blind"), None)

    def place(self) -> Place:
        """Where its nodes are."""
        return whole(self._nodes.cache.objects)

    def update(self) -> None:
        """Take in what was told since the last call."""
        for each in self._kinds.values():
            each.take()
        wanted = split(self._references.of({name: self.objects(name) for name in SPEAKING}))
        for kind, keys in wanted.items():
            if kind in self._named:
                self._named[kind].want(keys)

    def problems(self) -> tuple[Problem, ...]:
        """What can't be read, and objects that can't be used."""
        found: list[Problem] = []
        whole = self.error() if self.blind_since is not None else self.trouble
        if whole is not None:
            found.append(Problem(self.name, "APIServer", "", self.name, whole.reason, whole.message, retry=True))
        told = ("Forbidden",) if whole is not None else ("Blind", "Forbidden")
        for each in self._kinds.values():
            found += self._of_kind(each.kind, each.reflector.state.trouble if each.sight in told else None)
            if each.reflector.state.odd:
                found.append(self._problem(each.kind, "", "", "BadAnswer", each.reflector.state.odd, retry=True))
            found += [self._problem(each.kind, *key, bad.reason, bad.message) for key, bad in sorted(each.reflector.cache.faults.items())]
        for named in self._named.values():
            found += self._of_kind(named.kind, named.trouble)
            found += [self._problem(named.kind, *key, bad.reason, bad.message) for key, bad in sorted(named.faults.items())]
        return tuple(found)

    def _of_kind(self, kind: Kind, error: ApiError | None) -> Iterable[Problem]:
        if error is not None:
            yield self._problem(kind, "", "", error.reason, f"{kind.kind} can't be read: {error.message}", retry=True)

    def _problem(self, kind: Kind, namespace: str, name: str, reason: str, message: str, *, retry: bool = False) -> Problem:
        return Problem(self.name, kind.kind, namespace, name, reason, message, retry=retry)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._nodes.run(), name=f"sources.{self.name}.nodes")
            while True:
                pairs = {(kind.group, version) for kind in _wanted() for version in kind.versions}
                served = await discover(self._client, pairs)
                if isinstance(served, ApiError):
                    self.trouble = served
                else:
                    self.trouble = None
                    self._served = served
                    self._adjust(served, tasks)
                self._notify()
                await asyncio.sleep(DISCOVER_S * (0.5 + 0.5 * self._jitter()) if self._served is not None else 1.0)

    def _adjust(self, served: Served, tasks: asyncio.TaskGroup) -> None:
        """Follow what is served now, and no longer what was not for a while."""
        for kind in _wanted():
            resource = _chosen(kind, served)
            if kind.kind in _BY_NAME:
                if resource is not None and kind.kind not in self._named:
                    named = NamedObjects(self._client, kind, resource, **self._shared)
                    self._named[kind.kind] = named
                    tasks.create_task(named.run(), name=f"sources.{self.name}.{resource}")
                continue
            place = kind.collection or CLUSTER_SETS
            followed = self._kinds.get(place)
            if resource is None:
                self._missed(place, followed)
            elif followed is None or followed.reflector.resource != resource:
                self._follow(place, kind, resource, followed, tasks)
            else:
                followed.misses = 0

    def _follow(self, place: str, kind: Kind, resource: Resource, before: Followed | None, tasks: asyncio.TaskGroup) -> None:
        """Start to follow a kind, or another version of it; what was known stays until the new one is read."""
        if before is not None and before.task is not None:
            before.task.cancel()
        reflector: Reflector[Held] = Reflector(
            self._client,
            resource,
            decoder(kind, status=place in self._statuses),
            **self._shared,
        )
        if before is not None:
            reflector.cache.adopt(before.reflector.cache)
        followed = Followed(kind, reflector)
        if before is not None:
            followed.objects, followed.statuses = before.objects, before.statuses
        followed.task = tasks.create_task(reflector.run(), name=f"sources.{self.name}.{resource}")
        self._kinds[place] = followed

    def _missed(self, place: str, followed: Followed | None) -> None:
        if followed is None:
            return
        followed.misses += 1
        if followed.misses >= MISSES:
            if followed.task is not None:
                followed.task.cancel()
            del self._kinds[place]
            self._notify()


_NOTHING: Objects = {}


def _wanted() -> Iterable[Kind]:
    """Kinds to follow."""
    return (each for each in KINDS if each.struct is not None and each.kind not in _NOT_READ and each.support != "Ignored")


def _chosen(kind: Kind, served: Served) -> Resource | None:
    """The version of a kind that is read: the first of ours that is served."""
    offered = {each.version: each for each in served.get((kind.group, kind.kind), ())}
    return next((offered[version] for version in kind.versions if version in offered), None)


def _sight(named: NamedObjects) -> Sight:
    trouble = named.trouble
    if trouble is not None:
        return "Forbidden" if trouble.code == 403 else "Blind"
    return "Live" if named.settled else "Reading"


def _updated(before: Mapping[Key, T], news: Mapping[Key, T | None]) -> Mapping[Key, T]:
    """The mapping with the news; the identical one when they are none."""
    if all(before.get(key) is value for key, value in news.items()):
        return before
    merged = dict(before)
    for key, value in news.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged
