"""Which fields of pods and their makers do something on this machine; docs/pods.md tells it, a test keeps the two alike.

What is in none of the sets has no effect: placing, images and isolation mean nothing to a process of this machine.
"""

from collections.abc import Iterator

import msgspec
from msgspec.structs import fields

from flota.fleet.pods import Container, Deployment, DeploymentSpec, Job, JobSpec, Lifecycle, LifecycleHandler, Pod, PodSpec

EFFECTIVE: dict[type[msgspec.Struct], frozenset[str]] = {
    DeploymentSpec: frozenset({"selector", "template", "replicas", "strategy", "minReadySeconds", "paused"}),
    JobSpec: frozenset({
        "template", "parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "suspend", "completionMode",
    }),
    PodSpec: frozenset({
        "containers", "initContainers", "restartPolicy", "terminationGracePeriodSeconds", "activeDeadlineSeconds", "hostname",
        "serviceAccountName",
    }),
    Container: frozenset({
        "name", "command", "args", "workingDir", "env", "envFrom", "ports", "readinessProbe", "livenessProbe", "startupProbe",
        "lifecycle", "restartPolicy",
    }),
    Lifecycle: frozenset({"postStart", "preStop", "stopSignal"}),
    LifecycleHandler: frozenset({"exec", "httpGet", "sleep"}),
}  # fmt: skip
REFUSED: dict[type[msgspec.Struct], frozenset[str]] = {
    DeploymentSpec: frozenset(),
    JobSpec: frozenset({"managedBy", "podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "maxFailedIndexes"}),
    PodSpec: frozenset({"readinessGates", "schedulingGates"}),
    Container: frozenset({"restartPolicyRules", "volumeDevices", "volumeMounts"}),
    Lifecycle: frozenset(),
    LifecycleHandler: frozenset(),
}
"""Fields with which no pods are run, with a reason (some of their values only)."""


def without_effect(found: Deployment | Job | Pod) -> tuple[str, ...]:
    """Fields that are set and do nothing, such as `resources of container app`."""
    pod = found.spec if isinstance(found, Pod) else found.spec.template.spec
    idle = [] if isinstance(found, Pod) else list(_idle(found.spec))
    idle += _idle(pod)
    for container in (*pod.init_containers, *pod.containers):
        idle += (f"{name} of container {container.name}" for name in _of_container(container))
    return tuple(idle)


def _of_container(container: Container) -> Iterator[str]:
    yield from _idle(container)
    hooks = container.lifecycle
    for name, hook in (("postStart", hooks.post_start), ("preStop", hooks.pre_stop)) if hooks is not None else ():
        if hook is not None:
            yield from (f"lifecycle.{name}.{each}" for each in _idle(hook))


def _idle(part: msgspec.Struct) -> Iterator[str]:
    kind = type(part)
    for field in fields(kind):
        default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
        known = EFFECTIVE[kind] | REFUSED[kind]
        if field.encode_name not in known and getattr(part, field.name) != default:
            yield field.encode_name
