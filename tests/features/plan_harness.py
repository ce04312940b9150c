"""Plans made by hand, a real Envoy that serves them, and backends that tell what reached them."""

import asyncio
import contextlib
import json
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from ads_harness import free_port, running_server, short_folder, until
from aiohttp import web

from flota.envoy import module
from flota.envoy.ads import AdsServer
from flota.envoy.bootstrap import bootstrap, envoy_path
from flota.envoy.encode import Encoder
from flota.envoy.events import Event, Refusal
from flota.envoy.options import Options
from flota.envoy.protos import load
from flota.envoy.scope_key import Way
from flota.envoy.wire import Ref
from flota.plan import (
    Backend,
    Endpoint,
    Endpoints,
    FilterChain,
    Forward,
    HealthCheck,
    Listener,
    Locality,
    Match,
    ProxyPlan,
    RouteEntry,
    RouteSource,
    RouteTable,
    Secret,
    Tier,
    VirtualHost,
    WeightedBackend,
)

TCP_CHECK = HealthCheck(interval_ms=250, timeout_ms=200)


def backend(name: str, protocol: str = "HTTP1", **more: Any) -> Backend:
    fields: dict[str, Any] = {"health": None if protocol == "UDP" else TCP_CHECK, **more}
    return Backend(name=f"Service/default/{name}/80/{protocol}", label=f"service/default/{name}/80", kind="Service", namespace="default",
                   service=name, port=80, endpoints=name, protocol=protocol, **fields)


def endpoints(name: str, *tiers: Iterable[int], address: str = "127.0.0.1", clusters: tuple[str, ...] = ("us", "eu", "ap")) -> Endpoints:
    """Tiers of ports."""
    return Endpoints(name, tuple(
        Tier((Locality(cluster, f"{cluster}-region", "", tuple(Endpoint(address, port) for port in ports)),))
        for cluster, ports in zip(clusters, tiers, strict=False)))


def entry(action: Any, match: Match | None = None, name: str = "route", **more: Any) -> RouteEntry:
    return RouteEntry(RouteSource("HTTPRoute", "default", name, 0), match or Match(), action, **more)


def to(*backends: Backend, **more: Any) -> Forward:
    return Forward(tuple(WeightedBackend(one.name) for one in backends), **more)


def table(hosts: Mapping[str, Iterable[RouteEntry]], name: str = "default/gw/http", sharded: bool = True) -> RouteTable:
    return RouteTable(name, {domain: VirtualHost(domain, tuple(entries)) for domain, entries in hosts.items()}, sharded)


def listener(*chains: FilterChain, port: int | None = None, protocol: str = "TCP", address: str = "127.0.0.1") -> Listener:
    port = free_port() if port is None else port
    return Listener(f"{protocol.lower()}/{address}/{port}", address, port, protocol, chains)


def http_listener(of: RouteTable, port: int | None = None) -> Listener:
    return listener(FilterChain(f"chain-{of.name}", table=of.name), port=port)


def plan(listeners: Iterable[Listener] = (), tables: Iterable[RouteTable] = (), backends: Iterable[Backend] = (),
         endpoints: Iterable[Endpoints] = (), secrets: Iterable[Secret] = ()) -> ProxyPlan:
    def named(parts: Iterable[Any]) -> dict[str, Any]:
        return {one.name: one for one in parts}
    return ProxyPlan("us", "us-region", "", named(listeners), named(tables), named(backends), named(endpoints), named(secrets))


