"""Which pods of a Deployment, a Job or a Pod to start and which to stop next. Pure: time is handed in."""

import math

from msgspec import Struct

from flota.fleet.pods import DeploymentSpec
from flota.local.podplan import PodPlan, Workload, pod_plan


class PodView(Struct, frozen=True):
    """A pod as a rollout sees it."""

    plan: PodPlan
    ready_since: float | None
    """Monotonic seconds since when it has been ready without a break; None when it is not ready."""
    terminating: bool = False
    restarts: int = 0
    """Of all its containers."""


class Moves(Struct, frozen=True):
    """What to do now, and when to look again although nothing has happened (monotonic seconds)."""

    start: tuple[PodPlan, ...] = ()
    stop: tuple[PodPlan, ...] = ()
    again: float | None = None


def bare(workload: Workload, pods: tuple[PodView, ...]) -> Moves:
    """A Pod by itself. A changed one is replaced: the old one must be gone first, as both have the same name."""
    if not pods:
        return Moves(start=(pod_plan(workload, ""),))
    return Moves(stop=tuple(pod.plan for pod in pods if pod.plan.hash != workload.hash and not pod.terminating))


def rollout(workload: Workload, pods: tuple[PodView, ...], now: float) -> Moves:
    """A Deployment's next step, after the rules of apps/v1 (RollingUpdate, Recreate, minReadySeconds, paused)."""
    spec = workload.deployment
    if spec is None:
        raise ValueError(f"{workload.name} is no Deployment")
    old = [pod for pod in pods if pod.plan.hash != workload.hash and not pod.terminating]
    new = [pod for pod in pods if pod.plan.hash == workload.hash and not pod.terminating]
    excess = _least_useful(new, spec, now)[: max(0, len(new) - spec.replicas)]
    stop = [pod.plan for pod in excess]
    if spec.paused and old:
        return Moves(stop=tuple(stop))
    if spec.strategy.type == "Recreate":
        stop += [pod.plan for pod in old]
        leaving = any(pod.plan.hash != workload.hash for pod in pods)
        missing = 0 if leaving else spec.replicas - len(new)
    else:
        surge, unavailable = limits(spec)
        missing = min(spec.replicas - len(new), spec.replicas + surge - len(new) - len(old))
        keep = spec.replicas - unavailable
        stop += [pod.plan for pod in _old_to_stop(old, [pod for pod in new if pod not in excess], spec, keep, now)]
    return Moves(_numbered(workload, pods, max(0, missing)), tuple(stop), _again(old + new, spec, now))


def limits(spec: DeploymentSpec) -> tuple[int, int]:
    """(max surge, max unavailable) in pods: surge rounds up, unavailable down; both zero would stand still for ever."""
    rolling = spec.strategy.rolling_update
    surge = _count(rolling.max_surge if rolling else "25%", spec.replicas, up=True)
    unavailable = _count(rolling.max_unavailable if rolling else "25%", spec.replicas, up=False)
    return surge, 1 if surge == 0 and unavailable == 0 else unavailable


def _count(value: int | str, replicas: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    exact = int(value.removesuffix("%")) * replicas / 100
    return math.ceil(exact) if up else math.floor(exact)


def _available(pod: PodView, spec: DeploymentSpec, now: float) -> bool:
    return pod.ready_since is not None and now - pod.ready_since >= spec.min_ready_seconds


def _old_to_stop(old: list[PodView], new: list[PodView], spec: DeploymentSpec, keep: int, now: float) -> list[PodView]:
    """Those that don't serve first, then as many that do as the rest can stand in for."""
    idle = [pod for pod in old if not _available(pod, spec, now)]
    serving = [pod for pod in old if _available(pod, spec, now)]
    new_serving = sum(_available(pod, spec, now) for pod in new)
    # As the deployment controller: new pods that are not up yet count as if they would fail.
    budget = max(0, len(old) + len(new) - keep - (len(new) - new_serving))
    stopped = idle[:budget]
    spare = max(0, new_serving + len(serving) - keep)
    return stopped + serving[: min(spare, budget - len(stopped))]


def _least_useful(pods: list[PodView], spec: DeploymentSpec, now: float) -> list[PodView]:
    """Not serving before serving, then the highest number first."""
    return sorted(pods, key=lambda pod: (_available(pod, spec, now), -number_of(pod.plan)))


def _numbered(workload: Workload, pods: tuple[PodView, ...], count: int) -> tuple[PodPlan, ...]:
    """New pods with the lowest free numbers: names, and so addresses, come again after a restart of everything."""
    taken = {pod.plan.name for pod in pods}
    plans: list[PodPlan] = []
    number = 0
    while len(plans) < count:
        plan = pod_plan(workload, str(number))
        if plan.name not in taken:
            plans.append(plan)
        number += 1
    return tuple(plans)


def number_of(plan: PodPlan) -> int:
    """The number at the end of a pod's name, 0 without one."""
    end = plan.name.rpartition("-")[2]
    return int(end) if end.isdigit() else 0


def _again(pods: list[PodView], spec: DeploymentSpec, now: float) -> float | None:
    """When the next ready pod will have been ready for minReadySeconds."""
    due = [pod.ready_since + spec.min_ready_seconds for pod in pods if pod.ready_since is not None]
    return min((moment for moment in due if moment > now), default=None)
