"""How fast a reflector takes objects in, what they cost in memory, and how long it holds up the event loop.

The server is a process of its own that sends lines over loopback HTTP, as an API server sends a watch; so what is measured is ours: HTTP,
lines, events, decoding, the cache. The floor is the same bytes split into lines and thrown away.
"""

import asyncio
import contextlib
import gc
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from bench.table import show
from flota.clock import SystemClock
from flota.fleet import kinds
from flota.kube.client import Client
from flota.kube.kubeconfig import Access
from flota.kube.lines import Lines
from flota.kube.pace import Pace
from flota.kube.reflector import Reflector
from flota.kube.resource import Resource
from flota.kube.transport import Stream, Transport
from flota.sources.served import Held, decoder

FIELDS = {f"f:field{n}": {"f:x": {}} for n in range(25)}
MANAGED = [{"manager": "kubectl", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": FIELDS}]


def _meta(name: str, number: int, version: int) -> dict[str, object]:
    return {
        "name": name,
        "namespace": f"ns-{number % 50}",
        "uid": f"00000000-0000-4000-8000-{number:012}",
        "resourceVersion": str(version),
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app": name},
        "managedFields": MANAGED,
    }


def http_route(number: int, version: int) -> dict[str, object]:
    """About 2.5 kB, as an API server has it."""
    name = f"route-{number}"
    backend = {"group": "", "kind": "Service", "name": name, "port": 80, "weight": 1}
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": f"/{name}"}}], "backendRefs": [backend]}
    status = {"parents": [{"controllerName": "x", "parentRef": {"name": "g"}, "conditions": [{"type": "Accepted", "status": "True"}] * 2}]}
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}
    spec = {"parentRefs": [parent], "hostnames": [f"{name}.example"], "rules": [rule]}
    head = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
    return {**head, "metadata": _meta(name, number, version), "spec": spec, "status": status}


def endpoint_slice(number: int, version: int) -> dict[str, object]:
    """Ten endpoints."""
    meta = {**_meta(f"slice-{number}", number, version), "labels": {"kubernetes.io/service-name": f"web-{number}"}}
    endpoints = [
        {"addresses": [f"10.{number % 250}.{n}.{version % 250}"], "conditions": {"ready": True, "serving": True, "terminating": False},
         "nodeName": f"node-{n}", "zone": "a", "targetRef": {"kind": "Pod", "name": f"web-{number}-{n}", "namespace": "x", "uid": f"u{n}"}}
        for n in range(10)
    ]  # fmt: skip
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    return {"metadata": meta, "addressType": "IPv4", "endpoints": endpoints, "ports": ports}


def pod(number: int, version: int) -> dict[str, object]:
    """One container with a probe, and the status of a running pod."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10}
    env = [{"name": f"VARIABLE_{n}", "value": f"value {n}"} for n in range(8)]
    container = {"name": "app", "image": "registry.example/app:1", "env": env, "ports": [{"containerPort": 8080}], "readinessProbe": probe}
    conditions = [{"type": f"Condition{n}", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"} for n in range(5)]
    running = [{"name": "app", "ready": True, "imageID": "x" * 80}]
    status = {"phase": "Running", "conditions": conditions, "podIP": "10.0.0.1", "containerStatuses": running}
    spec = {"containers": [container], "nodeName": "node-1"}
    return {"metadata": _meta(f"pod-{number}", number, version), "spec": spec, "status": status}


MAKERS = {"HTTPRoute": http_route, "EndpointSlice": endpoint_slice, "Pod": pod}


async def serve(kind: str, count: int, events: int) -> None:
    """List streams of `count` objects, then `events` changes of them, then bookmarks for ever."""
    make = MAKERS[kind]

    def line(type_: str, thing: dict[str, object]) -> bytes:
        return json.dumps({"type": type_, "object": thing}, separators=(",", ":")).encode() + b"\n"

    first = [line("ADDED", make(number, number + 1)) for number in range(count)]
    mark = {"metadata": {"resourceVersion": str(count), "annotations": {"k8s.io/initial-events-end": "true"}}}
    first.append(line("BOOKMARK", mark))

    async def watch(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        if "sendInitialEvents" in request.query:
            for start in range(0, len(first), 200):
                await response.write(b"".join(first[start : start + 200]))
        version = max(count, int(request.query.get("resourceVersion") or 0))
        with contextlib.suppress(ConnectionError):  # it has seen enough
            for _ in range(0, events, 100):
                changes = [make(random.randrange(count), version := version + 1) for _ in range(100)]  # noqa: S311
                await response.write(b"".join(line("MODIFIED", each) for each in changes))
            await asyncio.sleep(3600)
        return response

    runner = web.ServerRunner(web.Server(watch))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)  # type: ignore[union-attr]
    await asyncio.Event().wait()


@asynccontextmanager
async def server(kind: str, count: int, events: int) -> AsyncIterator[str]:
    """Its URL."""
    command = [sys.executable, "-m", "bench.reflector", kind, str(count), str(events)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.kill()
        await process.wait()


class Lag:
    """The longest time between two rounds of the event loop, in CPU time: what other programs take is not ours to hold up."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.worst, last = max(self.worst, now - last), now


def _resident() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123 - a file of the kernel
        return int(file.read().split()[1]) * resource.getpagesize()


async def _measure(kind: str, count: int, events: int) -> tuple[object, ...]:
    known = next(each for each in kinds.KINDS if each.kind == kind)
    thing = Resource(known.group, known.versions[0], f"{kind.lower()}s", kind)
    clock = SystemClock()
    async with server(kind, count, events) as url, _client(url) as client:
        floor, size = await _floor(client, thing, count + 1)
        gc.collect()
        before = _resident()
        reflector: Reflector[Held] = Reflector(
            client, thing, decoder(known), clock=clock, jitter=random.random, pace=Pace(clock), notify=lambda: None
        )
        lag = Lag()
        async with asyncio.TaskGroup() as tasks:
            began, cpu = time.perf_counter(), time.process_time()
            running = tasks.create_task(reflector.run(), name="reflector")
            watching = tasks.create_task(lag.run(), name="lag")
            while not reflector.state.synced:  # noqa: ASYNC110 - no event, and it may not cost what is measured
                await asyncio.sleep(0.01)
            took, first_cpu = time.perf_counter() - began, time.process_time() - cpu
            gc.collect()
            held = _resident() - before
            first_lag, lag.worst = lag.worst, 0.0
            half = 0
            while reflector.counts.events < count + 1 + events:
                if not half and reflector.counts.events > count + events // 2:
                    half = _resident()
                await asyncio.sleep(0.01)
            grown = (_resident() - half) / half if half else 0.0
            running.cancel()
            watching.cancel()
        assert len(reflector.cache) == count
    each = f"{first_cpu / count * 1e6:.0f}", f"{floor / count * 1e6:.0f}", f"{held / count:,.0f}"
    rest = f"{first_lag * 1000:.1f}", f"{grown:+.1%}" if events else "-"
    return (kind, f"{count:,}", f"{size / count:,.0f}", f"{count / took:,.0f}", *each, *rest)


def _client(url: str) -> Client:
    return Client(Transport(Access(server=url), SystemClock(), agent="bench"), jitter=random.random)


async def _floor(client: Client, thing: Resource, wanted: int) -> tuple[float, int]:
    """CPU seconds, and bytes, of the same stream when its lines are thrown away."""
    lines, found, size = Lines(), 0, 0
    cpu = time.process_time()
    async with client.transport.stream(thing.path(), {"sendInitialEvents": "true"}) as stream:
        assert isinstance(stream, Stream)
        while found < wanted:
            chunk = await stream.chunk(10)
            assert isinstance(chunk, bytes)
            size += len(chunk)
            found += sum(1 for _ in lines.feed(chunk))
    return time.process_time() - cpu, size


def run(*, quick: bool = False) -> None:
    """Three kinds; for pods 50,000 objects, and 100,000 changes of 5,000 routes for the memory."""
    sizes = [("HTTPRoute", 5_000, 100_000), ("EndpointSlice", 5_000, 0), ("Pod", 50_000, 0)]
    share = 100 if quick else 1
    rows = [asyncio.run(_measure(kind, count // share, events // share)) for kind, count, events in sizes]
    show(("kind", "objects", "bytes", "per second", "CPU us each", "floor us", "memory each", "worst hold-up ms", "memory in events"), rows)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
