"""Admitted objects, pod-derived EndpointSlices, drains and signals → the `Fleet`. Pure.

What did not change stays the identical object, up to the fleet itself, so planners can skip it.
"""

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import TypeVar, cast

import msgspec

from flota.fleet.core import EndpointSlice, Namespace
from flota.fleet.drain import Drain
from flota.fleet.fleet import Cluster, Fleet
from flota.fleet.gateway import GatewayClass, GatewayClassSpec
from flota.fleet.mcs import ServiceImport
from flota.fleet.meta import Key, ObjectMeta
from flota.fleet.policy import TrafficPolicy
from flota.fleet.problem import Problem
from flota.fleet.signals import Signals
from flota.sources.imports import ImportBook, same
from flota.sources.layout import Layout, Member

CONTROLLER_NAME = "flota.dev/gateway-controller"
CLASS_NAME = "flota"
_COLLECTIONS = tuple(field for field in Cluster.__struct_fields__ if field not in ("name", "region", "zone"))
_CLUSTER_SCOPED = ("gateway_classes", "namespaces")

Slices = Mapping[str, Mapping[Key, EndpointSlice]]
"""Cluster → EndpointSlices that follow from pods running on this machine."""
Addresses = Mapping[tuple[str, str, str], tuple[str, ...]]
Unusable = Mapping[tuple[str, str], str]
Declared = Callable[[str, str], Mapping[Key, msgspec.Struct]]
"""(cluster, or `""` for the top of the folder; field of Cluster) → the admitted objects. Identical until one changes."""
T = TypeVar("T")


class Given(msgspec.Struct, frozen=True):
    """What comes from elsewhere than files."""

    slices: Slices = {}
    drains: tuple[Drain, ...] = ()
    signals: Signals = Signals()
    addresses: Addresses = {}
    unusable: Unusable = {}


class Assembler:
    """Remembers the last fleet, to hand out the identical parts of it again. Otherwise a function of what it is given."""

    def __init__(self, *, implied: bool = True) -> None:
        """`implied`: Flota's own GatewayClass, and the namespaces that objects name, exist without being declared (design 6.1)."""
        self._implies = implied
        self._fleet = Fleet(name="")
        self._classes = {("", CLASS_NAME): _default_class()}
        self._namespaces: dict[str, dict[Key, Namespace]] = {}
        self._scopes: dict[tuple[str, str], tuple[object, frozenset[str]]] = {}
        self._merged: dict[tuple[str, str], tuple[tuple[object, ...], Mapping[Key, msgspec.Struct]]] = {}
        self._book = ImportBook()
        self._imports: dict[str, tuple[tuple[object, ...], Mapping[Key, ServiceImport]]] = {}

    def assemble(self, layout: Layout, declared: Declared, given: Given) -> tuple[Fleet, tuple[Problem, ...]]:
        """The fleet, and problems of ServiceExports. `layout.problems` are the caller's to tell."""
        clusters = {member.name: self._cluster(member, declared, given) for member in layout.members}
        self._book.update(clusters)
        clusters = {name: self._with_imports(cluster) for name, cluster in clusters.items()}
        clusters = {name: _kept(self._fleet.clusters.get(name), cluster) for name, cluster in clusters.items()}
        before = self._fleet
        fleet = Fleet(
            name=layout.name,
            clusters=before.clusters if _same_order(before.clusters, clusters) else clusters,
            distances=before.distances if before.distances == layout.distances else layout.distances,
            policies=cast("Mapping[Key, TrafficPolicy]", declared("", "traffic_policies")),
            drains=given.drains,
            signals=given.signals,
            addresses=given.addresses,
            unusable=given.unusable,
        )
        self._fleet = _kept(before, fleet)
        return self._fleet, self._book.problems

    def _cluster(self, member: Member, declared: Declared, given: Given) -> Cluster:
        """A cluster with everything but the imports that follow from exports."""
        objects = {name: declared(member.name, name) for name in _COLLECTIONS}
        slices = given.slices.get(member.name, {})
        objects["endpoint_slices"] = self._union(member.name, "endpoint_slices", slices, objects["endpoint_slices"])
        if not self._implies:
            return Cluster(member.name, member.region, member.zone, **cast("dict[str, object]", objects))  # type: ignore[arg-type]
        objects["gateway_classes"] = self._union(member.name, "gateway_classes", self._classes, objects["gateway_classes"])
        implied = self._implied(member.name, objects)
        objects["namespaces"] = self._union(member.name, "namespaces", implied, objects["namespaces"])
        return Cluster(member.name, member.region, member.zone, **cast("dict[str, object]", objects))  # type: ignore[arg-type]

    def _union(
        self, cluster: str, name: str, weak: Mapping[Key, msgspec.Struct], strong: Mapping[Key, msgspec.Struct]
    ) -> Mapping[Key, msgspec.Struct]:
        """Both, `strong` where both have one; the identical mapping for the identical two."""
        if not weak or not strong:
            return strong if strong or not weak else weak
        held = self._merged.get((cluster, name))
        if held is not None and held[0][0] is weak and held[0][1] is strong:
            return held[1]
        merged = {**weak, **strong}
        self._merged[cluster, name] = ((weak, strong), merged)
        return merged

    def _implied(self, cluster: str, objects: Mapping[str, Mapping[Key, msgspec.Struct]]) -> dict[Key, Namespace]:
        """The namespaces that objects name, and `default`."""
        names = {"default"}
        for name, mapping in objects.items():
            if name in _CLUSTER_SCOPED:
                continue
            held = self._scopes.get((cluster, name))
            if held is None or held[0] is not mapping:
                held = self._scopes[cluster, name] = (mapping, frozenset(map(itemgetter(0), mapping)))
            names |= held[1]
        known = self._namespaces.get(cluster, {})
        if {name for _, name in known} != names:
            known = {("", name): known.get(("", name)) or _namespace(name) for name in sorted(names)}
            self._namespaces[cluster] = known
        return known

    def _with_imports(self, cluster: Cluster) -> Cluster:
        """An import appears in every cluster that has its namespace; one that a file declares there stays as declared."""
        given = (self._book.imports, cluster.namespaces, cluster.service_imports)
        held = self._imports.get(cluster.name)
        if held is None or any(old is not new for old, new in zip(held[0], given, strict=True)):
            here = {key: each for key, each in self._book.imports.items() if ("", key[0]) in cluster.namespaces}
            merged: Mapping[Key, ServiceImport] = {**here, **cluster.service_imports}
            merged = held[1] if held is not None and same(held[1], merged) else merged
            held = self._imports[cluster.name] = (given, merged)
        return msgspec.structs.replace(cluster, service_imports=held[1])


def _kept(before: T | None, after: T) -> T:
    """The old one when all fields are the identical values (or equal plain ones)."""
    if before is None or not isinstance(after, msgspec.Struct):
        return after
    fields = ((getattr(before, name), getattr(after, name)) for name in after.__struct_fields__)
    unchanged = all(old is new or (isinstance(new, str | tuple) and old == new) for old, new in fields)
    return before if unchanged else after


def _same_order(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return list(one) == list(other) and all(one[name] is each for name, each in other.items())


def _default_class() -> GatewayClass:
    spec = GatewayClassSpec(controller_name=CONTROLLER_NAME, description="Flota's own class")
    return GatewayClass(metadata=ObjectMeta(name=CLASS_NAME, namespace="", generation=1), spec=spec)


def _namespace(name: str) -> Namespace:
    labels = {"kubernetes.io/metadata.name": name}
    return Namespace(metadata=ObjectMeta(name=name, namespace="", labels=labels, generation=1))
