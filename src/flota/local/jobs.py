"""Which pods of a Job to start next, and when it is over (batch/v1). Pure: time is handed in."""

from msgspec import Struct, structs

from flota.fleet.pods import JobSpec
from flota.local.backoff import Backoff
from flota.local.podplan import PodPlan, Workload, pod_plan
from flota.local.rollout import Moves, PodView

BACKOFF_LIMIT = 6
"""Kubernetes' default for backoffLimit."""
RETRY = Backoff(base=10.0, cap=360.0, stable=float("inf"))
"""As the job controller: 10 s doubling to 6 min; the first new pod comes at once here."""

_COUNTED = 200


class JobRecord(Struct, frozen=True):
    """What has become of a Job; kept on disk, so that a Job that is over is not run again."""

    hash: str
    succeeded: int = 0
    failed: int = 0
    indexes: tuple[int, ...] = ()
    """Completed indexes of an Indexed Job."""
    next_number: int = 0
    over: str = ""
    """Empty while it runs; Complete or Failed."""
    reason: str = ""
    started: float | None = None
    """When it began to run (Unix seconds); None before, and while it is suspended."""
    counted: tuple[str, ...] = ()
    """The last pods whose end is in the numbers: a kill between keeping this and forgetting the pod counts nothing twice."""


def job_moves(workload: Workload, record: JobRecord, pods: tuple[PodView, ...], now: float, retry_at: float) -> Moves:
    """Pods to start up to the parallelism; all to stop when the Job is over, suspended or changed. `retry_at`: not before."""
    spec = _spec(workload)
    stale = [pod.plan for pod in pods if pod.plan.hash != workload.hash and not pod.terminating]
    active = [pod for pod in pods if pod.plan.hash == workload.hash]
    if record.over or spec.suspend:
        return Moves(stop=tuple(stale + [pod.plan for pod in active if not pod.terminating]))
    missing = _missing(spec, record, len(active))
    if missing <= 0 or now < retry_at:
        return Moves(stop=tuple(stale), again=retry_at if missing > 0 else None)
    return Moves(_new(workload, spec, record, active, missing), tuple(stale))


def judged(workload: Workload, record: JobRecord, pods: tuple[PodView, ...], wall: float) -> JobRecord:
    """The record as of now (`wall`, Unix seconds): the Job begins, or is over as it took too long or restarted too often.

    With restartPolicy OnFailure each restart of a container counts as a retry (batch/v1 backoffLimit).
    """
    spec = _spec(workload)
    if record.over:
        return record
    if spec.suspend:
        return structs.replace(record, started=None)
    record = structs.replace(record, started=wall if record.started is None else record.started)
    left = time_left(workload, record, wall)
    if left is not None and left <= 0:
        return structs.replace(record, over="Failed", reason="DeadlineExceeded")
    restarts = sum(pod.restarts for pod in pods if pod.plan.hash == workload.hash)
    if workload.pod.restart_policy == "OnFailure" and restarts >= max(1, _limit(spec)):
        return structs.replace(record, over="Failed", reason="BackoffLimitExceeded")
    return record


def time_left(workload: Workload, record: JobRecord, wall: float) -> float | None:
    """Seconds until the Job has run for its activeDeadlineSeconds; None without an end in sight."""
    limit = _spec(workload).active_deadline_seconds
    return None if limit is None or record.started is None or record.over else record.started + limit - wall


def ended(workload: Workload, record: JobRecord, plan: PodPlan, *, succeeded: bool, active: int) -> JobRecord:
    """The record after a pod's end; `active` pods are still running."""
    spec = _spec(workload)
    if plan.name in record.counted:
        return record
    record = structs.replace(record, counted=(*record.counted[-_COUNTED:], plan.name))
    if succeeded:
        indexes = (*record.indexes, plan.index) if plan.index is not None else record.indexes
        record = structs.replace(record, succeeded=record.succeeded + 1, indexes=indexes)
    else:
        record = structs.replace(record, failed=record.failed + 1)
    if record.failed > _limit(spec):
        return structs.replace(record, over="Failed", reason="BackoffLimitExceeded")
    if _complete(spec, record, active):
        return structs.replace(record, over="Complete")
    return record


def _limit(spec: JobSpec) -> int:
    return BACKOFF_LIMIT if spec.backoff_limit is None else spec.backoff_limit


def _spec(workload: Workload) -> JobSpec:
    if workload.job is None:
        raise ValueError(f"{workload.name} is no Job")
    return workload.job


def _missing(spec: JobSpec, record: JobRecord, active: int) -> int:
    if spec.completions is None:
        # A work queue: after the first success the others finish, and no new one starts.
        return 0 if record.succeeded else spec.parallelism - active
    return min(spec.parallelism, spec.completions - record.succeeded) - active


def _complete(spec: JobSpec, record: JobRecord, active: int) -> bool:
    if spec.completions is None:
        return record.succeeded > 0 and active == 0
    return record.succeeded >= spec.completions


def _new(workload: Workload, spec: JobSpec, record: JobRecord, active: list[PodView], count: int) -> tuple[PodPlan, ...]:
    number = record.next_number
    if spec.completion_mode != "Indexed" or spec.completions is None:
        return tuple(pod_plan(workload, str(number + offset)) for offset in range(count))
    busy = {pod.plan.index for pod in active} | set(record.indexes)
    free = [index for index in range(spec.completions) if index not in busy][:count]
    return tuple(pod_plan(workload, f"{index}-{number + offset}", index) for offset, index in enumerate(free))
