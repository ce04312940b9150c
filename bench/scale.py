"""Flota in a cluster with many routes: what churn costs it, how soon a new route answers, how often it writes.

A real API server; in each namespace, many times, a Service, an EndpointSlice of addresses that exist only on paper, and an HTTPRoute; one
real Gateway with one real Envoy. The floor is a process that watches the same kinds, decodes each event and throws it away. Needs the rig
with a node (root).
"""

import asyncio
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Iterable
from itertools import count
from pathlib import Path

import aiohttp

from bench.process import cpu_s, rss_mb
from bench.table import percentile, show
from conformance.install import install
from flota.local.kernel import marked
from flota.local.process import MARK
from rig.api import Api, Object
from rig.harness import Rig, missing, running
from rig.plane import identity

GATEWAY = "gateway.networking.k8s.io/v1"
KINDS = (
    "/api/v1/services", "/api/v1/namespaces", "/apis/discovery.k8s.io/v1/endpointslices", "/apis/gateway.networking.k8s.io/v1/httproutes",
    "/apis/gateway.networking.k8s.io/v1/gateways",
)  # fmt: skip
_STATUS = re.compile(r'^apiserver_request_total\{.*resource="httproutes".*subresource="status".*\} (\d+)', re.MULTILINE)


def run(*, quick: bool = False) -> None:
    """50 namespaces of 100 routes, a minute of churn, 100 new routes."""
    if why := missing(nodes=True):
        print(f"skipped: {why}")
        return
    with running("scale", nodes=1) as rig:
        install(rig, print)
        sizes = ("3", "5", "5", "5") if quick else ("50", "100", "60", "100")
        command = (sys.executable, "-m", "bench.scale", "inside", str(rig.folder), *sizes)
        subprocess.run(rig.inside(*command), check=True, cwd=Path(__file__).parents[1])


def meta(namespace: str, name: str, **labels: str) -> Object:
    return {"namespace": namespace, "name": name, "labels": labels}


def service(namespace: str, name: str) -> Object:
    spec = {"ports": [{"name": "http", "port": 80, "targetPort": 3000}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta(namespace, name), "spec": spec}


def slice_of(namespace: str, name: str, version: int) -> Object:
    endpoints = [{"addresses": [f"10.200.{version % 250}.{number}"], "conditions": {"ready": True}} for number in (1, 2, 3)]
    head = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints}
    return {**head, "metadata": meta(namespace, name, **{"kubernetes.io/service-name": name}), "ports": [{"name": "http", "port": 3000}]}


def route(namespace: str, name: str, backend: str, path: str = "/") -> Object:
    parent = {"name": "g", "namespace": "default"}
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": path}}], "backendRefs": [{"name": backend, "port": 80}]}
    spec = {"parentRefs": [parent], "hostnames": [f"{name}.{namespace}.example"], "rules": [rule]}
    return {"apiVersion": GATEWAY, "kind": "HTTPRoute", "metadata": meta(namespace, name), "spec": spec}


def front() -> list[Object]:
    """The Gateway, and a backend that answers."""
    listener = {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
    labels = {"app": "live"}
    names = [{"name": name, "value": "x"} for name in ("POD_NAME", "NAMESPACE")]
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "echo", "image": "echo-basic", "env": names}]}}
    live = service("default", "live")
    live["spec"]["selector"] = labels
    spec = {"gatewayClassName": "flota", "listeners": [listener]}
    deployment = {"selector": {"matchLabels": labels}, "template": pod}
    return [
        {"apiVersion": GATEWAY, "kind": "Gateway", "metadata": meta("default", "g"), "spec": spec},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("default", "live"), "spec": deployment},
        live,
        route("default", "live", "live"),
    ]


async def create(api: Api, made: Object) -> None:
    """Costs the API server half of an apply."""
    resource = await api.resource(made["apiVersion"], made["kind"])
    await api.call("POST", resource.path(made["metadata"]["namespace"]), made)


