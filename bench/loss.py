"""What is lost when a region dies: Flota beside an Envoy with the defaults of a well-known mesh, same pods, same load.

The peer: passive health checks only (5 gateway errors in 10 s, 30 s out, at most 10 % of the endpoints), 2 retries without a limit on
an attempt, large circuit breakers, 10 s to connect. Times in ms are beyond the median of before; `noise` is how late the client was.
"""

import contextlib
import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.rig import story
from bench.rig.fleet import GATEWAY_PORT, PORT, Rig
from bench.rig.story import Told
from bench.table import show
from flota.envoy.bootstrap import envoy_path

HEAD = ("fault", "proxy", "requests", "failed", "shift s", "worst ms", "p99.9 ms", "noise ms", "attempts", "back s")
_HTTP = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_PREVIOUS = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


class MeshRig(Rig):
    """The same pods behind a bare Envoy with the defaults of a mesh, which prefers `us` too."""

    def _up(self) -> str:
        self._socket = self.folder / "admin.sock"
        address = self.pods["us"][0].address.rpartition(".")[0] + ".200"
        file = self.folder / "envoy.json"
        file.write_text(json.dumps(self._config(address)))
        with (self.folder / "envoy.log").open("wb") as log:
            self._envoy = subprocess.Popen([envoy_path(), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "error"],
                                           stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if "LIVE" in self.admin("/ready"):
                    return address
            time.sleep(0.05)
        raise TimeoutError((self.folder / "envoy.log").read_text())

    def _down(self) -> None:
        self._envoy.terminate()
        self._envoy.wait(10)

    def _admin(self) -> Path:
        return self._socket

    def _config(self, address: str) -> dict[str, Any]:
        route = {"cluster": "shop/80", "timeout": "15s", "retry_policy": {
            "num_retries": 2, "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
            "retriable_status_codes": [503],
            "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {"@type": _PREVIOUS}}],
            "host_selection_retry_max_attempts": 5}}
        manager = {
            "@type": _HTTP, "stat_prefix": "http",
            "http_filters": [{"name": "router", "typed_config": {"@type": _ROUTER}}],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]},
        }
        return {
            "admin": {"address": {"pipe": {"path": str(self._socket)}}},
            "static_resources": {"clusters": [self._cluster()], "listeners": [{
                "name": "http", "address": _at(address, GATEWAY_PORT),
                "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}]},
        }

    def _cluster(self) -> dict[str, Any]:
        many = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), 1_000_000)
        return {
            "name": "shop/80", "type": "STATIC", "connect_timeout": "10s", "circuit_breakers": {"thresholds": [many]},
            "outlier_detection": {"consecutive_5xx": 5, "interval": "10s", "base_ejection_time": "30s", "max_ejection_percent": 10},
            "load_assignment": {"cluster_name": "shop/80", "endpoints": [
                {"priority": number, "locality": {"region": region},
                 "lb_endpoints": [{"endpoint": {"address": _at(pod.address, PORT)}} for pod in pods]}
                for number, (region, pods) in enumerate(self.pods.items())]},
        }


Case = tuple[str, int, int, float]
"""Fault, pods of the region that is lost, pods of the other one, seconds that it lasts."""


def run(*, quick: bool) -> None:
    """Print the table; `quick`: one fault, a few seconds."""
    if quick:
        table([("503", 2, 2, 2)], before=3, after=2)
        return
    table([
        *((fault, 2, 2, 4.0) for fault in story.FAULTS),
        *((fault, us, eu, 8.0) for us, eu in ((6, 2), (2, 6)) for fault in story.FAULTS),
        *((fault, 2, 2, 30.0) for fault in story.FAULTS),
    ], before=story.BEFORE_S, after=10)


def table(cases: Sequence[Case], *, before: float, after: float) -> None:
    """Print one row per case and proxy."""
    rows = []
    for fault, us, eu, lasts in cases:
        name = f"{fault}, {us}+{eu} pods, {lasts:g} s"
        for proxy, kind in (("Flota", Rig), ("mesh defaults", MeshRig)):
            told = _told(kind, fault, us, eu, lasts, before=before, after=after)
            one = told.loss
            rows.append((name, proxy, one.requests, one.failed, one.shift_s, one.worst_ms, one.p999_ms, one.noise_ms, told.attempts,
                         "not yet" if one.back_s is None else one.back_s))
    show(HEAD, rows)


def _told(kind: type[Rig], fault: str, us: int, eu: int, lasts: float, *, before: float, after: float) -> Told:
    return story.with_rig(lambda rig: story.lose(rig, fault, lasts, before=before, after=after), kind, us, eu)


def _at(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}