class Proxy:
    """One Envoy with its control plane."""

    ads: AdsServer

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder = folder
        self.encoder = Encoder(load(), options)
        self.refusals: list[Refusal] = []

    def on_event(self, event: Event) -> None:
        if isinstance(event, Refusal):
            self.refusals.append(event)

    async def serve(self, wanted: ProxyPlan, within: float = 10.0) -> None:
        """Publish and wait until all is acknowledged; fails on a refusal."""
        self.ads.publish("us", self.encoder.snapshot(wanted))
        pending: set[Ref] = await self.ads.wait_settled("us", within)
        assert not self.refusals, self.refusals
        assert not pending, pending

    async def admin(self, path: str) -> str:
        connector = aiohttp.UnixConnector(path=str(self.folder / "admin"))
        async with aiohttp.ClientSession(connector=connector) as session, session.get(f"http://admin{path}") as answer:
            return await answer.text()

    def access_log(self) -> list[dict[str, Any]]:
        path = self.folder / "access.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def options_for(folder: Path, way: Way | None, **more: Any) -> Options:
    """`way` None: what this machine has."""
    keys = module.ScopeKeys("cel") if way == "cel" else module.choose(load(), envoy_path())
    if way == "module" and keys.way != way:
        assert shutil.which("gcc") is None, keys.reason
        pytest.skip(f"no C compiler: {keys.reason}")
    return Options(way=keys.way, module=keys.module, access_log=str(folder / "access.log"), **more)


@contextlib.asynccontextmanager
async def running_proxy(way: Way | None = None, **more: Any) -> AsyncIterator[Proxy]:
    with short_folder() as name:
        folder = Path(name)
        proxy = Proxy(folder, options_for(folder, way, **more))
        async with running_server(folder, proxy.on_event) as proxy.ads, _envoy(folder):
            yield proxy


@contextlib.asynccontextmanager
async def _envoy(folder: Path) -> AsyncIterator[None]:
    config = folder / "bootstrap.json"
    config.write_bytes(bootstrap(cluster="us", region="us-region", zone="", ads=folder / "ads", admin=folder / "admin"))
    with (folder / "envoy.log").open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            str(envoy_path()), "-c", str(config), "--concurrency", "1", "-l", "warning", "--use-dynamic-base-id",
            "--file-flush-interval-msec", "50", stdout=out, stderr=out)
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class Seen:
    """What reached a backend."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    @property
    def paths(self) -> Counter[str]:
        return Counter(one["path"] for one in self.requests)


@contextlib.asynccontextmanager
async def echo(name: str, seen: Seen | None = None, status: int = 200, **site: Any) -> AsyncIterator[int]:
    """An HTTP server that answers with what it got, as JSON; the port it has."""
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await _socket(request)
        got = {"backend": name, "path": request.raw_path, "method": request.method, "host": request.headers.get("host"),
               "headers": [[key.lower(), value] for key, value in request.headers.items()], "body": (await request.read()).decode()}
        if seen is not None:
            seen.requests.append(got)
        return web.json_response(got, status=status, headers={"server": "echo", "x-backend": name})

    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    start = web.TCPSite(runner, "127.0.0.1", 0, **site)
    await start.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _socket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"echo {message.data}")
    return socket


async def call(port: int, path: str = "/", host: str = "a.test", method: str = "GET", headers: Mapping[str, str] | None = None,
               body: bytes = b"") -> tuple[int, dict[str, str], Any]:
    """One request exactly as written, on a connection of its own: status, headers, JSON body (or text)."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "connection: close", f"content-length: {len(body)}",
             *(f"{name}: {value}" for name, value in (headers or {}).items())]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        got = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        text = (await _body(reader, got)).decode(errors="replace")
    finally:
        writer.close()
    with contextlib.suppress(ValueError):
        return int(first.split()[1]), got, json.loads(text)
    return int(first.split()[1]), got, text


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    return b"".join(parts)


@contextlib.asynccontextmanager
async def process(*argv: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python process of the test's own, killed at the end."""
    running = await asyncio.create_subprocess_exec(sys.executable, *argv)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


__all__ = ["TCP_CHECK", "Proxy", "Seen", "backend", "call", "echo", "endpoints", "entry", "http_listener", "listener", "plan", "process",
           "running_proxy", "table", "to", "until"]