async def every(calls: Iterable[Awaitable[object]], at_once: int = 8) -> None:
    """All of them, some at a time."""
    turns = asyncio.Semaphore(at_once)

    async def one(call: Awaitable[object]) -> None:
        async with turns:
            await call

    await asyncio.gather(*(one(call) for call in calls))


class Front:
    """The Gateway as a client has it."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._url = f"http://{address}/"

    async def status(self, host: str) -> int:
        try:
            async with self._session.get(self._url, headers={"host": host}) as answer:
                return answer.status
        except aiohttp.ClientError:
            return 0

    async def until_ok(self, host: str, limit: float = 120) -> float:
        """When it first answered 200."""
        async with asyncio.timeout(limit):
            while await self.status(host) != 200:  # noqa: ASYNC110 - it asks
                await asyncio.sleep(0.001)
        return time.perf_counter()


class Seen:
    """When a plain watch was told of a route: the API server's own delivery."""

    def __init__(self) -> None:
        self._times: dict[str, asyncio.Future[float]] = {}

    def at(self, name: str) -> "asyncio.Future[float]":
        return self._times.setdefault(name, asyncio.get_running_loop().create_future())

    async def run(self, api: Api) -> None:
        async for event, found in api.watch("/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"):
            if event == "ADDED" and not (told := self.at(found["metadata"]["name"])).done():
                told.set_result(time.perf_counter())


async def address_of(api: Api) -> str:
    async with asyncio.timeout(120):
        async for event, found in api.watch("/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways"):
            addresses = (found.get("status") or {}).get("addresses") if event != "SYNCED" else None
            if addresses:
                return str(addresses[0]["value"])
    raise LookupError("the Gateway got no address")


async def status_writes(api: Api) -> int:
    return sum(map(int, _STATUS.findall((await api.call("GET", "/metrics"))["text"])))


async def churn(api: Api, namespaces: int, routes: int, seconds: float) -> None:
    """An endpoint every two seconds, a route every second."""
    began = time.perf_counter()
    for turn in count(1):
        namespace, name = f"ns-{turn % namespaces}", f"web-{turn * 7 % routes}"
        await api.apply(route(namespace, name, name, f"/{turn}"))
        if turn % 2 == 0:
            await api.apply(slice_of(namespace, name, turn))
        if time.perf_counter() - began > seconds:
            return
        await asyncio.sleep(max(0.0, began + turn - time.perf_counter()))


async def new_routes(api: Api, front: Front, number: int) -> list[tuple[float, float]]:
    """For each, milliseconds from the write until a plain watch knew, and until the first 200."""
    seen, found = Seen(), []
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(seen.run(api), name="watch")
        await seen.at("live")
        for each in range(number):
            host = f"new-{each}.default.example"
            asking = group.create_task(front.until_ok(host), name=host)
            await asyncio.sleep(0.02)
            began = time.perf_counter()
            await api.apply(route("default", f"new-{each}", "live"))
            found.append(((await seen.at(f"new-{each}") - began) * 1e3, (await asking - began) * 1e3))
        watching.cancel()
    return found


def pid_of(rig: Rig, pod: str) -> int:
    """Of the first process of a pod, named by the beginning of NAMESPACE+NAME."""
    prefix = f"{identity(rig.folder)}/pod+scale+{pod}"
    return next(process.pid for process, _ in marked(MARK, prefix))


async def _address_of_flota(api: Api) -> str:
    pods = await api.call("GET", "/api/v1/namespaces/flota-system/pods")
    return str(pods["items"][0]["status"]["podIP"])


async def _plans(session: aiohttp.ClientSession, url: str) -> tuple[float, float]:
    """How many were made so far, and the seconds they took."""
    async with session.get(url) as answer:
        text = await answer.text()
    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("flota_plan"))
    return float(found["flota_plans_total"]), float(found["flota_plan_seconds_total"])


