"""A real fleet for a test: a folder, backends of our own, `flota` commands, requests through the real Envoy."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

FLOTA = Path(sys.executable).parent / "flota"
HOST = "shop.example.com"

FLEET = """apiVersion: flota.dev/v1alpha1
kind: ClusterSet
metadata: {{name: {name}}}
spec:
  clusters:
    - {{name: us, region: us-east}}
    - {{name: eu, region: eu-west}}
"""

GATEWAY = """apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: flota
  listeners:
    - {name: http, protocol: HTTP, port: 8080}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: web}]
  hostnames: [shop.example.com]
  rules:
    - backendRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: shop, port: 80}]
"""

SERVICE = """apiVersion: v1
kind: Service
metadata: {{name: shop}}
spec:
  ports: [{{name: http, port: 80}}]
---
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata: {{name: shop}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: shop
  labels: {{kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{{name: http, port: {port}, protocol: TCP}}]
endpoints: [{{addresses: [127.0.0.1]}}]
"""

BACKEND = """
import asyncio, sys
async def serve(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\\r\\n\\r\\n")
            body = sys.argv[2].encode()
            writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


class Fleet:
    """One folder with two regions, `us` and `eu`, one backend each. Use it as a context manager."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.env = {**os.environ, **{f"FLOTA_{name.upper()}": value for name, value in settings.items()}}
        self.through: tuple[str, ...] = ()
        """A command that runs commands: with fewer rights, say."""
        self.backends: dict[str, subprocess.Popen[str]] = {}
        folder.mkdir(exist_ok=True)
        (folder / "fleet.yaml").write_text(FLEET.format(name=folder.name))
        for cluster in ("us", "eu"):
            (folder / cluster).mkdir()
            port = free_port()
            self.backends[cluster] = start_backend(port, cluster)
            (folder / cluster / "gateway.yaml").write_text(GATEWAY)
            (folder / cluster / "service.yaml").write_text(SERVICE.format(port=port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flota("down", check=False)
        for backend in self.backends.values():
            backend.kill()
            backend.communicate()

    def command(self, *words: str) -> list[str]:
        """How a command on the folder is run."""
        return [*self.through, str(FLOTA), "-C", str(self.folder), *words]

    def flota(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on the folder; with `check`, a failure fails the test with what was printed."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, env=self.env, timeout=90)
        assert not check or done.returncode == 0, f"flota {words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def status(self) -> dict[str, Any]:
        """`flota status -o json`."""
        found: dict[str, Any] = json.loads(self.flota("status", "-o", "json").stdout)
        return found

    def pid(self) -> int:
        """Of the running Flota."""
        return int(self.status()["flota"]["pid"])

    def proxies(self) -> dict[str, int | None]:
        """Cluster → pid of its Envoy."""
        return {row["cluster"]: row["pid"] for row in self.status()["proxies"]}

    def address(self, cluster: str) -> str:
        """Of the cluster's Gateway."""
        return next(row["addresses"][0] for row in self.status()["gateways"] if row["cluster"] == cluster)

    def wait_kept(self, seconds: float = 10) -> Path:
        """The file that the next Flota goes on from, once it is there."""
        kept = self.folder / ".flota" / "documents" / "kept.msgpack"
        deadline = time.monotonic() + seconds
        while not kept.exists():
            assert time.monotonic() < deadline, f"{kept} was not written"
            time.sleep(0.02)
        return kept

    def until(self, what: Callable[[dict[str, Any]], object], seconds: float = 20) -> dict[str, Any]:
        """The first status that fits. Fails with the last one."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.status()
            if what(status):
                return status
            assert time.monotonic() < deadline, json.dumps(status, indent=1)

    def reasons(self) -> set[str]:
        """Of all problems."""
        return {row["reason"] for row in self.status()["problems"]}


class Load:
    """Requests, one after another, from a thread of its own; counts what fails."""

    def __init__(self, address: str, host: str = HOST, port: int = 8080) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, address, str(port), host], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "running\n"

    def stop(self) -> dict[str, int]:
        """Answer or error → how often."""
        out, _ = self._process.communicate("", timeout=30)
        found: dict[str, int] = json.loads(out)
        return found


def get(address: str, host: str = HOST, path: str = "/", port: int = 8080) -> tuple[int, str]:
    """Status and body."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        return response.status, response.read().decode()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_backend(port: int, name: str) -> "subprocess.Popen[str]":
    """A server that answers with its name."""
    process = subprocess.Popen([sys.executable, "-c", BACKEND, str(port), name], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def alive(pid: int) -> bool:
    """Whether there is such a process, and not only its remains."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def kill(pid: int) -> None:
    """SIGKILL, and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline, f"{pid} does not die"


async def _load(address: str, port: int, host: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    stop = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print("running", flush=True)
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    while not stop.done() and sum(counts.values()) < 100_000:
        try:
            connection = connection or await asyncio.open_connection(address, port)
            reader, writer = connection
            writer.write(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            await reader.readexactly(length)
            word = head.split()[1]
        except (OSError, asyncio.IncompleteReadError) as error:
            word, connection = type(error).__name__, None
        counts[word] = counts.get(word, 0) + 1
        await asyncio.sleep(0.005)
    return counts


def fleets(folder: Path, **settings: str) -> Iterator[Fleet]:
    """For fixtures: a fleet that is up."""
    with Fleet(folder, **settings) as fleet:
        fleet.flota("up", "-d")
        yield fleet


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_load(sys.argv[1], int(sys.argv[2]), sys.argv[3]))))
