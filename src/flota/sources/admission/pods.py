"""Rules of Pod, Deployment and Job, as the API server validates them, for the fields that decide something here."""

import re
from collections.abc import Sequence

from flota.fleet.pods import Container, Deployment, EnvVar, Job, Lifecycle, LifecycleHandler, Pod, PodSpec, Probe
from flota.fleet.values import IntOrString
from flota.sources.admission.fault import Faults, Path, doubled, fault, quoted, text
from flota.sources.admission.gateways import selector
from flota.sources.admission.names import annotations, is_port_name, label, labels, subdomain
from flota.sources.admission.services import port_or_name

_ENV_NAME = re.compile(r"[ -<>-~]+\Z")
_FIELD = re.compile(
    r"(metadata\.(name|namespace|uid|(labels|annotations)\['[^']+'\])"
    r"|spec\.(nodeName|serviceAccountName)|status\.(hostIPs?|podIPs?))\Z"
)
_PERCENT = re.compile(r"[0-9]+%\Z")


def pod(given: Pod) -> Faults:
    """All rules of a Pod."""
    yield from pod_spec(given.spec, ("spec",))


def deployment(given: Deployment) -> Faults:
    """All rules of a Deployment (apps/v1)."""
    spec = given.spec
    template: Path = ("spec", "template")
    yield from selector(spec.selector, ("spec", "selector"))
    if not spec.selector.match_labels and not spec.selector.match_expressions:
        yield fault(("spec", "selector"), "Invalid", "is empty and would select all pods; add matchLabels")
    elif not spec.selector.matches(spec.template.metadata.labels):
        said = "are not selected by spec.selector; give the pods the labels that the selector asks for"
        yield fault((*template, "metadata", "labels"), "Invalid", said)
    yield from _template(given, template)
    if spec.template.spec.restart_policy != "Always":
        said = f"{spec.template.spec.restart_policy} is not allowed; must be Always in a Deployment"
        yield fault((*template, "spec", "restartPolicy"), "NotSupported", said)
    if spec.template.spec.active_deadline_seconds is not None:
        yield fault((*template, "spec", "activeDeadlineSeconds"), "Forbidden", "is for pods that end; remove it in a Deployment")
    yield from _strategy(given)
    if spec.progress_deadline_seconds <= spec.min_ready_seconds:
        yield fault(("spec", "progressDeadlineSeconds"), "Invalid", "must be more than minReadySeconds")


def _template(given: Deployment | Job, path: Path) -> Faults:
    yield from labels((*path, "metadata", "labels"), given.spec.template.metadata.labels)
    yield from annotations((*path, "metadata", "annotations"), given.spec.template.metadata.annotations)
    yield from pod_spec(given.spec.template.spec, (*path, "spec"))


def _strategy(given: Deployment) -> Faults:
    strategy, path = given.spec.strategy, ("spec", "strategy", "rollingUpdate")
    rolling = strategy.rolling_update
    if rolling is None:
        return
    if strategy.type == "Recreate":
        yield fault(path, "Forbidden", "belongs to type RollingUpdate, but type is Recreate; remove it")
        return
    for name, value in (("maxUnavailable", rolling.max_unavailable), ("maxSurge", rolling.max_surge)):
        yield from _count_or_percent(value, (*path, name))
    if _is_zero(rolling.max_unavailable) and _is_zero(rolling.max_surge):
        yield fault((*path, "maxUnavailable"), "Invalid", "may not be 0 when maxSurge is 0, as nothing could change; raise one of them")
    most = rolling.max_unavailable
    if isinstance(most, str) and _PERCENT.match(most) and int(most[:-1]) > 100:
        yield fault((*path, "maxUnavailable"), "Invalid", "may not be more than 100%")


def _count_or_percent(value: IntOrString, path: Path) -> Faults:
    good = value >= 0 if isinstance(value, int) else bool(_PERCENT.match(value))
    if not good:
        yield fault(path, "Invalid", f"{quoted(value)} is not allowed; must be a whole number, or a percentage such as 25%")


def _is_zero(value: IntOrString) -> bool:
    return value == 0 or (isinstance(value, str) and value.rstrip("%").strip("0") == "" and value != "%")


def job(given: Job) -> Faults:
    """All rules of a Job (batch/v1)."""
    spec = given.spec
    template: Path = ("spec", "template")
    yield from _template(given, template)
    if spec.template.spec.restart_policy == "Always":
        said = "must be OnFailure or Never in a Job (the default, Always, is for pods that never end); set it"
        yield fault((*template, "spec", "restartPolicy"), "Required", said)
    if spec.selector is not None and not spec.manual_selector:
        yield fault(("spec", "selector"), "Forbidden", "is generated; remove it, or set manualSelector: true")
    if spec.completion_mode == "Indexed" and spec.completions is None:
        yield fault(("spec", "completions"), "Required", "is required for completionMode Indexed; add it")
    if spec.backoff_limit_per_index is not None and spec.completion_mode != "Indexed":
        yield fault(("spec", "backoffLimitPerIndex"), "Forbidden", "belongs to completionMode Indexed; remove it")


