"""A fleet folder with many routes, and a Flota that runs it."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench import backends, client, process

GATEWAY = "127.80.0.1"
PORT = 8080
METRICS = "127.80.0.1:9090"
SERVICES = 50
"""Routes share so many services, as in a shop of some teams."""
ADDRESSES = tuple(f"127.81.0.{number}" for number in range(1, 5))

_SET = """apiVersion: flota.dev/v1alpha1
kind: ClusterSet
metadata: {name: bench}
spec:
  clusters: [{name: us, region: us-east}]
"""
_GATEWAY = f"""apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: web}}
spec:
  gatewayClassName: flota
  addresses: [{{type: IPAddress, value: {GATEWAY}}}]
  listeners: [{{name: http, protocol: HTTP, port: {PORT}}}]
"""


class FleetFolder:
    """Files of the bench's fleet; every write is a rename, as careful editors do it."""

    def __init__(self, root: Path, routes: int) -> None:
        self.root = root
        (root / "us" / "routes").mkdir(parents=True)
        (root / "us" / "slices").mkdir()
        (root / "fleet.yaml").write_text(_SET)
        (root / "us" / "gateway.yaml").write_text(_GATEWAY)
        (root / "us" / "services.yaml").write_text("---\n".join(map(service, range(SERVICES))))
        for number in range(SERVICES):
            self.endpoints(number, ADDRESSES[:1])
        for number in range(routes):
            self.route(f"r{number}")

    def route(self, name: str, service: int | None = None) -> float:
        """Write the route of host NAME.example.com; the time at which it was there, on the monotonic clock."""
        number = service if service is not None else int(name.strip("abcdefghijklmnopqrstuvwxyz-")) % SERVICES
        return self._write(f"us/routes/{name}.yaml", route(name, number))

    def drop_route(self, name: str) -> float:
        """Remove it again."""
        (self.root / f"us/routes/{name}.yaml").unlink()
        return time.monotonic()

    def endpoints(self, service: int, addresses: tuple[str, ...]) -> float:
        """Give a service these endpoints."""
        return self._write(f"us/slices/s{service}.yaml", slice_of(service, addresses))

    def _write(self, path: str, text: str) -> float:
        new = self.root / f"{path}.new"
        new.write_text(text)
        now = time.monotonic()
        new.rename(self.root / path)
        return now


def service(number: int) -> str:
    """A Service without a selector."""
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: s{number}}}\nspec: {{ports: [{{port: 80}}]}}\n"


def slice_of(number: int, addresses: tuple[str, ...]) -> str:
    """Its EndpointSlice."""
    listed = ", ".join(f"{{addresses: [{address}]}}" for address in addresses)
    return (
        f"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: s{number}\n"
        f"  labels: {{kubernetes.io/service-name: s{number}}}\naddressType: IPv4\n"
        f"ports: [{{port: {backends.PORT}}}]\nendpoints: [{listed}]\n"
    )


def route(name: str, number: int) -> str:
    """An HTTPRoute with two rules for a host of its own."""
    to = f"backendRefs: [{{name: s{number}, port: 80}}]"
    return (
        f"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}}}\nspec:\n"
        f"  parentRefs: [{{name: web}}]\n  hostnames: [{name}.example.com]\n  rules:\n"
        f"  - {to}\n    matches: [{{path: {{type: PathPrefix, value: /api}}}}]\n"
        f"  - {to}\n"
    )


class Running:
    """A Flota in front of a proxy."""

    def __init__(self, files: FleetFolder, flota: subprocess.Popen[bytes], start_s: float) -> None:
        self.files = files
        self.flota = flota.pid
        self.start_s = start_s
        self.proxies = process.pids_with(f"{files.root}/.flota/proxies")

    def metric(self, name: str) -> int:
        """One of Flota's own metrics, without labels."""
        with urllib.request.urlopen(f"http://{METRICS}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return int(float(next(line for line in lines if line.startswith(f"{name} ")).split()[1]))


@contextlib.contextmanager
def running(routes: int) -> Iterator[Running]:
    """A fleet with so many routes, up and serving the last of them; everything is stopped and removed afterwards."""
    root = Path(tempfile.mkdtemp(prefix="flota-bench-"))
    command = [sys.executable, "-m", "flota.cli"]
    try:
        files = FleetFolder(root / "f", routes)
        began = time.monotonic()
        with (root / "out").open("wb") as out:
            environ = {**os.environ, "FLOTA_METRICS_ADDRESS": METRICS}
            flota = subprocess.Popen([*command, "run", "-C", str(files.root)], stdout=out, stderr=out, env=environ)
        try:
            client.wait_for(GATEWAY, PORT, f"r{routes - 1}.example.com", 60)
            serve_all(routes)
            yield Running(files, flota, time.monotonic() - began)
        finally:
            subprocess.run([*command, "down", "-C", str(files.root)], capture_output=True, timeout=60, check=False)
            flota.wait(60)
    finally:
        shutil.rmtree(root)


def serve_all(routes: int) -> None:
    """Until a sample of hosts from everywhere in the fleet is served."""
    for number in range(0, routes, max(1, routes // 100)):
        client.wait_for(GATEWAY, PORT, f"r{number}.example.com", 60)
