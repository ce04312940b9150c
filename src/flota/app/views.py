"""What the running Flota knows, gathered into the `View` that every report looks at."""

import asyncio
from collections.abc import Iterable, Mapping

import msgspec

from flota.envoy.refusals import Refused as Refusal
from flota.local.podstate import PodState
from flota.local.proxyspec import ProxyState
from flota.observe.observer import Fetch
from flota.observe.samples import HOSTS, hosts
from flota.plan import Plan
from flota.report.view import PodView, ProxyView, Refused, Seen
from flota.report.view import ProxyState as ProxyPhase

_PHASES: dict[str, ProxyPhase] = {"Running": "Running", "Draining": "Stopping", "Starting": "Starting", "Stopped": "Stopped"}


async def seen_endpoints(fetch: Fetch, clusters: Iterable[str]) -> dict[str, dict[str, dict[str, Seen]]]:
    """Cluster → label of the backend → address → what its proxy finds; a proxy that does not answer is absent."""
    names = list(clusters)
    answers = await asyncio.gather(*(_seen(fetch, name) for name in names))
    return {name: found for name, found in zip(names, answers, strict=True) if found is not None}


async def _seen(fetch: Fetch, cluster: str) -> dict[str, dict[str, Seen]] | None:
    try:
        samples = hosts(await fetch(cluster, HOSTS))
        found: dict[str, dict[str, Seen]] = {}
        for sample in samples:
            found.setdefault(sample.label, {})[sample.address] = Seen(sample.state, sample.cause)
    except (ConnectionError, msgspec.DecodeError):
        return None
    return found


def proxy_views(
    plan: Plan,
    states: Mapping[str, ProxyState],
    connected: Mapping[str, bool],
    pending: Mapping[str, frozenset[str]],
    refused: Mapping[str, Mapping[str, Refusal]],
    endpoints: Mapping[str, Mapping[str, Mapping[str, Seen]]],
    *,
    stopping: bool = False,
) -> dict[str, ProxyView]:
    """One per cluster of the plan. Of a process that nothing is said of: it has ended when Flota is `stopping`, else it is starting."""
    silent: ProxyPhase = "Stopped" if stopping else "Starting"
    return {
        cluster: _proxy_view(
            states.get(cluster), silent, connected[cluster], pending[cluster], refused[cluster], endpoints.get(cluster, {})
        )
        for cluster in plan.proxies
    }


def _proxy_view(
    state: ProxyState | None,
    silent: ProxyPhase,
    connected: bool,
    pending: frozenset[str],
    refused: Mapping[str, Refusal],
    endpoints: Mapping[str, Mapping[str, Seen]],
) -> ProxyView:
    phase = silent if state is None else _PHASES.get(state.phase, "Failing")
    return ProxyView(
        state=phase,
        reason="" if state is None else state.message or state.reason,
        pid=None if state is None else state.pid,
        connected=connected,
        pending=pending,
        refused={name: Refused(each.reason, each.message) for name, each in refused.items()},
        endpoints=endpoints,
    )


def pod_views(pods: Iterable[PodState]) -> tuple[PodView, ...]:
    """Pods as people read of them."""
    return tuple(
        PodView(
            cluster=pod.cluster,
            namespace=pod.namespace,
            name=pod.name,
            owner="/".join(pod.owner),
            address=pod.ip or None,
            phase=pod.phase,
            ready=pod.ready,
            reason=pod.message or pod.reason,
            restarts=pod.restarts,
            pids=pod.pids,
            terminating=pod.terminating,
        )
        for pod in pods
    )
