"""Statuses of the objects around backends: policies, exports and imports, kept up to date by difference."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from flota.fleet.backend import XBackend
from flota.fleet.fleet import Cluster, Fleet
from flota.fleet.meta import Condition, Key, key
from flota.fleet.policy import BackendTLSPolicy, TrafficPolicy
from flota.fleet.problem import Problem
from flota.plan.plan import ObjectRef, PolicyStatus
from flota.routing import conditions
from flota.routing.backend_tls import attachments
from flota.routing.backend_traffic import backend_traffic_conditions
from flota.routing.exports import export_conditions, import_conditions
from flota.routing.external import external_conditions
from flota.routing.keys import Target
from flota.routing.member import differing, policy_targets, traffic_targets
from flota.routing.policy_status import BACKEND_FIELDS, ROUTE_FIELDS, tls_conditions, traffic_conditions
from flota.routing.reach import Reach
from flota.routing.view import ClusterView

Judge = Callable[[ClusterView, Key], tuple[Condition, ...]]


class Reached(NamedTuple):
    """Which Gateways' traffic reaches what in a cluster, and for what that changed since the last round."""

    reach: Reach
    moved: frozenset[Target]


class _Sort(NamedTuple):
    kind: str
    field: str
    judge: Judge
    targets: Callable[[Any], Iterable[Target]] | None = None
    """What a policy is about, or an XBackend: traffic to it makes Gateways its ancestors. None for all else."""


def _traffic(view: ClusterView, name: Key) -> tuple[Condition, ...]:
    return traffic_conditions(view.cluster.traffic_policies[name], (view,), view.member.policies, _regions(view.fleet))


def _tls(view: ClusterView, name: Key) -> tuple[Condition, ...]:
    return tls_conditions(view, view.cluster.backend_tls_policies[name])


def _of_traffic(policy: TrafficPolicy) -> Iterable[Target]:
    return (Target(*each[:3]) for each in policy_targets(policy))


def _of_tls(policy: BackendTLSPolicy) -> Iterable[Target]:
    return (target for target, _ in attachments(policy))


def _itself(backend: XBackend) -> Iterable[Target]:
    return (Target("XBackend", *key(backend.metadata)),)


_SORTS = (
    _Sort("TrafficPolicy", "traffic_policies", _traffic, _of_traffic),
    _Sort("BackendTLSPolicy", "backend_tls_policies", _tls, _of_tls),
    _Sort("XBackend", "x_backends", external_conditions, _itself),
    _Sort("XBackendTrafficPolicy", "x_backend_traffic_policies", backend_traffic_conditions, traffic_targets),
    _Sort("ServiceExport", "service_exports", export_conditions),
    _Sort("ServiceImport", "service_imports", import_conditions),
)


_Told = dict[ObjectRef, PolicyStatus | None]


