"""Clusters → `Latest[Fleet]`: what `FolderSource` is for a folder, for API servers.

One reader per cluster, one writer of the fleet. A cluster that can't be seen keeps what was known of it and is told of in `blind`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol, cast

from msgspec import Struct

from flota.clock import Clock
from flota.fleet.drain import Drain
from flota.fleet.fleet import Fleet
from flota.fleet.meta import Key
from flota.fleet.policy import ClusterSet
from flota.fleet.problem import Problem
from flota.fleet.signals import Signals
from flota.kube.client import Client
from flota.kube.pace import Pace
from flota.kube.timing import Jitter
from flota.latest import Latest
from flota.sources.assemble import Addresses, Assembler, Given, Slices, Unusable
from flota.sources.cluster import CLUSTER_SETS, ClusterReader, Objects
from flota.sources.foreign import Foreign
from flota.sources.layout import Layout, Member, layout_of

BLIND_S = 15.0
"""A cluster is told to be out of sight after so many seconds; a server that restarts is back by then."""
Statuses = Mapping[str, Mapping[str, Mapping[Key, bytes]]]
"""Cluster → collection → object → its status, as the API server has it (JSON)."""


class Target(Struct, frozen=True, eq=False):
    """A cluster to read. Its region is the one given here, else that of a ClusterSet in it, else that of its nodes, else its name."""

    name: str
    client: Client
    region: str = ""
    zone: str = ""


class KubeSource:
    """Keeps `fleet` and `problems` up to date with clusters and with what else makes up the fleet."""

    def __init__(
        self,
        targets: Sequence[Target],
        clock: Clock,
        jitter: Jitter,
        *,
        name: str = "",
        statuses: frozenset[str] = frozenset(),
        every_class: bool = False,
    ) -> None:
        """`statuses`: collections of which `statuses` are kept. `every_class`: plan Gateways of all controllers as if they were ours."""
        self.fleet: Latest[Fleet] = Latest(Fleet(name=name))
        self.problems: Latest[tuple[Problem, ...]] = Latest(())
        self.ready: Latest[bool] = Latest(False)
        """True once all clusters have been read."""
        self.slices: Latest[Slices] = Latest({})
        self.drains: Latest[tuple[Drain, ...]] = Latest(())
        self.signals: Latest[Signals] = Latest(Signals())
        self.addresses: Latest[Addresses] = Latest({})
        self.unusable: Latest[Unusable] = Latest({})
        self.statuses: Latest[Statuses] = Latest({})
        self.blind: Latest[Mapping[str, str]] = Latest({})
        """Clusters whose API server does not answer, and why; what was known of them stays."""
        self._name, self._clock = name, clock
        self._foreign = Foreign() if every_class else None
        self._collections = statuses
        self._wake = asyncio.Event()
        self._assembler = Assembler(implied=False)
        pace = Pace(clock)
        self._targets = {each.name: each for each in targets}
        self.readers = {
            each.name: ClusterReader(
                each.name, each.client, clock=clock, jitter=jitter, pace=pace, notify=self._wake.set, statuses=statuses
            )
            for each in targets
        }

    async def run(self) -> None:
        """Read the clusters, then follow them until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for name, reader in self.readers.items():
                tasks.create_task(reader.run(), name=f"sources.{name}")
            for name, cell in (("slices", self.slices), ("drains", self.drains), ("signals", self.signals),
                               ("addresses", self.addresses), ("unusable", self.unusable)):  # fmt: skip
                tasks.create_task(self._note(cell), name=f"sources.{name}")
            while True:
                await self._woken()
                self._round()

    async def read_once(self, seconds: float) -> None:
        """Read the clusters as far as that goes within `seconds`, and publish what is known then."""
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(reader.run(), name=f"sources.{name}") for name, reader in self.readers.items()]
                while not all(reader.settled or reader.stuck for reader in self.readers.values()):
                    await self._wake.wait()
                    self._wake.clear()
                    for reader in self.readers.values():
                        reader.update()
                for each in running:
                    each.cancel()
        except TimeoutError:
            pass  # what is missing is told of
        self.publish()

    async def _note(self, cell: "_Followed") -> None:
        async for _ in cell.follow():
            self._wake.set()

    async def _woken(self) -> None:
        try:
            async with asyncio.timeout(BLIND_S):
                await self._wake.wait()
        except TimeoutError:
            return  # somebody may have been out of sight for long enough
        await asyncio.sleep(0)  # what came in the same turn goes into the same fleet
        self._wake.clear()

    def _round(self) -> None:
        for reader in self.readers.values():
            reader.update()
        settled = all(reader.settled for reader in self.readers.values())
        if self.ready.get() or settled:
            self.publish()
        if settled:
            self.ready.set(True)

    def publish(self) -> None:
        """What is known now, complete or not."""
        given = Given(self.slices.get(), self.drains.get(), self.signals.get(), self.addresses.get(), self.unusable.get())
        layout = self._layout()
        fleet, problems = self._assembler.assemble(layout, self._declared, given)
        self.statuses.set(self._said())
        self.fleet.set(fleet)
        read = (problem for reader in self.readers.values() for problem in reader.problems())
        told = (*read, *(problem for _, problem in layout.faults), *problems)
        if told != self.problems.get():
            self.problems.set(told)
        blind = self._blind()
        if blind != self.blind.get():
            self.blind.set(blind)

    def _declared(self, cluster: str, collection: str) -> Objects:
        if not cluster:
            return _NOTHING
        objects = self.readers[cluster].objects(collection)
        return self._foreign.as_ours(cluster, collection, objects) if self._foreign is not None else objects

    def _layout(self) -> Layout:
        held = (reader.objects(CLUSTER_SETS).values() for reader in self.readers.values())
        sets = sorted((cast("ClusterSet", each) for several in held for each in several), key=_age)
        described = layout_of(sets[0]) if sets else Layout()
        known = {member.name: member for member in described.members}
        members = tuple(self._member(name, known.get(name)) for name in self.readers)
        return Layout(self._name or described.name, members, described.distances, described.faults)

    def _member(self, name: str, described: Member | None) -> Member:
        target, found = self._targets[name], self.readers[name].place()
        region = target.region or (described.region if described else "") or found.region or name
        zone = target.zone or (described.zone if described else "") or found.zone
        return Member(name, region, zone or None, None)

    def _said(self) -> Statuses:
        """Statuses; the identical value while none changed."""
        before = self.statuses.get()
        after = {name: {each: reader.statuses(each) for each in self._collections} for name, reader in self.readers.items()}
        same = before.keys() == after.keys() and all(
            before[name].get(each) is statuses for name, found in after.items() for each, statuses in found.items()
        )
        return before if same else after

    def _blind(self) -> Mapping[str, str]:
        found = {}
        now = self._clock.monotonic()
        for name, reader in self.readers.items():
            since = reader.blind_since
            if since is not None and now - since >= BLIND_S:
                error = reader.error()
                found[name] = f"its API server can't be read: {error.message if error else 'it has not answered yet'}"
        return found


_NOTHING: Objects = {}


def _age(cluster_set: ClusterSet) -> tuple[float, str]:
    """Of several the oldest counts."""
    made = cluster_set.metadata.creation_timestamp
    return made.timestamp() if made else 0.0, cluster_set.metadata.name


class _Followed(Protocol):
    def follow(self) -> AsyncIterator[object]: ...
