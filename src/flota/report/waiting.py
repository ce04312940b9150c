"""What is admitted but not in effect yet: what `flota up -d` waits for."""

from collections.abc import Iterator

from flota.report.delivery import everything
from flota.report.shape import Row
from flota.report.view import PodView, View


class WaitingRow(Row, frozen=True, kw_only=True):
    """One thing that is not in effect, in a sentence. `final` = waiting longer will not help."""

    cluster: str
    message: str
    final: bool = False


def waiting_rows(view: View) -> tuple[WaitingRow, ...]:
    """Empty when every Gateway that can be is programmed and every admitted object is in effect. Meaningless when nothing runs."""
    return (*_proxies(view), *(_pod(each) for each in view.pods if _is_awaited(each)))


def _proxies(view: View) -> Iterator[WaitingRow]:
    for cluster, plan in view.plan.proxies.items():
        proxy = view.proxies.get(cluster)
        if proxy is None or proxy.state != "Running":
            why = f": {proxy.reason}" if proxy is not None and proxy.reason else ""
            yield WaitingRow(cluster=cluster, message=f"the proxy of {cluster} does not run yet{why}")
            continue
        wanted = everything(plan)
        for name in sorted(wanted & proxy.refused.keys()):
            yield WaitingRow(cluster=cluster, message=f"the proxy of {cluster} refused {name}: {proxy.refused[name]}", final=True)
        missing = sorted((wanted & proxy.pending) - proxy.refused.keys())
        if not proxy.connected:
            yield WaitingRow(cluster=cluster, message=f"the proxy of {cluster} is not connected to Flota yet")
        elif missing:
            message = f"the proxy of {cluster} has not acknowledged {len(missing)} parts of the plan yet, {missing[0]} among them"
            yield WaitingRow(cluster=cluster, message=message)


def _is_awaited(pod: PodView) -> bool:
    return not pod.ready and pod.phase not in ("Succeeded", "Terminating") and not pod.owner.startswith("Job/")


def _pod(pod: PodView) -> WaitingRow:
    why = f": {pod.reason}" if pod.reason else ""
    return WaitingRow(cluster=pod.cluster, message=f"pod {pod.namespace}/{pod.name} is not ready{why}", final=pod.failed)
