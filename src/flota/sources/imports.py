"""ServiceExports of all clusters → the ServiceImports that follow from them. Pure.

Source: KEP-1645 (Multi-Cluster Services API): same namespace and name = same service in the whole set; the oldest export
decides, ports are united; whatever the exports disagree in is told as a conflict on each of them.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from flota.fleet.core import Service, ServicePort
from flota.fleet.fleet import Cluster
from flota.fleet.mcs import ServiceExport, ServiceImport, ServiceImportPort, ServiceImportSpec
from flota.fleet.meta import Key, ObjectMeta
from flota.fleet.problem import Problem


class Exported(NamedTuple):
    """A service that a cluster exports."""

    cluster: str
    export: ServiceExport
    service: Service


class Outcome(NamedTuple):
    """What follows from the exports of one service."""

    imported: ServiceImport | None
    problems: tuple[Problem, ...]


_Seen = Mapping[str, tuple[Mapping[Key, object], Mapping[Key, object]]]


class ImportBook:
    """All imports; works out again only what services and exports changed, and keeps what comes out the same."""

    def __init__(self) -> None:
        self.imports: Mapping[Key, ServiceImport] = {}
        """Replaced when one of them changes."""
        self.problems: tuple[Problem, ...] = ()
        self._outcomes: dict[Key, Outcome] = {}
        self._seen: _Seen = {}

    def update(self, clusters: Mapping[str, Cluster]) -> None:
        """Look at the clusters as they are now. Their order does not matter."""
        seen: _Seen = {name: (cluster.service_exports, cluster.services) for name, cluster in clusters.items()}
        keys = _differing(self._seen, seen)
        self._seen = seen
        if not keys:
            return
        imports = dict(self.imports)
        for key in keys:
            outcome = outcome_of(key, clusters)
            held = imports.pop(key, None)
            if outcome.imported is not None:
                imports[key] = held if held is not None and held == outcome.imported else outcome.imported
            self._outcomes.pop(key, None)
            if outcome.problems:
                self._outcomes[key] = outcome
        self.imports = self.imports if same(self.imports, imports) else imports
        problems = tuple(problem for key in sorted(self._outcomes) for problem in self._outcomes[key].problems)
        self.problems = self.problems if problems == self.problems else problems


def outcome_of(key: Key, clusters: Mapping[str, Cluster]) -> Outcome:
    """The import of one service, if any cluster exports it, and what is wrong with its exports."""
    group: list[Exported] = []
    problems: list[Problem] = []
    for name, cluster in sorted(clusters.items()):
        export, service = cluster.service_exports.get(key), cluster.services.get(key)
        if export is None:
            continue
        if service is None:
            message = f"there is no Service {key[0]}/{key[1]} in {name} to export; add it, or remove the ServiceExport"
            problems.append(_problem(name, key, "NoService", message, retry=True))
        elif service.spec.type == "ExternalName":
            message = f"the Service {key[0]}/{key[1]} is of type ExternalName, which cannot be exported (KEP-1645)"
            problems.append(_problem(name, key, "InvalidServiceType", message))
        else:
            group.append(Exported(name, export, service))
    if not group:
        return Outcome(None, tuple(problems))
    oldest_first = tuple(sorted(group, key=_age))
    return Outcome(import_of(key, oldest_first), (*problems, *_conflicts(key, oldest_first)))


def _differing(before: _Seen, after: _Seen) -> set[Key]:
    """The services of which an export, or what it exports, differs."""
    keys: set[Key] = set()
    for name in {*before, *after}:
        old_exports, old_services = before.get(name, ({}, {}))
        exports, services = after.get(name, ({}, {}))
        if old_exports is not exports:
            keys |= _changed(old_exports, exports)
        if old_services is not services:
            keys |= {key for key in _changed(old_services, services) if key in exports}
    return keys


def _changed(old: Mapping[Key, object], new: Mapping[Key, object]) -> set[Key]:
    return {k for k, value in new.items() if old.get(k) is not value} | {k for k in old if k not in new}


def import_of(key: Key, group: tuple[Exported, ...]) -> ServiceImport:
    """The import of a service that at least one cluster exports; `group` oldest first."""
    winner = group[0]
    spec = winner.service.spec
    metadata = ObjectMeta(
        name=key[1],
        namespace=key[0],
        labels=winner.export.spec.exported_labels,
        annotations=winner.export.spec.exported_annotations,
        creation_timestamp=winner.export.metadata.creation_timestamp,
        generation=1,
    )
    return ServiceImport(
        metadata=metadata,
        spec=ServiceImportSpec(
            type=_type(winner),
            ports=_united(group),
            ip_families=spec.ip_families[:2],
            session_affinity=spec.session_affinity,
            session_affinity_config=spec.session_affinity_config,
            internal_traffic_policy=spec.internal_traffic_policy,
            traffic_distribution=spec.traffic_distribution,
        ),
    )


def _age(exported: Exported) -> tuple[float, str]:
    seen = exported.export.metadata.creation_timestamp
    return (seen.timestamp() if seen else 0.0), exported.cluster


def _type(exported: Exported) -> Literal["Headless", "ClusterSetIP"]:
    return "Headless" if exported.service.spec.cluster_ip == "None" else "ClusterSetIP"


def _port(port: ServicePort) -> ServiceImportPort:
    return ServiceImportPort(port=port.port, name=port.name, protocol=port.protocol, app_protocol=port.app_protocol)


def _united(group: tuple[Exported, ...]) -> tuple[ServiceImportPort, ...]:
    """All ports; of two with the same name, or the same protocol and number, the older export's."""
    ports: list[ServiceImportPort] = []
    for exported in group:
        for port in map(_port, exported.service.spec.ports):
            clash = (p for p in ports if p.name == port.name or (p.protocol, p.port) == (port.protocol, port.port))
            if next(clash, None) is None:
                ports.append(port)
    return tuple(ports)


