"""What ServiceExports and ServiceImports are told about themselves (KEP-1645, Multi-Cluster Services API v1beta1)."""

from collections.abc import Callable

from flota.fleet.core import Service
from flota.fleet.mcs import ServiceExport
from flota.fleet.meta import Condition, Key
from flota.routing import conditions
from flota.routing.places import exporters
from flota.routing.seniority import seniority
from flota.routing.view import ClusterView

Pair = tuple[ServiceExport, Service]


def _ports(pair: Pair) -> object:
    return frozenset((each.name, each.protocol, each.port, each.app_protocol) for each in pair[1].spec.ports)


_MUST_AGREE: tuple[tuple[str, str, Callable[[Pair], object]], ...] = (
    ("PortConflict", "ports", _ports),
    ("TypeConflict", "being headless or not", lambda pair: pair[1].spec.cluster_ip == "None"),
    ("SessionAffinityConflict", "session affinity", lambda pair: pair[1].spec.session_affinity),
    ("SessionAffinityConfigConflict", "session affinity config", lambda pair: pair[1].spec.session_affinity_config),
    ("LabelsConflict", "exported labels", lambda pair: pair[0].spec.exported_labels),
    ("AnnotationsConflict", "exported annotations", lambda pair: pair[0].spec.exported_annotations),
    ("InternalTrafficPolicyConflict", "internal traffic policy", lambda pair: pair[1].spec.internal_traffic_policy),
    ("TrafficDistributionConflict", "traffic distribution", lambda pair: pair[1].spec.traffic_distribution),
)
"""(reason, what must be the same in all clusters, how to read it)."""


def export_conditions(view: ClusterView, key: Key) -> tuple[Condition, ...]:
    """Conditions Valid, Ready and, where clusters disagree, Conflict of the export of this key in the view's cluster."""
    generation = view.cluster.service_exports[key].metadata.generation
    service = view.cluster.services.get(key)
    name = f"Service {key[0]}/{key[1]}"
    if service is None:
        return (conditions.false("Valid", generation, "NoService", f"{name} does not exist in cluster {view.cluster.name}"),)
    if service.spec.type == "ExternalName":
        text = f"{name} is an ExternalName, which cannot be exported"
        return (conditions.false("Valid", generation, "InvalidServiceType", text),)
    said = (conditions.true("Valid", generation), conditions.true("Ready", generation, "Exported"))
    conflict = _conflict(view, key)
    return said if conflict is None else (*said, conditions.true("Conflict", generation, *conflict))


def _conflict(view: ClusterView, key: Key) -> tuple[str, str] | None:
    """(reasons, message) where clusters that export the Service disagree; all of them are told."""
    pairs = {each.cluster.name: (each.cluster.service_exports[key], each.cluster.services[key]) for each in exporters(view, key)}
    winner = min(pairs, key=lambda name: (seniority(pairs[name][0]), name))
    reasons, texts = [], []
    for reason, what, read in _MUST_AGREE:
        others = [name for name, pair in pairs.items() if read(pair) != read(pairs[winner])]
        if others:
            reasons.append(reason)
            texts.append(f"{what} in {', '.join(others)} differ from those in {winner}, whose export is the oldest and holds")
    return (",".join(reasons), "; ".join(texts)) if reasons else None


def import_conditions(view: ClusterView, key: Key) -> tuple[Condition, ...]:
    """Condition Ready of the import of this key in the view's cluster."""
    generation = view.cluster.service_imports[key].metadata.generation
    if next(exporters(view, key), None) is None:
        text = f"no cluster of the fleet exports Service {key[0]}/{key[1]}; a ServiceExport there makes it available"
        return (conditions.false("Ready", generation, "Pending", text),)
    return (conditions.true("Ready", generation),)
