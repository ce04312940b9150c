"""`flota explain KIND/NAME`: what was decided about an object and why."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal

from flota.fleet.fleet import Cluster
from flota.fleet.meta import Condition, Key
from flota.fleet.pods import Deployment, Job, Pod
from flota.plan import GatewayStatus, ListenerSetStatus, ObjectRef, RouteStatus
from flota.plan.plan import Status
from flota.report.conditions import effective
from flota.report.delivery import Delivery, gateway_delivery, route_delivery
from flota.report.failed import Failed
from flota.report.named import Asked, refs_of
from flota.report.podfields import without_effect
from flota.report.problems import ProblemRow, problem_rows
from flota.report.services import EndpointRow, service_rows
from flota.report.shape import API_VERSION, ApiVersion, Row
from flota.report.tiers import TierRow, tier_rows
from flota.report.view import View
from flota.routing.reasons import explain_object as reasons


class ConditionRow(Row, frozen=True, kw_only=True):
    """A condition. `about`: the object itself is "", else a listener or a parent. `lastTransitionTime` null = nothing runs."""

    about: str
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str
    observed_generation: int
    last_transition_time: datetime | None


class ObjectRow(Row, frozen=True, kw_only=True):
    """One object. `cluster` null = the top of the folder; `why` are sentences, the most important first.

    `endpoints` and `tiers` are those of a Service or ServiceImport, as the proxy of `cluster` sees them.
    """

    cluster: str | None
    kind: str
    namespace: str
    name: str
    file: str | None
    line: int | None
    addresses: tuple[str, ...]
    conditions: tuple[ConditionRow, ...]
    why: tuple[str, ...]
    endpoints: tuple[EndpointRow, ...]
    tiers: tuple[TierRow, ...]
    problems: tuple[ProblemRow, ...]


class ObjectExplanation(Row, frozen=True, kw_only=True):
    """The object in every cluster that has it. `unseen`: what could not be read."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["ObjectExplanation"] = "ObjectExplanation"
    objects: tuple[ObjectRow, ...]
    unseen: tuple[str, ...]


def explain_object(view: View, asked: Asked) -> ObjectExplanation | Failed:
    """Conditions, and the reasons behind them."""
    refs = refs_of(view, asked)
    if isinstance(refs, Failed):
        return refs
    problems = problem_rows(view)
    return ObjectExplanation(objects=tuple(_object(view, ref, problems) for ref in refs), unseen=view.unseen())


def _object(view: View, ref: ObjectRef, problems: tuple[ProblemRow, ...]) -> ObjectRow:
    status = view.plan.statuses.get(ref)
    conditions = tuple(
        ConditionRow(
            about=part, type=each.type, status=each.status, reason=each.reason, message=each.message,
            observed_generation=each.observed_generation, last_transition_time=each.last_transition_time,
        )
        for part, held in _conditions(view, ref, status)
        for each in held
    )  # fmt: skip
    origin = view.origin(ref)
    mine = tuple(each for each in problems if (each.cluster or "", each.kind, each.namespace, each.name) == ref)
    found = _delivery(view, ref)
    said = (found.message,) if found is not None and found.state != "Acknowledged" and view.read is None else ()
    return ObjectRow(
        cluster=ref.cluster or None,
        kind=ref.kind,
        namespace=ref.namespace,
        name=ref.name,
        file=origin.file if origin is not None else None,
        line=origin.line if origin is not None else None,
        addresses=_addresses(view, ref, status),
        conditions=conditions,
        why=tuple(dict.fromkeys((*reasons(view.fleet, view.plan, ref), *said, *_pods(view, ref)))),
        endpoints=_endpoints(view, ref),
        tiers=_tiers(view, ref),
        problems=mine,
    )


def _conditions(view: View, ref: ObjectRef, status: Status | None) -> Iterable[tuple[str, tuple[Condition, ...]]]:
    """What its controllers say of it, where they are somebody else's; else what is planned, as it holds now."""
    if view.read is not None:
        told = view.read.told.get(ref)
        return told.parts() if told is not None else ()
    return effective(view, ref, status) if status is not None else ()


def _addresses(view: View, ref: ObjectRef, status: Status | None) -> tuple[str, ...]:
    if view.read is not None:
        told = view.read.told.get(ref)
        return tuple(each.value for each in told.addresses) if told is not None else ()
    return status.addresses if isinstance(status, GatewayStatus) else ()


_MAKERS: Mapping[str, Callable[[Cluster], Mapping[Key, Deployment | Job | Pod]]] = {
    "Deployment": lambda cluster: cluster.deployments,
    "Job": lambda cluster: cluster.jobs,
    "Pod": lambda cluster: cluster.pods,
}
"""Kinds that pods come from, and where they are."""


def _pods(view: View, ref: ObjectRef) -> Iterator[str]:
    """How the pods of a workload are."""
    if ref.kind not in _MAKERS:
        return
    here = [pod for pod in view.pods if (pod.cluster, pod.namespace) == (ref.cluster, ref.namespace)]
    mine = [pod for pod in here if pod.owner == f"{ref.kind}/{ref.name}"]
    if not mine:
        yield "It has no pods on this machine."
    for pod in mine:
        state = "ready" if pod.ready else "stopping" if pod.terminating else f"not ready ({pod.phase})"
        where = f" at {pod.address}" if pod.address else ""
        yield f"Pod {pod.name}{where} is {state}{f': {pod.reason}' if pod.reason else ''}."
    found = _MAKERS[ref.kind](view.fleet.clusters[ref.cluster]).get((ref.namespace, ref.name))
    idle = without_effect(found) if found is not None else ()
    if idle:
        yield f"These fields have no effect on a process of this machine: {', '.join(idle)}."


def _delivery(view: View, ref: ObjectRef) -> Delivery | None:
    status = view.plan.statuses.get(ref)
    if isinstance(status, GatewayStatus | ListenerSetStatus):
        return gateway_delivery(view, ref.cluster, status)
    if isinstance(status, RouteStatus) and status.tables:
        return route_delivery(view, ref.cluster, status)
    return None


def _endpoints(view: View, ref: ObjectRef) -> tuple[EndpointRow, ...]:
    if ref.kind not in ("Service", "ServiceImport"):
        return ()
    wanted = (ref.cluster, ref.namespace, ref.name, ref.kind == "ServiceImport")
    rows = (each for each in service_rows(view) if (each.cluster, each.namespace, each.name, each.imported) == wanted)
    return next((each.endpoints for each in rows), ())


def _tiers(view: View, ref: ObjectRef) -> tuple[TierRow, ...]:
    """Of the first backend of it that the proxy has; ports and policies differ in detail only."""
    proxy = view.plan.proxies.get(ref.cluster)
    for name, each in sorted(proxy.backends.items()) if proxy is not None else ():
        if (each.kind, each.namespace, each.service) == (ref.kind, ref.namespace, ref.name):
            return tier_rows(view, ref.cluster, name)
    return ()