def _ports(exported: Exported) -> frozenset[tuple[str, str, int, str]]:
    return frozenset((p.name, p.protocol, p.port, p.app_protocol or "") for p in exported.service.spec.ports)


_AGREE: tuple[tuple[str, str, Callable[[Exported], object]], ...] = (
    ("PortConflict", "ports", _ports),
    ("TypeConflict", "type (with or without a cluster IP)", _type),
    ("SessionAffinityConflict", "sessionAffinity", lambda e: e.service.spec.session_affinity),
    ("SessionAffinityConfigConflict", "sessionAffinityConfig", lambda e: e.service.spec.session_affinity_config),
    ("LabelsConflict", "exportedLabels", lambda e: e.export.spec.exported_labels),
    ("AnnotationsConflict", "exportedAnnotations", lambda e: e.export.spec.exported_annotations),
    ("InternalTrafficPolicyConflict", "internalTrafficPolicy", lambda e: e.service.spec.internal_traffic_policy),
    ("TrafficDistributionConflict", "trafficDistribution", lambda e: e.service.spec.traffic_distribution),
    ("IPFamilyConflict", "ipFamilies", lambda e: e.service.spec.ip_families),
)


def _conflicts(key: Key, group: tuple[Exported, ...]) -> Iterable[Problem]:
    for reason, field, what in _AGREE:
        first = what(group[0])
        others = [exported.cluster for exported in group[1:] if what(exported) != first]
        if others:
            effect = "all ports are exposed, each only where it exists" if reason == "PortConflict" else "the older one decides"
            message = f"the exports in {group[0].cluster} (the oldest) and {', '.join(others)} differ in {field}: {effect}"
            yield from (_problem(exported.cluster, key, reason, message) for exported in group)


def _problem(cluster: str, key: Key, reason: str, message: str, *, retry: bool = False) -> Problem:
    return Problem(cluster, "ServiceExport", key[0], key[1], reason, message, retry=retry)


def same(one: Mapping[Key, object], other: Mapping[Key, object]) -> bool:
    """Whether two mappings have the identical values under the same keys."""
    return one is other or (len(one) == len(other) and all(one.get(key) is value for key, value in other.items()))
