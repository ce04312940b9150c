"""A whole Flota inside the test: a real folder, a real engine, a real Envoy; the plan and what was acknowledged are at hand."""

import asyncio
import contextlib
import gc
import json
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ads_harness import free_port

from flota.app.engine import Engine
from flota.app.reports import Reports
from flota.clock import SystemClock
from flota.fleet.problem import Problem
from flota.local.state import StateFolder, open_state
from flota.report.problems import ProblemRow, problem_rows
from flota.settings import Settings

Manifest = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]
API = {
    "Gateway": "gateway.networking.k8s.io/v1",
    "ListenerSet": "gateway.networking.k8s.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "GRPCRoute": "gateway.networking.k8s.io/v1",
    "TLSRoute": "gateway.networking.k8s.io/v1",
    "TCPRoute": "gateway.networking.k8s.io/v1alpha2",
    "UDPRoute": "gateway.networking.k8s.io/v1alpha2",
    "BackendTLSPolicy": "gateway.networking.k8s.io/v1",
    "XBackend": "gateway.networking.x-k8s.io/v1alpha1",
    "XBackendTrafficPolicy": "gateway.networking.x-k8s.io/v1alpha1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "ServiceExport": "multicluster.x-k8s.io/v1beta1",
}


def manifest(kind: str, name: str, spec: Mapping[str, Any] | None = None, **more: Any) -> Manifest:
    """An object of a kind that tests use, as it stands in a file."""
    found: Manifest = {"apiVersion": API.get(kind, "v1"), "kind": kind, "metadata": {"name": name}, **more}
    return found if spec is None else {**found, "spec": dict(spec)}


def served(name: str, port: int, protocol: str = "TCP", addresses: Iterable[str] = ("127.0.0.1",), **service: Any) -> list[Manifest]:
    """A Service with port 80 and its endpoints on `port`."""
    addresses = list(addresses)
    family = "IPv6" if any(":" in each for each in addresses) else "IPv4"
    return [
        manifest("Service", name, {"ports": [{"name": "main", "port": 80, "protocol": protocol, **service}]}),
        manifest("EndpointSlice", name, addressType=family, ports=[{"name": "main", "port": port, "protocol": protocol}],
                 endpoints=[{"addresses": [each]} for each in addresses])
        | {"metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}}},
    ]  # fmt: skip


def gateway(name: str, *listeners: Mapping[str, Any], address: str = "127.0.0.1") -> Manifest:
    """A Gateway with its listeners on one address."""
    spec = {"gatewayClassName": "flota", "addresses": [{"type": "IPAddress", "value": address}], "listeners": list(listeners)}
    return manifest("Gateway", name, spec)


def to(name: str, **more: Any) -> dict[str, Any]:
    """A reference to port 80 of a Service."""
    return {"name": name, "port": 80, **more}


def to_import(name: str, **more: Any) -> dict[str, Any]:
    """A reference to port 80 of a ServiceImport."""
    return to(name, group="multicluster.x-k8s.io", kind="ServiceImport", **more)


def write(target: Path, documents: Iterable[Manifest]) -> None:
    """Put a file in place in one step, as careful editors do."""
    target.parent.mkdir(exist_ok=True)
    fresh = target.with_name(f".{target.name}.new")
    fresh.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    fresh.replace(target)


class Live:
    """A fleet of the clusters us and eu that runs in this very process."""

    def __init__(self, state: StateFolder, settings: Settings, tasks: asyncio.TaskGroup) -> None:
        self.folder = state.folder
        self._state = state
        self._settings = settings
        self._tasks = tasks
        self._edits = 0
        self.start()

    def start(self) -> None:
        """Another Flota, which finds what the last one left running."""
        self.engine = Engine(self._state, self._settings, SystemClock())
        self.reports = Reports(self.engine)
        self.running = self._tasks.create_task(self.engine.run(), name="engine")

    async def leave(self) -> None:
        """End Flota alone: proxies and pods go on."""
        self.running.cancel()
        await asyncio.wait((self.running,))

    def write(self, path: str, documents: Iterable[Manifest]) -> None:
        """Put a file in place in one step, as careful editors do."""
        write(self.folder / path, documents)

    def rename(self, old: str, new: str) -> None:
        """Move a file."""
        (self.folder / old).rename(self.folder / new)

    async def settled(self, seconds: float = 15, *, but: Iterable[str] = ()) -> None:
        """Until all that is written was read, planned and acknowledged by the proxies; a refusal of anything but `but` fails."""
        self._edits += 1
        mark = f"mark-{self._edits}"
        for cluster in ("us", "eu"):
            self.write(f"{cluster}/zz-mark.yaml", [manifest("ConfigMap", mark)])
        await self.until(lambda: self._planned(mark) and not self._pending() - set(but), seconds)
        refused = {name: said for name, said in self.engine.deliveries.refused("us").items() if name not in but}
        assert not refused, refused

    def _planned(self, mark: str) -> bool:
        fleet = self.engine.planned
        return fleet is not None and all(("default", mark) in each.config_maps for each in fleet.clusters.values())

    def _pending(self) -> set[str]:
        plan = self.engine.plan.get()
        states = self.engine.proxies.states.get()
        waiting = {name for name in plan.proxies if name not in states or not self.engine.deliveries.connected(name)}
        return waiting.union(*(self.engine.deliveries.pending(name) for name in plan.proxies))

    async def until(self, what: Callable[[], object], seconds: float = 15) -> None:
        """Until it holds; fails with the problems there are."""
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, f"pending {self._pending()}, problems {await self.problems()}"
            await asyncio.sleep(0.005)

    async def problems(self) -> tuple[ProblemRow, ...]:
        """Those of `flota status`."""
        return problem_rows(await self.reports.view(observed=False))

    @property
    def acknowledged(self) -> int:
        """How many resources proxies have acknowledged so far."""
        return self.engine.deliveries.acknowledgements

    def access_log(self, cluster: str = "us") -> list[dict[str, Any]]:
        """All lines that are written whole."""
        path = self.folder / ".flota" / "logs" / f"access-{cluster}.log"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def clusters_held(self, cluster: str = "us") -> int:
        """How many Envoy clusters the proxy has or is to have."""
        return len(self.engine.plan.get().proxies[cluster].backends)


@contextlib.asynccontextmanager
async def live(us: Iterable[Manifest], eu: Iterable[Manifest] = (), **settings: Any) -> AsyncIterator[Live]:
    """A fleet that runs, with all of it acknowledged."""
    before = gc.get_threshold()
    with tempfile.TemporaryDirectory(prefix="fl") as name:
        folder = Path(name)
        clusters = [{"name": "us", "region": "us-east"}, {"name": "eu", "region": "eu-west"}]
        fleet = {"apiVersion": "flota.dev/v1alpha1", "kind": "ClusterSet", "metadata": {"name": "live"}, "spec": {"clusters": clusters}}
        (folder / "fleet.yaml").write_text(yaml.safe_dump(fleet))
        state = open_state(folder)
        assert not isinstance(state, Problem), state
        lock = state.lock()
        assert not isinstance(lock, Problem), lock
        write(folder / "us" / "main.yaml", us)
        write(folder / "eu" / "main.yaml", eu)
        try:
            async with asyncio.TaskGroup() as tasks:
                found = Live(state, Settings(**settings), tasks)
                try:
                    await found.settled(30)
                    yield found
                finally:
                    await found.engine.stop()
                    found.running.cancel()
        finally:
            lock.release()
            gc.unfreeze()
            gc.set_threshold(*before)


class Client:
    """Requests exactly as written, one after the other on one connection as long as the proxy keeps it."""

    def __init__(self, port: int, address: str = "127.0.0.1", **connection: Any) -> None:
        self._where = (address, port)
        self._connection = connection
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, host: str, path: str = "/", method: str = "GET", headers: Iterable[tuple[str, str]] = ()) -> Answer:
        """Status, headers (of several with one name the last), body."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._where, **self._connection)
        reader, writer = self._streams
        lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "content-length: 0", *(f"{name}: {value}" for name, value in headers)]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        async with asyncio.timeout(10):
            first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            got = {name.lower(): value for name, _, value in (each.partition(": ") for each in rest)}
            body = b"" if method == "HEAD" else await _body(reader, got)
        if got.get("connection") == "close":
            self.close()
        return int(first.split()[1]), got, body

    @property
    def connection(self) -> object:
        """The one that it has; None without."""
        return self._streams

    def close(self) -> None:
        """Let the connection go."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    while await reader.readline() != b"\r\n":
        pass  # trailers
    return b"".join(parts)


