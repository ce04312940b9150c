"""A real API server (the rig), clients of it as different users, and a source that follows it."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping

import msgspec
import pytest

from flota.clock import SystemClock
from flota.fleet.fleet import Cluster
from flota.kube.client import Client
from flota.kube.discovery import discover
from flota.kube.errors import ApiError
from flota.kube.kubeconfig import Access, load_context
from flota.kube.resource import Resource
from flota.kube.transport import Transport
from flota.sources.kube import KubeSource, Target
from rig.harness import Rig, missing, running


def start_rig(*clusters: str):
    """For a module's fixture: `yield from start_rig("us")`."""
    if why := missing():
        pytest.skip(why)
    with running(*clusters) as found:
        yield found


def admin(rig: Rig, cluster: str) -> Access:
    return load_context((rig.kubeconfig,), cluster)


def client(access: Access, **options) -> Client:
    return Client(Transport(access, SystemClock(), agent="flota/test"), jitter=random.Random(7).random, **options)


class Api:
    """An administrator who applies whole manifests."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._known: dict[tuple[str, str], Resource] = {}

    async def apply(self, *manifests: Mapping[str, object]) -> None:
        for each in manifests:
            resource = await self.resource(str(each["apiVersion"]), str(each["kind"]))
            meta = each["metadata"]
            answer = await self.client.apply(resource, meta["name"], each, meta.get("namespace", "default") if resource.namespaced else "")
            assert not isinstance(answer, ApiError), (answer, each)

    async def delete(self, api_version: str, kind: str, name: str, namespace: str = "default") -> None:
        resource = await self.resource(api_version, kind)
        answer = await self.client.delete(resource, name, namespace if resource.namespaced else "")
        assert not isinstance(answer, ApiError), answer

    async def resource(self, api_version: str, kind: str) -> Resource:
        if (api_version, kind) not in self._known:
            group, _, version = api_version.rpartition("/")
            served = await discover(self.client, {(group, version)})
            assert not isinstance(served, ApiError), served
            self._known |= {(each.api_version, each.kind): each for versions in served.values() for each in versions}
        return self._known[api_version, kind]


async def until(what: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for it."""
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0.01)


class Followed:
    """A source that runs, for one cluster."""

    def __init__(self, source: KubeSource, name: str) -> None:
        self.source, self.name = source, name

    @property
    def cluster(self) -> Cluster:
        return self.source.fleet.get().clusters[self.name]

    async def until(self, what: Callable[[], bool], seconds: float = 20) -> None:
        await until(what, seconds)


@contextlib.asynccontextmanager
async def followed(access: Access, name: str = "us", **options) -> AsyncIterator[Followed]:
    async with client(access) as api:
        source = KubeSource([Target(name, api)], SystemClock(), random.Random(3).random, **options)
        task = asyncio.create_task(source.run(), name="source")
        try:
            async with asyncio.timeout(30):
                while not source.ready.get():
                    await source.ready.changed()
            yield Followed(source, name)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


class Way:
    """A way to the API server that can be cut: TCP, byte by byte the same."""

    def __init__(self, host, port):
        self.target = host, port
        self.open = True
        self.writers = set()

    async def __call__(self, reader, writer):
        if not self.open:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(*self.target)
        self.writers |= {writer, back}
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(self.carry(reader, back), self.carry(there, writer))
        for each in (writer, back):
            each.transport.abort()

    async def carry(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    def cut(self):
        self.open = False
        for each in self.writers:
            each.transport.abort()
        self.writers.clear()


@contextlib.asynccontextmanager
async def way_to(access: Access) -> AsyncIterator[tuple[Way, Access]]:
    """A way to the API server, and how to go it."""
    host, _, port = access.server.removeprefix("https://").rpartition(":")
    way = Way(host, int(port))
    server = await asyncio.start_server(way, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield way, msgspec.structs.replace(access, server=url, tls_server_name=host)
    finally:
        way.cut()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.05)  # until both ends of what was cut have heard of it


def bare(thing: msgspec.Struct) -> msgspec.Struct:
    """An object without what only an API server (or only a folder) knows of it."""
    meta = msgspec.structs.replace(thing.metadata, creation_timestamp=None, generation=0, uid="")
    return msgspec.structs.replace(thing, metadata=meta)
