"""Envoy's admin answers, read into values. Pure; the answers come from the edge."""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec
from msgspec import Struct

from flota.plan import State

COUNTERS = "/stats/prometheus?usedonly&filter=upstream_rq_(time|total|retry|retry_success)$"
"""What the learner reads: cumulative, per backend label (`alt_stat_name`)."""
HOSTS = "/clusters?format=json"

_METRICS = {
    "envoy_cluster_upstream_rq_total": "total",
    "envoy_cluster_upstream_rq_retry": "retry",
    "envoy_cluster_upstream_rq_retry_success": "retry_success",
}
_BUCKET = "envoy_cluster_upstream_rq_time_bucket{"


class Counters(Struct, frozen=True):
    """One backend at one proxy, counted since the proxy started."""

    total: int = 0
    retry: int = 0
    """Second attempts, hedged ones included."""
    retry_success: int = 0
    buckets: tuple[tuple[float, int], ...] = ()
    """(upper edge in ms, answers at most that slow), cumulative; the last edge is infinite."""


def counters(text: str) -> dict[str, Counters]:
    """Prometheus text of `COUNTERS` → by backend label."""
    values: dict[str, dict[str, int]] = {}
    buckets: dict[str, list[tuple[float, int]]] = {}
    for line in text.splitlines():
        if line.startswith(_BUCKET):
            labels, value = _labels(line)
            buckets.setdefault(labels["envoy_cluster_name"], []).append((float(labels["le"].replace("+Inf", "inf")), int(value)))
        elif (field := _METRICS.get(line.partition("{")[0])) is not None:
            labels, value = _labels(line)
            values.setdefault(labels["envoy_cluster_name"], {})[field] = int(value)
    return {name: Counters(**values.get(name, {}), buckets=tuple(buckets.get(name, ()))) for name in values | buckets}


def _labels(line: str) -> tuple[dict[str, str], str]:
    """`name{a="x",le="10"} 5` → labels and value; Envoy's label values hold no quotes here."""
    inside, _, value = line[line.index("{") + 1 :].rpartition("} ")
    return {name: text.strip('"') for name, _, text in (pair.partition("=") for pair in inside.split(",") if pair)}, value


def quantile_edge(counts: Mapping[float, int], share: float) -> float | None:
    """The upper edge, in ms, of the bucket that holds this share of the answers; None without answers."""
    wanted = share * sum(counts.values())
    if not wanted:
        return None
    running = 0
    for edge in sorted(counts):
        running += counts[edge]
        if running >= wanted:
            return edge
    return math.inf


class HostSample(Struct, frozen=True):
    """One endpoint of one backend as its proxy sees it."""

    label: str
    address: str
    """`<ip>:<port>`, IPv6 in brackets."""
    active: int
    """Requests under way."""
    total: int
    """Requests ever sent."""
    answered: int
    """Requests that got response headers or an error."""
    state: State
    cause: str
    succeeded: int = 0
    """Those of them that were no errors."""
    ejected: bool = False
    """Left out by the proxy, as requests to it failed."""


class _Stat(Struct):
    name: str
    value: Annotated[str, "a number"] = "0"


class _Socket(Struct, frozen=True):
    address: str
    port_value: int


class _Address(Struct, frozen=True):
    socket_address: _Socket | None = None


class _Health(Struct, frozen=True):
    eds_health_status: str = "HEALTHY"
    failed_active_health_check: bool = False
    failed_outlier_check: bool = False
    failed_active_degraded_check: bool = False
    pending_active_hc: bool = False
    active_hc_timeout: bool = False
    excluded_via_immediate_hc_fail: bool = False


class _Host(Struct):
    address: _Address
    stats: list[_Stat] = []
    health_status: _Health = _Health()


class _Cluster(Struct):
    name: str
    host_statuses: list[_Host] = []
    observability_name: str = ""


class _Clusters(Struct):
    cluster_statuses: list[_Cluster] = []


_decoder = msgspec.json.Decoder(_Clusters)


def hosts(body: bytes) -> Iterator[HostSample]:
    """JSON of `HOSTS` → every endpoint. Raises msgspec.DecodeError on anything else."""
    for cluster in _decoder.decode(body).cluster_statuses:
        for host in cluster.host_statuses:
            if (socket := host.address.socket_address) is not None:
                yield _host(cluster.observability_name or cluster.name, socket, host)


def _host(label: str, socket: _Socket, host: _Host) -> HostSample:
    stats = {stat.name: int(stat.value) for stat in host.stats}
    state, cause = _state(host.health_status)
    return HostSample(
        label=label,
        address=address(socket.address, socket.port_value),
        active=stats.get("rq_active", 0),
        total=stats.get("rq_total", 0),
        answered=stats.get("rq_success", 0) + stats.get("rq_error", 0),
        state=state,
        cause=cause,
        succeeded=stats.get("rq_success", 0),
        ejected=host.health_status.failed_outlier_check,
    )


def address(ip: str, port: int) -> str:
    """`<ip>:<port>` with an IPv6 address in brackets."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _state(health: _Health) -> tuple[State, str]:
    if health.eds_health_status == "DRAINING":
        return "Draining", "told to leave"
    if health.eds_health_status in ("UNHEALTHY", "TIMEOUT"):
        return "Dead", "the control plane saw it fail"
    if health.failed_active_health_check:
        return "Dead", "health checks time out" if health.active_hc_timeout else "health checks fail"
    if health.failed_outlier_check:
        return "Dead", "requests to it failed, so it is left out for some seconds"
    if health.pending_active_hc:
        return "Unknown", "not checked yet"
    return "Healthy", ""
