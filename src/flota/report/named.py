"""Objects by the names that people type: `httproute/shop`, `svc/shop`, `gateways/web`."""

from typing import NamedTuple

from flota.fleet import kinds
from flota.fleet.kinds import Kind
from flota.plan import ObjectRef
from flota.report.failed import Failed
from flota.report.view import View

_SHORT = {
    "gc": "GatewayClass", "gtw": "Gateway", "lset": "ListenerSet", "refgrant": "ReferenceGrant", "btlspolicy": "BackendTLSPolicy",
    "svc": "Service", "svcex": "ServiceExport", "svcim": "ServiceImport", "ns": "Namespace", "cm": "ConfigMap",
    "po": "Pod", "deploy": "Deployment",
}  # fmt: skip
"""Short names of Kubernetes' and the Gateway API's own definitions."""


class Asked(NamedTuple):
    """An object as asked for. `cluster` None = in every cluster."""

    kind: str
    name: str
    namespace: str = "default"
    cluster: str | None = None


def kind_named(text: str) -> Kind | None:
    """The kind of that name: any case, singular or plural, or short."""
    wanted = text.lower()
    wanted = _SHORT.get(wanted, wanted).lower()
    return next((each for each in kinds.KINDS if wanted in (each.kind.lower(), plural(each.kind))), None)


def plural(kind: str) -> str:
    """Lower case, as in `kubectl get httproutes`."""
    lower = kind.lower()
    if lower.endswith("y"):
        return f"{lower[:-1]}ies"
    return f"{lower}es" if lower.endswith("s") else f"{lower}s"


def refs_of(view: View, asked: Asked) -> tuple[ObjectRef, ...] | Failed:
    """The objects meant: one per cluster that has it. One that was refused and never admitted counts, too."""
    kind = kind_named(asked.kind)
    if kind is None:
        known = ", ".join(each.kind for each in kinds.KINDS if each.struct is not None)
        return Failed(reason="UnknownKind", message=f"there is no kind {asked.kind}; there are: {known}", code=2)
    if asked.cluster is not None and asked.cluster not in view.fleet.clusters:
        return unknown_cluster(view, asked.cluster)
    found = tuple(dict.fromkeys((*_in_effect(view, kind, asked), *_refused(view, kind, asked))))
    return found or _not_found(view, kind, asked)


def unknown_cluster(view: View, name: str) -> Failed:
    """No cluster of that name."""
    known = ", ".join(view.fleet.clusters) or "none"
    return Failed(reason="UnknownCluster", message=f"there is no cluster {name}; there are: {known}", code=2)


def _in_effect(view: View, kind: Kind, asked: Asked) -> list[ObjectRef]:
    if kind.kind == "ClusterSet":
        return [ObjectRef("", "ClusterSet", "", asked.name)] if asked.name == view.fleet.name else []
    namespace = asked.namespace if kind.namespaced else ""
    key = (namespace, asked.name)
    found = [
        ObjectRef(name, kind.kind, *key)
        for name, cluster in view.fleet.clusters.items()
        if asked.cluster in (None, name) and kind.collection and key in getattr(cluster, kind.collection)
    ]
    if kind.kind == "TrafficPolicy" and asked.cluster is None and key in view.fleet.policies:
        found.insert(0, ObjectRef("", kind.kind, *key))
    return found


def _refused(view: View, kind: Kind, asked: Asked) -> list[ObjectRef]:
    return [
        ObjectRef(each.cluster or "", each.kind, each.namespace, each.name)
        for each in view.problems
        if (each.kind, each.name) == (kind.kind, asked.name)
        and (each.namespace == asked.namespace or not kind.namespaced)
        and asked.cluster in (None, each.cluster)
    ]


def _not_found(view: View, kind: Kind, asked: Asked) -> Failed:
    there = f" in cluster {asked.cluster}" if asked.cluster else ""
    named = f"{asked.namespace}/{asked.name}" if kind.namespaced else asked.name
    known = sorted({
        f"{key[0]}/{key[1]}" if key[0] else key[1]
        for name, cluster in view.fleet.clusters.items()
        if asked.cluster in (None, name) and kind.collection
        for key in getattr(cluster, kind.collection)
    })  # fmt: skip
    listed = f"; there are: {', '.join(known[:10])}{', …' if len(known) > 10 else ''}" if known else "; there is none of that kind"
    return Failed(reason="NotFound", message=f"there is no {kind.kind} {named}{there}{listed}")