class Clients:
    """Several clients that ask again and again, each with its own question, until they are told to stop."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = asyncio.Event()
        self.answers: dict[str, Counter[tuple[Any, ...]]] = {}
        """Name of the question → what came back → how often."""

    async def ask(self, name: str, told: Callable[[Answer], tuple[Any, ...]], host: str, path: str = "/", method: str = "GET") -> None:
        """One client's life; a broken connection is an answer too."""
        client = Client(self._port)
        counts = self.counts(name)
        while not self._stop.is_set():
            try:
                counts[told(await client.send(host, path, method))] += 1
            except (OSError, asyncio.IncompleteReadError) as error:
                counts[(type(error).__name__,)] += 1
                client.close()
            await asyncio.sleep(0)
        client.close()

    def counts(self, name: str) -> Counter[tuple[Any, ...]]:
        """The answers to a question that somebody else asks."""
        return self.answers.setdefault(name, Counter())

    @property
    def stopped(self) -> bool:
        """Whether to ask no more."""
        return self._stop.is_set()

    def stop(self) -> None:
        """No request after those under way."""
        self._stop.set()

    async def more(self, name: str, number: int) -> None:
        """Until that many more answers came."""
        wanted = sum(self.answers.get(name, Counter()).values()) + number
        deadline = time.monotonic() + 20
        while sum(self.answers.get(name, Counter()).values()) < wanted:
            assert time.monotonic() < deadline, self.answers
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def named_backend(name: str, **connection: Any) -> AsyncIterator[int]:
    """An HTTP/1.1 server, cheap enough to be asked ten thousand times, that answers with its name; the port it has."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 200 OK\r\nx-backend: {name}\r\ncontent-length: {len(name)}\r\n\r\n{name}".encode()
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(head)
        writer.close()

    port = free_port()
    server = await asyncio.start_server(serve, connection.pop("address", "127.0.0.1"), port, **connection)
    try:
        yield port
    finally:
        server.close()
