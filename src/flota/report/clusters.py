"""The state of each cluster, with the reason."""

from collections.abc import Iterable
from typing import Literal

from flota.fleet.fleet import Cluster
from flota.report.places import drain_of
from flota.report.services import EndpointRow, ServiceRow
from flota.report.shape import Row
from flota.report.view import View

ClusterState = Literal["Serving", "Draining", "Suspect", "Lost"]


class ClusterRow(Row, frozen=True, kw_only=True):
    """A cluster. `state` null = unknown: nothing runs yet. `reason` is a sentence.

    Serving: takes its share. Draining: told to give up its traffic for a while. Suspect: silent, but its endpoints answer, so they are
    kept. Lost: nothing of it answers; its traffic is served elsewhere.
    """

    name: str
    region: str
    zone: str | None
    state: ClusterState | None
    reason: str


def cluster_rows(view: View, services: Iterable[ServiceRow]) -> tuple[ClusterRow, ...]:
    """All clusters in the order of the ClusterSet.

    A cluster is judged by what its own proxy finds of its endpoints: it has the traffic to know, where others only knock.
    """
    own: dict[str, list[EndpointRow]] = {name: [] for name in view.fleet.clusters}
    others: dict[str, list[EndpointRow]] = {name: [] for name in view.fleet.clusters}
    for service in services:
        for each in service.endpoints:
            (own if each.cluster == service.cluster else others)[each.cluster].append(each)
    rows = []
    for name, cluster in view.fleet.clusters.items():
        state, reason = _state(view, cluster, own[name] or others[name])
        rows.append(ClusterRow(name=name, region=cluster.region, zone=cluster.zone, state=state, reason=reason))
    return tuple(rows)


def _state(view: View, cluster: Cluster, endpoints: list[EndpointRow]) -> tuple[ClusterState | None, str]:
    if view.read is not None:
        dark = view.read.dark.get(cluster.name)
        return (None, dark) if dark is not None else _endpoint_state(view, cluster, endpoints)
    if view.running is None:
        return None, "Flota does not run here; start it with `flota up`"
    drain = drain_of(view.fleet, cluster, view.now)
    if drain is not None:
        left = max(0, round((drain.until - view.now).total_seconds()))
        return "Draining", f"drained as {drain.target} until {drain.until.isoformat(timespec='seconds')} ({left} s left)"
    if cluster.name in view.fleet.signals.suspect:
        return "Suspect", view.fleet.signals.suspect[cluster.name]
    return _proxy_state(view, cluster) or _endpoint_state(view, cluster, endpoints)


def _proxy_state(view: View, cluster: Cluster) -> tuple[ClusterState | None, str] | None:
    if cluster.name not in view.plan.proxies:
        return None
    proxy = view.proxies.get(cluster.name)
    if proxy is None or proxy.state == "Starting":
        return None, "its proxy is starting"
    if proxy.state in ("Stopping", "Stopped"):
        return None, "Flota is stopping"
    if proxy.state != "Running":
        return "Lost", f"its proxy does not run: {proxy.reason or proxy.state}"
    return None


def _endpoint_state(view: View, cluster: Cluster, endpoints: list[EndpointRow]) -> tuple[ClusterState | None, str]:
    places = {(each.address, each.port): each for each in endpoints if each.state == "Dead"}
    alive = {(each.address, each.port) for each in endpoints if each.state != "Dead"}
    pods = [each for each in view.pods if each.cluster == cluster.name]
    if places and not alive:
        causes = sorted({each.cause for each in places.values() if each.cause})
        why = f": {causes[0]}" if causes else ""
        return "Lost", f"none of its {len(places)} endpoints answers{why}"
    if not alive and pods and not any(each.ready for each in pods):
        if any(each.restarts for each in pods):
            return "Lost", f"none of its {len(pods)} pods is ready"
        return None, "its pods are starting"
    if not alive:
        return "Serving", "it has no endpoints of its own"
    dead = places.keys() - alive
    return "Serving", f"{len(alive)} endpoints serve" + (f", {len(dead)} do not answer" if dead else "")
