"""The peer: Envoy alone, configured by files that a careful hand wrote. One RouteConfiguration and one file per cluster's endpoints,
read by Envoy's own file watch (`path_config_source` with `watched_directory`), each change a rename."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import backends, client
from bench.fleet import ADDRESSES, SERVICES
from flota.envoy.bootstrap import envoy_path

GATEWAY = "127.80.0.2"
PORT = 8080
_V3 = "type.googleapis.com/envoy.config."
_BASE_ID = "18080"


class Bare:
    """The files. Same host names, rules and services as `bench.fleet.FleetFolder`."""

    def __init__(self, root: Path, routes: int, pid: int = 0) -> None:
        self.root = root
        self.pid = pid
        self.start_s = 0.0
        (root / "eds").mkdir(parents=True)
        (root / "rds").mkdir()
        self._hosts = {f"r{number}": _host(f"r{number}", number % SERVICES) for number in range(routes)}
        for number in range(SERVICES):
            self.endpoints(number, ADDRESSES[:1])
        self._write_routes()

    def route(self, name: str, service: int | None = None) -> float:
        """Add a host; the time at which the file was there."""
        number = service if service is not None else int(name.strip("abcdefghijklmnopqrstuvwxyz-")) % SERVICES
        self._hosts[name] = _host(name, number)
        return self._write_routes()

    def drop_route(self, name: str) -> float:
        """Remove it again."""
        del self._hosts[name]
        return self._write_routes()

    def endpoints(self, service: int, addresses: tuple[str, ...]) -> float:
        """Give a cluster these endpoints."""
        listed = [{"endpoint": {"address": _address(address, backends.PORT)}} for address in addresses]
        type_url = _V3 + "endpoint.v3.ClusterLoadAssignment"
        assignment = {"@type": type_url, "cluster_name": f"s{service}", "endpoints": [{"lb_endpoints": listed}]}
        return self._write(f"eds/s{service}.json", json.dumps({"resources": [assignment]}))

    def _write_routes(self) -> float:
        table = f'{{"@type": "{_V3}route.v3.RouteConfiguration", "name": "all", "virtual_hosts": [{", ".join(self._hosts.values())}]}}'
        return self._write("rds/all.json", f'{{"resources": [{table}]}}')

    def _write(self, path: str, text: str) -> float:
        """The text is made before the clock starts: what is measured is Envoy."""
        new = self.root / f"{path}.new"
        new.write_text(text)
        now = time.monotonic()
        new.rename(self.root / path)
        return now


def _host(name: str, number: int) -> str:
    to = {"cluster": f"s{number}"}
    routes = [{"match": {"path_separated_prefix": "/api"}, "route": to}, {"match": {"prefix": "/"}, "route": to}]
    return json.dumps({"name": name, "domains": [f"{name}.example.com"], "routes": routes})


def _address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}


def _watched(root: Path, path: str) -> dict[str, Any]:
    source = {"path": f"{root}/{path}", "watched_directory": {"path": str((root / path).parent)}}
    return {"path_config_source": source, "resource_api_version": "V3"}


def _cluster(root: Path, number: int) -> dict[str, Any]:
    return {
        "name": f"s{number}",
        "type": "EDS",
        "eds_cluster_config": {"eds_config": _watched(root, f"eds/s{number}.json")},
        "common_lb_config": {"update_merge_window": "0s"},
    }


def _bootstrap(root: Path) -> dict[str, Any]:
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "all",
        "rds": {"route_config_name": "all", "config_source": _watched(root, "rds/all.json")},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"name": "http", "address": _address(GATEWAY, PORT), "filter_chains": [chain]}
    return {
        "node": {"id": "bare", "cluster": "bare"},
        "static_resources": {"listeners": [listener], "clusters": [_cluster(root, number) for number in range(SERVICES)]},
    }


@contextlib.contextmanager
def running(routes: int) -> Iterator[Bare]:
    """Envoy serving so many hosts from files; stopped and removed afterwards."""
    root = Path(tempfile.mkdtemp(prefix="flota-bench-bare-"))
    try:
        bare = Bare(root / "xds", routes)
        (root / "bootstrap.json").write_text(json.dumps(_bootstrap(bare.root)))
        with envoy(root / "bootstrap.json", _BASE_ID) as process:
            began = time.monotonic()
            bare.pid = process.pid
            client.wait_for(GATEWAY, PORT, f"r{routes - 1}.example.com", 60)
            bare.start_s = time.monotonic() - began
            yield bare
    finally:
        shutil.rmtree(root)


@contextlib.contextmanager
def envoy(bootstrap: Path, base_id: str) -> Iterator[subprocess.Popen[bytes]]:
    """An Envoy of its own."""
    command = [str(envoy_path()), "-c", str(bootstrap), "--base-id", base_id, "--concurrency", "1", "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