class Bookkeeping:
    """Statuses and problems of these objects in all clusters. Each mapping is replaced when something in it changes.

    A memo: what it holds depends only on the views last handed in.
    """

    def __init__(self) -> None:
        self.statuses: Mapping[ObjectRef, PolicyStatus] = {}
        self.problems: Mapping[ObjectRef, tuple[Problem, ...]] = {}
        self._clusters: dict[str, Cluster] = {}
        self._shared: Mapping[Key, TrafficPolicy] = {}
        self._depends: list[object] = []
        self._places: Mapping[str, str] = {}

    def refresh(self, views: Mapping[str, ClusterView], reached: Mapping[str, Reached]) -> None:
        """Take over newer views (those of one `Views.refresh`, each handed in once). `reached`: by cluster, for policies' ancestors."""
        told: _Told = {}
        for gone in self._clusters.keys() - views.keys():
            told.update({each: None for each in self.statuses if each.cluster == gone})
            del self._clusters[gone]
        for name, view in views.items():
            told |= self._of_cluster(view, self._clusters.get(name, Cluster(name, "")), reached[name])
            self._clusters[name] = view.cluster
        told |= self._of_fleet(tuple(views.values()))
        self._tell(told)

    def _of_cluster(self, view: ClusterView, old: Cluster, reached: Reached) -> _Told:
        told: _Told = {}
        for sort in _SORTS:
            now: Mapping[Key, object] = getattr(view.cluster, sort.field)
            touched = differing(getattr(old, sort.field), now)
            touched |= now.keys() & _affected(view, old, sort.kind)
            about = sort.targets
            if about is not None and reached.moved:
                touched |= {name for name, each in now.items() if not reached.moved.isdisjoint(about(each))}
            for name in touched:
                ref = ObjectRef(view.cluster.name, sort.kind, *name)
                told[ref] = None
                if name in now:
                    ancestors = reached.reach.ancestors(about(now[name])) if about is not None else ()
                    told[ref] = PolicyStatus(sort.judge(view, name), ancestors)
        return told

    def _of_fleet(self, views: tuple[ClusterView, ...]) -> _Told:
        """Policies at the top of the folder: few, and each may depend on every cluster."""
        if not views:
            return {}
        now = views[0].fleet.policies
        depends, places = _depends(views, now), _regions(views[0].fleet)
        if places == self._places and [*map(id, depends)] == [*map(id, self._depends)]:
            return {}
        self._depends, self._places = depends, places
        told: _Told = {ObjectRef("", "TrafficPolicy", *name): None for name in self._shared.keys() - now.keys()}
        self._shared = now
        for name, policy in now.items():
            told[ObjectRef("", "TrafficPolicy", *name)] = PolicyStatus(traffic_conditions(policy, views, views[0].fleet_policies, places))
        return told

    def _tell(self, told: _Told) -> None:
        changed = {ref: said for ref, said in told.items() if said != self.statuses.get(ref)}
        if not changed:
            return
        statuses, problems = dict(self.statuses), dict(self.problems)
        for ref, said in changed.items():
            statuses.pop(ref, None)
            problems.pop(ref, None)
            if said is not None:
                statuses[ref] = said
                bad = conditions.problems(ref, said.conditions)
                if bad:
                    problems[ref] = bad
        self.statuses, self.problems = statuses, problems


def _affected(view: ClusterView, old: Cluster, kind: str) -> Collection[Key]:
    """Objects of this kind that speak of something that changed."""
    changed = view.changed
    if kind in ("ServiceExport", "ServiceImport"):
        if changed is None:
            return view.cluster.service_exports.keys() if kind == "ServiceExport" else view.cluster.service_imports.keys()
        return {(each.namespace, each.name) for each in changed if each.kind == "ServiceImport"}
    if kind == "BackendTLSPolicy":
        if changed is None:
            return view.cluster.backend_tls_policies.keys()
        return {key(policy.metadata) for each in changed for policy in view.member.tls_policies.get(each)}
    if kind == "XBackend":
        return view.cluster.x_backends.keys() if changed is None else {each[1:] for each in changed if each.kind == "XBackend"}
    if kind == "XBackendTrafficPolicy":
        if changed is None:
            return view.cluster.x_backend_traffic_policies.keys()
        return {key(policy.metadata) for each in changed for policy in view.member.x_policies.get(each)}
    return _affected_traffic(view, old)


def _affected_traffic(view: ClusterView, old: Cluster) -> Collection[Key]:
    policies = view.cluster.traffic_policies
    if view.changed is None or not policies:
        return policies.keys()
    routes = {
        Target(kind, *name)
        for kind, field in ROUTE_FIELDS.items()
        for name in differing(getattr(old, field), getattr(view.cluster, field))
    }
    changed = view.changed | routes
    return {name for name, policy in policies.items() if any(Target(*each[:3]) in changed for each in policy_targets(policy))}


def _depends(views: tuple[ClusterView, ...], policies: Mapping[Key, TrafficPolicy]) -> list[object]:
    """All mappings on which the conditions of these policies depend, to be compared by identity."""
    kinds = {ref.kind for each in policies.values() for ref in each.spec.target_refs}
    fields = sorted(field for kind, field in (BACKEND_FIELDS | ROUTE_FIELDS).items() if kind in kinds)
    return [policies, *(getattr(view.cluster, each) for view in views for each in fields)]


def _regions(fleet: Fleet) -> dict[str, str]:
    return {name: each.region for name, each in fleet.clusters.items()}
