"""`flota status`: the fleet as it is now."""

from datetime import datetime
from typing import Literal

from flota.report.clusters import ClusterRow, cluster_rows
from flota.report.gateways import GatewayRow, ListenerSetRow, RouteRow, gateway_rows, listener_set_rows, route_rows
from flota.report.problems import ProblemRow, problem_rows
from flota.report.services import ServiceRow, service_rows
from flota.report.shape import API_VERSION, ApiVersion, Row
from flota.report.view import View
from flota.report.waiting import WaitingRow, waiting_rows


class FlotaRow(Row, frozen=True, kw_only=True):
    """The Flota that answers. `metrics` is the base URL of `/metrics` and `/readyz`."""

    pid: int
    version: str
    since: datetime
    metrics: str | None


class ProxyRow(Row, frozen=True, kw_only=True):
    """The Envoy of a cluster. `connected` = it follows Flota's plan; one that is not keeps serving what it has."""

    cluster: str
    state: str
    pid: int | None
    connected: bool
    reason: str


class DrainRow(Row, frozen=True, kw_only=True):
    """Traffic kept away from `target` (as it was typed) until then."""

    target: str
    until: datetime


class PodRow(Row, frozen=True, kw_only=True):
    """A pod that runs on this machine as processes."""

    cluster: str
    namespace: str
    name: str
    owner: str
    address: str | None
    phase: str
    ready: bool
    restarts: int
    reason: str
    pids: tuple[int, ...]


class FleetStatus(Row, frozen=True, kw_only=True):
    """The whole fleet. `settled` = everything admitted is in effect; what isn't yet is in `waiting`. Null and empty when nothing runs.

    `unseen`: what could not be read of clusters that were named by context.
    """

    api_version: ApiVersion = API_VERSION
    kind: Literal["FleetStatus"] = "FleetStatus"
    name: str
    time: datetime
    running: bool
    settled: bool | None
    waiting: tuple[WaitingRow, ...]
    clusters: tuple[ClusterRow, ...]
    gateways: tuple[GatewayRow, ...]
    listener_sets: tuple[ListenerSetRow, ...]
    routes: tuple[RouteRow, ...]
    services: tuple[ServiceRow, ...]
    drains: tuple[DrainRow, ...]
    problems: tuple[ProblemRow, ...]
    unseen: tuple[str, ...]
    proxies: tuple[ProxyRow, ...]
    pods: tuple[PodRow, ...]
    flota: FlotaRow | None


def status(view: View) -> FleetStatus:
    """Everything of the view as people and scripts read it (design section 6.2)."""
    services = service_rows(view)
    running = view.running is not None
    waiting = waiting_rows(view) if running else ()
    return FleetStatus(
        name=view.fleet.name,
        time=view.now,
        running=running,
        settled=not waiting if running else None,
        waiting=waiting,
        clusters=cluster_rows(view, services),
        gateways=gateway_rows(view),
        listener_sets=listener_set_rows(view),
        routes=route_rows(view),
        services=services,
        drains=tuple(DrainRow(target=each.target, until=each.until) for each in view.fleet.drains if each.until > view.now),
        problems=problem_rows(view),
        unseen=view.unseen(),
        proxies=_proxies(view),
        pods=_pods(view),
        flota=_flota(view),
    )


def _flota(view: View) -> FlotaRow | None:
    it = view.running
    return None if it is None else FlotaRow(pid=it.pid, version=it.version, since=it.since, metrics=it.metrics)


def _proxies(view: View) -> tuple[ProxyRow, ...]:
    return tuple(
        ProxyRow(cluster=name, state=each.state, pid=each.pid, connected=each.connected, reason=each.reason)
        for name, each in sorted(view.proxies.items())
    )


def _pods(view: View) -> tuple[PodRow, ...]:
    return tuple(
        PodRow(
            cluster=each.cluster,
            namespace=each.namespace,
            name=each.name,
            owner=each.owner,
            address=each.address,
            phase=each.phase,
            ready=each.ready,
            restarts=each.restarts,
            reason=each.reason,
            pids=each.pids,
        )
        for each in sorted(view.pods, key=lambda pod: (pod.cluster, pod.namespace, pod.name))
    )