async def _settled(api: Api) -> int:
    """The count of status writes once it has not changed for three seconds."""
    count_before, same = -1, 0
    while same < 3:
        found = await status_writes(api)
        count_before, same = found, same + 1 if found == count_before else 0
        await asyncio.sleep(1)
    return count_before


async def inside(rig: Rig, namespaces: int, routes: int, seconds: float, new: int) -> None:
    """In the rig's network."""
    pid = pid_of(rig, "flota-system")
    floor = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.scale", "floor", str(rig.folder))
    try:
        async with rig.api() as api, aiohttp.ClientSession() as session:
            await every(api.apply(each) for each in front())
            gateway = Front(session, await address_of(api))
            await gateway.until_ok("live.default.example")
            first_writes, began = await status_writes(api), time.perf_counter()
            await every(api.apply(namespace(number)) for number in range(namespaces))
            places = [(f"ns-{outer}", f"web-{inner}") for outer in range(namespaces) for inner in range(routes)]
            # Backends first: a route that waits for its Service is told so, which is a write more.
            await every(create(api, make) for place in places for make in (service(*place), slice_of(*place, 0)))
            await every(create(api, route(*place, place[1])) for place in places)
            took = time.perf_counter() - began
            await api.apply(route("default", "last", "live"))
            behind = await gateway.until_ok("last.default.example") - began - took
            writes = await _settled(api)
            writes -= first_writes + 1
            before, floor_before, began = cpu_s(pid), cpu_s(floor.pid), time.perf_counter()
            await churn(api, namespaces, routes, seconds)
            window = time.perf_counter() - began
            cores, floor_cores = (cpu_s(pid) - before) / window, (cpu_s(floor.pid) - floor_before) / window
            print(
                f"{len(places):,} routes in {took:.0f} s, {writes:,} status writes; one written last answered {behind * 1e3:.0f} ms later"
            )
            costs = [("flota", f"{cores:.3f}", rss_mb(pid)), ("floor", f"{floor_cores:.3f}", rss_mb(floor.pid))]
            show(("process", "cores in churn", "MB"), costs)
            proxy, metrics = pid_of(rig, "default+g-flota"), f"http://{await _address_of_flota(api)}:9090/metrics"
            plans, flota_cpu, proxy_cpu = await _plans(session, metrics), cpu_s(pid), cpu_s(proxy)
            _tell(await new_routes(api, gateway, new))
            made, seconds_planning = (after - before for after, before in zip(await _plans(session, metrics), plans, strict=True))
            planning = f"{made:.0f} plans of {seconds_planning / max(1, made) * 1e3:.1f} ms"
            spent = ", ".join(
                f"{(cpu_s(p) - first) / new * 1e3:.0f} ms of {who}"
                for who, p, first in (("Flota", pid, flota_cpu), ("Envoy", proxy, proxy_cpu))
            )
            print(f"{new} new routes: {planning}; CPU for each: {spent}")
    finally:
        floor.kill()
        await floor.wait()


def _tell(found: list[tuple[float, float]]) -> None:
    watch, answered = zip(*found, strict=True)
    columns = {"watch": watch, "first 200": answered, "beyond the watch": [max(0.0, there - told) for told, there in found]}
    rows = [(name, statistics.median(values), percentile(values, 0.99)) for name, values in columns.items()]
    show(("ms after the write began", "p50", "p99"), rows)


def namespace(number: int) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"ns-{number}"}}


async def floor(rig: Rig) -> None:
    """Watch, decode, throw away."""

    async def follow(api: Api, path: str) -> None:
        async for _ in api.watch(path):
            pass

    async with rig.api() as api, asyncio.TaskGroup() as group:
        for path in KINDS:
            group.create_task(follow(api, path), name=path)


if __name__ == "__main__":
    here = Path(sys.argv[2])
    known = Rig(here / "kubeconfig", ("scale",), here)
    if sys.argv[1] == "floor":
        asyncio.run(floor(known))
    else:
        asyncio.run(inside(known, *map(int, sys.argv[3:])))
