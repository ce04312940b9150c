"""What is admitted but not in effect yet: what `flota up -d` waits for."""

from collections.abc import Iterator

from flota.fleet.fleet import Cluster
from flota.fleet.pods import Deployment
from flota.report.delivery import everything, refused_parts
from flota.report.shape import Row
from flota.report.view import PodView, View


class WaitingRow(Row, frozen=True, kw_only=True):
    """One thing that is not in effect, in a sentence. `final` = waiting longer will not help."""

    cluster: str
    message: str
    final: bool = False


def waiting_rows(view: View) -> tuple[WaitingRow, ...]:
    """Empty when every Gateway that can be is programmed and every admitted object is in effect. Meaningless when nothing runs."""
    return (*_proxies(view), *_workloads(view), *(_pod(each) for each in view.pods if _is_awaited(each)))


def _workloads(view: View) -> Iterator[WaitingRow]:
    """Deployments with fewer ready pods than they want, or whose ready pods no proxy has heard of yet."""
    stopped = {(each.cluster, each.kind, each.namespace, each.name) for each in view.problems}
    for name, cluster in view.fleet.clusters.items():
        known = {address for one in cluster.endpoint_slices.values() for each in one.endpoints for address in each.addresses}
        for (namespace, owner), deployment in cluster.deployments.items():
            if (name, "Deployment", namespace, owner) in stopped:
                continue
            ready = [each for each in view.pods if _is_of(each, name, namespace, f"Deployment/{owner}") and each.ready]
            wanted = deployment.spec.replicas
            if len(ready) < wanted:
                yield WaitingRow(cluster=name, message=f"Deployment {namespace}/{owner} has {len(ready)} of {wanted} pods ready")
            elif _is_selected(cluster, namespace, deployment) and any(each.address not in known for each in ready):
                yield WaitingRow(cluster=name, message=f"pods of Deployment {namespace}/{owner} are ready and not endpoints yet")


def _is_of(pod: PodView, cluster: str, namespace: str, owner: str) -> bool:
    return (pod.cluster, pod.namespace, pod.owner) == (cluster, namespace, owner) and not pod.terminating


def _is_selected(cluster: Cluster, namespace: str, deployment: Deployment) -> bool:
    labels = deployment.spec.template.metadata.labels.items()
    return any(
        key[0] == namespace and each.spec.selector and each.spec.selector.items() <= labels for key, each in cluster.services.items()
    )


def _proxies(view: View) -> Iterator[WaitingRow]:
    for cluster, plan in view.plan.proxies.items():
        proxy = view.proxies.get(cluster)
        if proxy is None or proxy.state != "Running":
            why = f": {proxy.reason}" if proxy is not None and proxy.reason else ""
            yield WaitingRow(cluster=cluster, message=f"the proxy of {cluster} does not run yet{why}")
            continue
        # What was refused can't be in effect: that is a problem, and nothing to wait for.
        missing = sorted((everything(plan) & proxy.pending) - refused_parts(view, cluster).keys())
        if not proxy.connected:
            yield WaitingRow(cluster=cluster, message=f"the proxy of {cluster} is not connected to Flota yet")
        elif missing:
            message = f"the proxy of {cluster} has not acknowledged {len(missing)} parts of the plan yet, {missing[0]} among them"
            yield WaitingRow(cluster=cluster, message=message)


def _is_awaited(pod: PodView) -> bool:
    """A Deployment is counted by its ready pods, a Job is in effect once it runs."""
    return pod.owner.startswith("Pod/") and not pod.ready and not pod.terminating and pod.phase != "Succeeded"


def _pod(pod: PodView) -> WaitingRow:
    why = f": {pod.reason}" if pod.reason else ""
    return WaitingRow(cluster=pod.cluster, message=f"pod {pod.namespace}/{pod.name} is not ready{why}", final=pod.failed)
