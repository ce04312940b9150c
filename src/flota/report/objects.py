"""`flota render --as objects`: the objects of a cluster as Kubernetes would hold them, with their status."""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import structs

from flota.fleet.fleet import Cluster
from flota.fleet.kinds import KINDS, Kind
from flota.fleet.meta import Condition
from flota.fleet.references import GATEWAY_GROUP
from flota.plan import GatewayStatus, ListenerSetStatus, ListenerStatus, ObjectRef, ParentStatus, RouteStatus
from flota.plan.plan import Status
from flota.report.conditions import effective
from flota.report.failed import Failed
from flota.report.named import unknown_cluster
from flota.report.view import View
from flota.routing.features import SUPPORTED

Object = dict[str, object]
CONTROLLER = "flota.dev/gateway-controller"


def objects(view: View, cluster: str | None) -> tuple[Object, ...] | Failed:
    """Manifests of one cluster or all, Flota's own additions (GatewayClass, ServiceImports, EndpointSlices of pods) among them."""
    if cluster is not None and cluster not in view.fleet.clusters:
        return unknown_cluster(view, cluster)
    chosen = [each for name, each in view.fleet.clusters.items() if cluster in (None, name)]
    return tuple(one for each in chosen for one in _of_cluster(view, each))


def _of_cluster(view: View, cluster: Cluster) -> Iterator[Object]:
    for kind in KINDS:
        if kind.collection:
            for key, value in sorted(getattr(cluster, kind.collection).items()):
                yield _object(view, kind, ObjectRef(cluster.name, kind.kind, *key), value)


def _object(view: View, kind: Kind, ref: ObjectRef, value: msgspec.Struct) -> Object:
    made: Object = {"apiVersion": kind.api_version, "kind": kind.kind}
    made |= {name: each for name, each in msgspec.to_builtins(value).items() if name not in made}
    metadata = made["metadata"]
    if isinstance(metadata, dict):
        if not kind.namespaced:
            metadata.pop("namespace", None)
        # Which cluster of the fleet it is in: several clusters stand in one output.
        metadata["annotations"] = {**metadata.get("annotations", {}), "flota.dev/cluster": ref.cluster}
    status = view.plan.statuses.get(ref)
    return made if status is None else {**made, "status": _status(view, ref, status)}


def _status(view: View, ref: ObjectRef, status: Status) -> Object:
    held = [[_condition(each) for each in conditions] for _, conditions in effective(view, ref, status)]
    if isinstance(status, RouteStatus):
        parents = zip(status.parents, held, strict=True)
        return {
            "parents": [
                {
                    "controllerName": CONTROLLER,
                    "parentRef": _parent(each),
                    "conditions": conditions,
                }
                for each, conditions in parents
            ]
        }
    if isinstance(status, GatewayStatus):
        return {
            "addresses": [{"type": "IPAddress", "value": each} for each in status.addresses],
            "conditions": held[0],
            "listeners": _listeners(status.listeners, held[1:]),
            "attachedListenerSets": status.listener_sets,
        }
    if ref.kind == "GatewayClass":
        return {"conditions": held[0], "supportedFeatures": [{"name": each} for each in SUPPORTED]}
    if isinstance(status, ListenerSetStatus):
        return {"conditions": held[0], "listeners": _listeners(status.listeners, held[1:])}
    if ref.kind not in ("BackendTLSPolicy", "TrafficPolicy", "XBackend", "XBackendTrafficPolicy"):
        return {"conditions": held[0]}
    several, one = ("parents", "parentRef") if ref.kind == "XBackend" else ("ancestors", "ancestorRef")
    ancestors = [
        {one: _given(group=GATEWAY_GROUP, kind="Gateway", namespace=namespace, name=name),
         "controllerName": CONTROLLER, "conditions": held[0]}
        for namespace, name in status.ancestors
    ]  # fmt: skip
    # The API's own policies are told by ancestors alone; ours is told too when no traffic meets it.
    return {"conditions": held[0], several: ancestors} if ref.kind == "TrafficPolicy" else {several: ancestors}


def _parent(parent: ParentStatus) -> Object:
    return _given(
        group=GATEWAY_GROUP, kind=parent.kind, namespace=parent.namespace, name=parent.name,
        sectionName=parent.section_name, port=parent.port,
    )  # fmt: skip


def _listeners(listeners: Iterable[ListenerStatus], conditions: Iterable[list[object]]) -> list[Object]:
    return [
        {
            "name": each.name,
            "attachedRoutes": each.attached_routes,
            "supportedKinds": [{"group": group, "kind": name} for group, name in each.supported_kinds],
            "conditions": said,
        }
        for each, said in zip(listeners, conditions, strict=True)
    ]


def _condition(condition: Condition) -> object:
    # All fields, also those that are at their default: a reader of a status expects them.
    return {name: each for name, each in _named(structs.asdict(condition)).items() if each is not None}


def _named(fields: dict[str, object]) -> dict[str, object]:
    names = {"observed_generation": "observedGeneration", "last_transition_time": "lastTransitionTime"}
    return {names.get(name, name): msgspec.to_builtins(value) for name, value in fields.items()}


def _given(**fields: object) -> Object:
    return {name: value for name, value in fields.items() if value is not None}