def pod_spec(spec: PodSpec, path: Path) -> Faults:
    """Rules of a PodSpec."""
    if not spec.containers:
        yield fault((*path, "containers"), "Required", "needs at least one container")
    seen: dict[str, Path] = {}
    for field, containers in (("initContainers", spec.init_containers), ("containers", spec.containers)):
        for index, each in enumerate(containers):
            place = (*path, field, index)
            before = seen.setdefault(each.name, place)
            if before != place:
                yield fault((*place, "name"), "Duplicate", f"the name is that of {text(before)}; change one of them")
            yield from _container(each, place)
    for name, value in (("hostname", spec.hostname), ("subdomain", spec.subdomain)):
        if value:
            yield from label((*path, name), value)
    if spec.node_name:
        yield from subdomain((*path, "nodeName"), spec.node_name)
    yield from labels((*path, "nodeSelector"), spec.node_selector)


def _container(given: Container, path: Path) -> Faults:
    yield from label((*path, "name"), given.name)
    if not given.image and not given.command:
        yield fault(
            (*path, "command"), "Required", "is required; give the program and its arguments (an image alone runs only in Kubernetes)"
        )
    yield from _container_ports(given, (*path, "ports"))
    yield from _environment(given.env, (*path, "env"))
    for index, source in enumerate(given.env_from):
        if (source.config_map_ref is None) == (source.secret_ref is None):
            yield fault((*path, "envFrom", index), "Invalid", "needs either configMapRef or secretRef, and not both")
    probes = (("livenessProbe", given.liveness_probe), ("startupProbe", given.startup_probe), ("readinessProbe", given.readiness_probe))
    for name, probe in probes:
        if probe is not None:
            yield from _probe(probe, name, (*path, name))
    if given.lifecycle:
        yield from _lifecycle(given.lifecycle, (*path, "lifecycle"))


def _container_ports(given: Container, path: Path) -> Faults:
    names = [each.name or (index,) for index, each in enumerate(given.ports)]
    yield from doubled(path, names, lambda name: name, "name", "the name is taken")
    for index, each in enumerate(given.ports):
        if each.name and not is_port_name(each.name):
            said = f"{quoted(each.name)} is not allowed; at most 15 lower-case letters, digits and single dashes, with a letter"
            yield fault((*path, index, "name"), "Invalid", said)
        if each.host_port > 65535:
            yield fault((*path, index, "hostPort"), "Invalid", f"{each.host_port} is out of range; must be 1 to 65535")


def _environment(given: Sequence[EnvVar], path: Path) -> Faults:
    for index, each in enumerate(given):
        place = (*path, index)
        if not _ENV_NAME.match(each.name):
            yield fault((*place, "name"), "Invalid", f"{quoted(each.name)} is not allowed; must be printable ASCII without =")
        source = each.value_from
        if source is None:
            continue
        if each.value:
            yield fault((*place, "valueFrom"), "Forbidden", "value and valueFrom may not come together; remove one of them")
        held = (source.field_ref, source.config_map_key_ref, source.secret_key_ref, source.resource_field_ref, source.file_key_ref)
        if sum(part is not None for part in held) != 1:
            yield fault((*place, "valueFrom"), "Invalid", "needs exactly one source: fieldRef, configMapKeyRef or secretKeyRef")
        if source.field_ref and not _FIELD.match(source.field_ref.field_path):
            said = f"{quoted(source.field_ref.field_path)} is not a field that a variable can have, such as metadata.name or status.podIP"
            yield fault((*place, "valueFrom", "fieldRef", "fieldPath"), "NotSupported", said)


def _probe(given: Probe, name: str, path: Path) -> Faults:
    handlers = (given.exec, given.http_get, given.tcp_socket, given.grpc)
    if sum(handler is not None for handler in handlers) != 1:
        yield fault(path, "Invalid", "needs exactly one of exec, httpGet, tcpSocket, grpc")
    yield from _handler(given, path)
    if name != "readinessProbe" and given.success_threshold != 1:
        yield fault((*path, "successThreshold"), "Invalid", "must be 1 here; only a readinessProbe may ask for more")
    if name == "readinessProbe" and given.termination_grace_period_seconds is not None:
        yield fault((*path, "terminationGracePeriodSeconds"), "Forbidden", "a readinessProbe ends no container; remove it")


def _handler(given: Probe | LifecycleHandler, path: Path) -> Faults:
    if given.exec and not given.exec.command:
        yield fault((*path, "exec", "command"), "Required", "is required; give the program and its arguments")
    if given.http_get:
        yield from port_or_name(given.http_get.port, (*path, "httpGet", "port"))
    if given.tcp_socket:
        yield from port_or_name(given.tcp_socket.port, (*path, "tcpSocket", "port"))


def _lifecycle(given: Lifecycle, path: Path) -> Faults:
    for name, hook in (("postStart", given.post_start), ("preStop", given.pre_stop)):
        if hook is None:
            continue
        if sum(part is not None for part in (hook.exec, hook.http_get, hook.tcp_socket, hook.sleep)) != 1:
            yield fault((*path, name), "Invalid", "needs exactly one of exec, httpGet, sleep")
        yield from _handler(hook, (*path, name))
