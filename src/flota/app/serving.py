"""From an API server to a serving Flota: what `flota serve` does."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from importlib.metadata import version
from random import random

from aiohttp import web

from flota.app.serve import Place, Serving
from flota.app.servemetrics import render_serving
from flota.clock import Clock, SystemClock
from flota.fleet.problem import Problem
from flota.kube.client import Client
from flota.kube.errors import ApiError
from flota.kube.kubeconfig import Access, config_files, in_cluster, load_context
from flota.kube.transport import Transport
from flota.settings import Settings
from flota.sources.kube import KubeSource, Target
from flota.writeback.authority import authority
from flota.writeback.pki import Pair

RETRY_S = 2.0
Tell = Callable[[str], None]


def access_of(environ: Mapping[str, str], context: str | None) -> Access:
    """That of the pod we run in, unless a context is named. Raises KubeconfigError."""
    inside = in_cluster(environ) if context is None else None
    return inside or load_context(config_files(environ), context)


def place_of(environ: Mapping[str, str], settings: Settings, access: Access, namespace: str | None) -> Place:
    """Who we are there."""
    identity = environ.get("POD_NAME") or f"{socket.gethostname()}-{random():.9f}"[:63]  # noqa: S311  (a name, not a secret)
    return Place(settings.cluster_name, namespace or access.namespace, identity, environ.get("POD_IP", ""))


async def serve(access: Access, place: Place, settings: Settings, tell: Tell, clock: Clock | None = None) -> None:
    """Until SIGINT or SIGTERM: then the lease is given up, and proxies go on with what they have.

    Raises OSError when a port can't be had.
    """
    clock = clock or SystemClock()
    agent = f"flota/{version('flota')}"
    client = Client(Transport(access, clock, agent=agent), jitter=random)
    async with client, _until_signal() as ended, asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(_serve(client, place, settings, tell, clock), name="serve")
        await ended.wait()
        serving.cancel()


async def _serve(client: Client, place: Place, settings: Settings, tell: Tell, clock: Clock) -> None:
    made = await _authority(client, place, tell, clock)
    source = KubeSource([Target(place.cluster, client, settings.cluster_region, settings.cluster_zone)], clock, random)
    serving = Serving(client, source, place, made, settings, clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serving.run(), name="serving")
        tasks.create_task(_listen(serving, source, settings, tell), name="http")
        tasks.create_task(_tell_sight(source, tell), name="sight")


async def _authority(client: Client, place: Place, tell: Tell, clock: Clock) -> Pair:
    """Without it no proxy can come in: asked for until it is there."""
    while True:
        found = await authority(client, place.namespace, clock.now())
        if not isinstance(found, ApiError):
            return found
        tell(f"the authority of the proxies can't be read from namespace {place.namespace}: {found.message}; trying again")
        await asyncio.sleep(RETRY_S)


async def _tell_sight(source: KubeSource, tell: Tell) -> None:
    """What can't be seen, and objects that can't be used, when that changes. What was known stays in effect."""
    before: Mapping[tuple[str, str, str, str], Problem] = {}
    async for problems in source.problems.follow():
        now = {(each.kind, each.namespace, each.name, each.reason): each for each in problems}
        for key in sorted(now.keys() - before.keys()):
            tell(f"{_about(now[key])}: {now[key].message}")
        for key in sorted(before.keys() - now.keys()):
            tell(f"{_about(before[key])}: over")
        before = now


def _about(problem: Problem) -> str:
    name = f"{problem.namespace}/{problem.name}" if problem.namespace else problem.name
    return f"{problem.kind} {name}: {problem.reason}" if name else f"{problem.kind}: {problem.reason}"


async def _listen(serving: Serving, source: KubeSource, settings: Settings, tell: Tell) -> None:
    """`/readyz`, `/livez` and `/metrics`."""
    host, _, port = settings.metrics_address.rpartition(":")
    app = web.Application()

    async def readyz(_: web.Request) -> web.Response:
        ready, why = serving.ready()
        blind = "".join(f"; blind since the API server of {name} is silent: {said}" for name, said in source.blind.get().items())
        return web.Response(status=200 if ready else 503, text=f"{why}{blind}\n")

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=render_serving(serving, source), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})

    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/livez", livez)
    runner = web.AppRunner(app, access_log=None)
    try:
        await runner.setup()
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        tell(f"serving {serving.place.cluster}: proxies at {settings.xds_listen}, /readyz and /metrics at {runner.addresses[0]}")
        await asyncio.get_running_loop().create_future()
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _until_signal() -> AsyncIterator[asyncio.Event]:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, ended.set)
    try:
        yield ended
    finally:
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)
