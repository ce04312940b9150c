"""Pods that can't run as processes of this machine, with the field that asks for too much. Pure; docs/pods.md lists every field.

Refused is what would change when a pod runs, what it finds, or whether it counts as ready. What has no meaning on one machine (placing,
images, isolation) has no effect and refuses nothing.
"""

from collections.abc import Iterator, Mapping

from flota.fleet.pods import Container, JobSpec, PodSpec

JOB_CONTROLLER = "kubernetes.io/job-controller"
"""The only `managedBy` of a Job that is ours."""
_BARE = ("emptyDir", "name")
"""A volume that says no more than this is an empty folder."""

Refusal = tuple[str, str]
"""(reason, message)."""


def refusal(pod: PodSpec, job: JobSpec | None = None) -> Refusal | None:
    """Why pods of this template are not run; None when they can be."""
    return next(_refusals(pod, job), None)


def _refusals(pod: PodSpec, job: JobSpec | None) -> Iterator[Refusal]:
    if job is not None:
        yield from _of_job(job)
    if pod.scheduling_gates:
        yield "SchedulingGated", "it is held back by schedulingGates; remove them to let it start"
    if pod.readiness_gates:
        yield "NotSupported", "readinessGates: nobody here sets such conditions, so it would never be ready; remove them"
    volumes = {str(each.get("name")): each for each in pod.volumes if isinstance(each, Mapping)}
    for container in (*pod.init_containers, *pod.containers):
        yield from _of_container(container, volumes)


def _of_job(job: JobSpec) -> Iterator[Refusal]:
    if job.managed_by not in (None, JOB_CONTROLLER):
        yield "ManagedByOther", f"managedBy names {job.managed_by}, so it is not for Flota to run"
    fields = (
        ("podFailurePolicy", job.pod_failure_policy),
        ("successPolicy", job.success_policy),
        ("backoffLimitPerIndex", job.backoff_limit_per_index),
        ("maxFailedIndexes", job.max_failed_indexes),
    )
    for name, value in fields:
        if value is not None:
            yield "NotSupported", f"{name} is not obeyed here, and the Job would end in another way than it says; remove it"


def _of_container(container: Container, volumes: Mapping[str, Mapping[str, object]]) -> Iterator[Refusal]:
    where = f"container {container.name}"
    if not container.command:
        yield "ImageNotSupported", (
            f"{where}: Flota runs no images, only commands of this machine: give the container"
            " a `command` (and `args`), or describe what serves it with an EndpointSlice"
        )
    if container.restart_policy_rules:
        yield "NotSupported", f"{where}: restartPolicyRules are not obeyed here; remove them"
    if container.volume_devices:
        yield "NotSupported", f"{where}: volumeDevices: a process gets no block devices; remove them"
    for mount in container.volume_mounts:
        name = str(mount.get("name")) if isinstance(mount, Mapping) else ""
        sort = next((key for key in volumes.get(name, {}) if key not in _BARE), None)
        if sort is not None:
            yield "NotSupported", (
                f"{where}: volumeMounts {name} ({sort}): a process of this machine has nothing mounted; hand values over by env"
                " and envFrom, or keep files beside the manifests (workingDir starts at the fleet's folder)"
            )
