"""What pods a cluster's manifests ask for: Deployments, Jobs and Pods as workloads with one template each. Pure."""

import hashlib
from typing import Literal

import msgspec
from msgspec import Struct

from flota.fleet.fleet import Cluster
from flota.fleet.pods import Deployment, DeploymentSpec, Job, JobSpec, Pod, PodSpec
from flota.fleet.problem import Problem
from flota.local.unsupported import refusal

WorkloadKind = Literal["Deployment", "Job", "Pod"]


class Workload(Struct, frozen=True):
    """One object that pods are made from. Its pods are equal but for name and address."""

    cluster: str
    kind: WorkloadKind
    namespace: str
    name: str
    hash: str
    """Digest of the template; pods with another one are old."""
    labels: dict[str, str]
    annotations: dict[str, str]
    pod: PodSpec
    deployment: DeploymentSpec | None = None
    job: JobSpec | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.cluster, self.kind, self.namespace, self.name


class PodPlan(Struct, frozen=True):
    """One pod to run, whole: it is kept in the records of its processes, so that an old template can be adopted too."""

    cluster: str
    namespace: str
    name: str
    owner_kind: WorkloadKind
    owner_name: str
    hash: str
    labels: dict[str, str]
    annotations: dict[str, str]
    spec: PodSpec
    index: int | None = None
    """Completion index of an Indexed Job's pod."""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.cluster, self.namespace, self.name

    @property
    def owner(self) -> tuple[str, str, str, str]:
        return self.cluster, self.owner_kind, self.namespace, self.owner_name


def workloads(cluster: Cluster) -> tuple[tuple[Workload, ...], tuple[Problem, ...]]:
    """All workloads of a cluster that can run here, and what is wrong with the others.

    The reasons are those of `unsupported`, such as ImageNotSupported: a container without a command would need its image.
    """
    found: list[Workload] = []
    problems: list[Problem] = []
    sources: list[Deployment | Job | Pod] = [*cluster.deployments.values(), *cluster.jobs.values()]
    for source in [*sources, *cluster.pods.values()]:
        workload = _workload(cluster.name, source)
        problem = _unsupported(workload)
        if problem is None:
            found.append(workload)
        else:
            problems.append(problem)
    return tuple(found), tuple(problems)


def pod_plan(workload: Workload, suffix: str, index: int | None = None) -> PodPlan:
    """A pod of a workload. `suffix` tells it from its siblings; a bare Pod has none."""
    labels = dict(workload.labels)
    if workload.kind == "Deployment":
        name = f"{workload.name}-{workload.hash}-{suffix}"
        labels["pod-template-hash"] = workload.hash
    elif workload.kind == "Job":
        name = f"{workload.name}-{suffix}"
        labels |= {"batch.kubernetes.io/job-name": workload.name, "job-name": workload.name}
        if index is not None:
            labels["batch.kubernetes.io/job-completion-index"] = str(index)
    else:
        name = workload.name
    return PodPlan(
        workload.cluster,
        workload.namespace,
        name,
        workload.kind,
        workload.name,
        workload.hash,
        labels,
        workload.annotations,
        workload.pod,
        index,
    )


def _workload(cluster: str, source: Deployment | Job | Pod) -> Workload:
    if isinstance(source, Pod):
        spec, labels, annotations = source.spec, source.metadata.labels, source.metadata.annotations
    else:
        template = source.spec.template
        spec, labels, annotations = template.spec, template.metadata.labels, template.metadata.annotations
    kind: WorkloadKind = "Deployment" if isinstance(source, Deployment) else "Job" if isinstance(source, Job) else "Pod"
    return Workload(
        cluster,
        kind,
        source.metadata.namespace,
        source.metadata.name,
        template_hash(spec, labels, annotations),
        labels,
        annotations,
        spec,
        source.spec if isinstance(source, Deployment) else None,
        source.spec if isinstance(source, Job) else None,
    )


def template_hash(spec: PodSpec, labels: dict[str, str], annotations: dict[str, str]) -> str:
    """Ten hexadecimal digits that change whenever the template does."""
    content = msgspec.json.encode((spec, labels, annotations), order="deterministic")
    return hashlib.sha256(content).hexdigest()[:10]


def _unsupported(workload: Workload) -> Problem | None:
    found = refusal(workload.pod, workload.job)
    return None if found is None else Problem(workload.cluster, workload.kind, workload.namespace, workload.name, *found)
