"""A fleet of two regions whose pods are ours to hurt, run by `flota` itself."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from bench.rig.load import Sample
from flota.local.proxyspec import proxy_paths
from flota.local.state import StateFolder, open_state

ROOT = Path(__file__).parents[2]
FLOTA = Path(sys.executable).parent / "flota"
PORT = 8000
GATEWAY_PORT = 8080

_SET = """apiVersion: flota.dev/v1alpha1
kind: ClusterSet
metadata: {name: loss}
spec:
  clusters: [{name: us, region: us-east}, {name: eu, region: eu-west}]
"""
_OBJECTS = """apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: web}}
spec:
  gatewayClassName: flota
  listeners: [{{name: http, protocol: HTTP, port: 8080}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shop}}
spec:
  parentRefs: [{{name: web}}]
  rules: [{{backendRefs: [{{group: multicluster.x-k8s.io, kind: ServiceImport, name: shop, port: 80}}]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: shop}}
spec:
  ports: [{{name: http, port: 80{protocol}}}]
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
ports: [{{name: http, port: {port}, protocol: TCP{protocol}}}]
endpoints: [{addresses}]
"""


class Pod:
    """A pod's process. Faults: kill, hang, 503, 500, drop, posts (only POSTs hang)."""

    def __init__(self, folder: Path, address: str, name: str, h2: bool) -> None:
        self.address, self.name = address, name
        self._file = folder / f"pod-{name}"
        self._words = [sys.executable, "-m", "bench.rig.pod", address, str(PORT), name, str(self._file), *(["h2"] if h2 else [])]
        self._said: list[str] = []
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait(self) -> None:
        """Until it serves, and behaves as it was last told to."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        for line in self._said:
            self._tell(line)

    def be(self, line: str) -> None:
        """Behave like this from now on, also after a restart."""
        self._said.append(line)
        self._tell(line)

    def fail(self, fault: str) -> None:
        if fault == "kill":
            self._process.kill()
            self._process.communicate()
        elif fault == "hang":
            self._process.send_signal(signal.SIGSTOP)
        else:
            self._tell({"drop": "drop", "posts": "posts off"}.get(fault, f"answer {fault}"))

    def heal(self, fault: str) -> None:
        """After a kill `wait` has to follow."""
        if fault == "kill":
            self.start()
        elif fault == "hang":
            self._process.send_signal(signal.SIGCONT)
        else:
            self._tell({"drop": "undrop", "posts": "posts on"}.get(fault, "answer 200"))

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def seen(self) -> list[str]:
        """Of every request that reached it, probes aside."""
        return [line for line in self._file.read_text().splitlines() if line != "probe"] if self._file.exists() else []

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


class LoadRun:
    """A client's process."""

    def __init__(self, file: Path, words: list[str], seconds: float) -> None:
        self._file, self._seconds = file, seconds
        self._process = subprocess.Popen([sys.executable, "-m", "bench.rig.load", *words, str(file)], cwd=ROOT,
                                         stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self.began = time.monotonic()

    def until(self, second: float) -> float:
        """Wait until that second of the load; the time then, on the clock of the samples."""
        time.sleep(max(0.0, self.began + second - time.monotonic()))
        return time.monotonic()

    def finish(self) -> list[Sample]:
        """All requests, once the last was answered."""
        self._process.communicate(timeout=self._seconds + 60)
        rows = (line.split() for line in self._file.read_text().splitlines())
        return [Sample(int(number), float(due), float(ms), int(status), pod, float(late)) for number, due, ms, status, pod, late in rows]

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


class Rig:
    """Two regions, `us` and `eu`; requests come in at `us`. A context manager; everything ends with it."""

    def __init__(self, folder: Path, us: int = 2, eu: int = 2, *, h2: bool = False, policy: str = "", behave: Iterable[str] = (),
                 distance: int | None = None, more: str = "") -> None:
        """`more`: documents of each cluster; a Gateway `grpc` there gets the calls of `load(method="GRPC")`."""
        self.folder = folder
        self.fleet = folder / "f"
        self._behave = tuple(behave)
        self._loads: list[LoadRun] = []
        self.address = ""
        net = 128 + os.getpid() % 100
        sizes = {"us": us, "eu": eu}
        self.pods = {region: [Pod(folder, f"127.{net}.{at}.{n}", f"{region}-{n}", h2) for n in range(1, size + 1)]
                     for at, (region, size) in enumerate(sizes.items(), 1)}
        self._more = more
        self._write(", appProtocol: kubernetes.io/h2c" if h2 else "", policy, distance)

    def _write(self, protocol: str, policy: str, distance: int | None) -> None:
        self.fleet.mkdir()
        apart = "" if distance is None else f"  distances: [{{between: [us-east, eu-west], rtt: {distance}}}]\n"
        (self.fleet / "fleet.yaml").write_text(_SET + apart + (f"---\n{policy}" if policy else ""))
        for region, pods in self.pods.items():
            (self.fleet / region).mkdir()
            addresses = ", ".join(f"{{addresses: [{pod.address}]}}" for pod in pods)
            (self.fleet / region / "all.yaml").write_text(_OBJECTS.format(protocol=protocol, port=PORT, addresses=addresses) + self._more)

    def __enter__(self) -> Self:
        try:
            for pod in self.all():
                pod.wait()
                for line in self._behave:
                    pod.be(line)
            self.address = self._up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for load in self._loads:
            load.stop()
        with contextlib.suppress(subprocess.SubprocessError):
            self._down()
        for pod in self.all():
            pod.stop()

    def _up(self) -> str:
        """Start what takes the requests; its address."""
        self.flota("up", "-d")
        return self.gateway("web")

    def gateway(self, name: str) -> str:
        """The address of a Gateway of `us`."""
        return next(row["addresses"][0] for row in self.status()["gateways"] if (row["cluster"], row["name"]) == ("us", name))

    def _down(self) -> None:
        self.flota("down", check=False)

    def _admin(self) -> Path:
        state = open_state(self.fleet)
        assert isinstance(state, StateFolder), state
        return proxy_paths(state, "us").admin

    def all(self) -> list[Pod]:
        return [pod for pods in self.pods.values() for pod in pods]

    def flota(self, *words: str, check: bool = True) -> str:
        """What the command printed; with `check` a failure raises CalledProcessError."""
        done = subprocess.run([FLOTA, "-C", self.fleet, *words], capture_output=True, text=True, timeout=90, check=False)
        if check and done.returncode:
            raise subprocess.CalledProcessError(done.returncode, words, done.stdout, done.stderr + done.stdout)
        return done.stdout

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.flota("status", "-o", "json"))
        return found

    def load(self, rate: int, seconds: float, method: str = "GET") -> LoadRun:
        """Start a client near `us`; its requests' ids begin with the method and the number of the load."""
        prefix = f"{method}{len(self._loads)}-"
        words = [self.gateway("grpc") if method == "GRPC" else self.address, str(GATEWAY_PORT), str(rate), str(seconds), method, prefix]
        self._loads.append(LoadRun(self.folder / f"load-{prefix}", words, seconds))
        return self._loads[-1]

    def fail(self, fault: str, pods: Iterable[Pod] | None = None) -> float:
        """Hurt these pods, or all of `us`; when it was done, on the clock of the samples."""
        for pod in self.pods["us"] if pods is None else pods:
            pod.fail(fault)
        return time.monotonic()

    def heal(self, fault: str, pods: Iterable[Pod] | None = None) -> float:
        """Make them well again; when that began (a pod that was killed takes a moment to start)."""
        began = time.monotonic()
        pods = list(self.pods["us"] if pods is None else pods)
        for pod in pods:
            pod.heal(fault)
        if fault == "kill":
            for pod in pods:
                pod.wait()
        return began

    def seen(self, prefix: str = "") -> Counter[str]:
        """Request id → how often a pod got it."""
        return Counter(line for pod in self.all() for line in pod.seen() if line.startswith(prefix))

    def attempts(self) -> int:
        """Requests that the proxy of `us` sent to pods so far, those that got no connection included."""
        return sum(value for name, value in self.counters().items() if name.endswith("shop/80.upstream_rq_total"))

    def counters(self, contains: str = "shop/80") -> dict[str, int]:
        """The counters of `us`'s proxy with that word in their names."""
        answer = self.admin(f"/stats?filter={contains}")
        pairs = (line.rpartition(": ")[::2] for line in answer.splitlines())
        return {name: int(value) for name, value in pairs if value.isdigit()}

    def admin(self, target: str) -> str:
        """A look at the proxy of `us`."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(self._admin()))
            sock.sendall(f"GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
            data = b"".join(iter(lambda: sock.recv(1 << 16), b""))
        return _unchunk(data)


def _unchunk(data: bytes) -> str:
    head, _, body = data.partition(b"\r\n\r\n")
    if b"chunked" not in head.lower():
        return body.decode()
    text = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        text, body = text + body[:length], body[length + 2:]
        if not length:
            break
    return text.decode()
