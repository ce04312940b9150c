"""The ADS server's edges: its socket, clients that misbehave, bugs that must be heard of, and doing nothing when idle."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpclib.const
import pytest
from ads_harness import Maker, running_server, short_folder, snapshot, until
from grpclib.client import Channel
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from flota.clock import SystemClock
from flota.envoy.ads import METHOD, AdsServer
from flota.envoy.doors import UnixDoor
from flota.envoy.events import Event
from flota.envoy.grpc import RawCodec
from flota.envoy.listening import bind, release
from flota.envoy.protos import load
from flota.envoy.wire import CDS

STREAM = grpclib.const.Cardinality.STREAM_STREAM
PROTOS = load()
REQUEST = PROTOS.message("envoy.service.discovery.v3.DeltaDiscoveryRequest")
RESPONSE = PROTOS.message("envoy.service.discovery.v3.DeltaDiscoveryResponse")


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield Path(path)


async def test_the_socket_is_the_owners_and_goes_with_the_server(folder: Path) -> None:
    async with running_server(folder):
        assert (folder / "ads").stat().st_mode & 0o777 == 0o600
    assert list(folder.iterdir()) == []


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(folder: Path) -> None:
    path = folder / "ads"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    first = bind(path)
    with pytest.raises(OSError, match="another server"):
        bind(path)
    assert [one.name for one in folder.iterdir()] == ["ads"]
    release(path, first)
    assert not path.exists()


def test_the_socket_of_a_successor_stays(folder: Path) -> None:
    path = folder / "ads"
    first = bind(path)
    path.unlink()
    second = bind(path)
    release(path, first)
    assert path.is_socket()
    release(path, second)


def test_a_path_that_no_socket_can_have_says_so(folder: Path) -> None:
    with pytest.raises(OSError, match="107 bytes"):
        bind(folder / ("x" * 100))
    with pytest.raises(FileNotFoundError):
        bind(folder / "none" / "ads")


async def converse(folder: Path, *messages: bytes) -> Any:
    """The first response to these messages."""
    channel = Channel(path=str(folder / "ads"), codec=RawCodec())
    try:
        async with channel.request(METHOD, STREAM, bytes, RESPONSE) as stream:
            for message in messages:
                await stream.send_message(message)
            response = await stream.recv_message()
            if response is not None:
                await stream.cancel()
            return response
    finally:
        channel.close()


def hello(node: str = "us") -> bytes:
    return REQUEST(node={"id": node}, type_url=CDS).SerializeToString()


async def test_clients_that_misbehave_harm_nobody(folder: Path) -> None:
    cluster = Maker(PROTOS).cluster("a")
    async with running_server(folder) as server:
        server.publish("us", snapshot(cluster))
        with pytest.raises(GRPCError, match="name the node"):
            await converse(folder, hello(""))
        with pytest.raises((GRPCError, StreamTerminatedError, ProtocolError)):
            await converse(folder, b"\xff\xff\xff")
        with pytest.raises((GRPCError, StreamTerminatedError, ProtocolError)):
            await converse(folder, hello("other"), b"\xff\xff\xff")
        response = await converse(folder, hello())
        assert [one.name for one in response.resources] == ["a"]
        await until(lambda: server.connected("us") == server.connected("other") == 0)


async def test_a_bug_is_heard_of(folder: Path) -> None:
    def fail(event: Event) -> None:
        raise ZeroDivisionError(str(event))

    async def provoke() -> None:
        async with asyncio.timeout(5), running_server(folder, fail):
            with contextlib.suppress(GRPCError, StreamTerminatedError, ProtocolError, ConnectionError):
                await converse(folder, hello())
            await asyncio.get_running_loop().create_future()

    with pytest.raises(ExceptionGroup) as raised:
        await provoke()
    assert raised.group_contains(ZeroDivisionError)
    assert not (folder / "ads").exists()


async def test_idle_is_idle(folder: Path) -> None:
    """With a stream open and everything acknowledged, the loop has nothing scheduled and no task gets a turn."""
    server = AdsServer(UnixDoor(folder / "ads"), PROTOS, SystemClock())
    server.publish("us", snapshot(Maker(PROTOS).cluster("a")))
    ready = asyncio.Event()
    channel = Channel(path=str(folder / "ads"), codec=RawCodec())
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(ready), name="ads server")
        await ready.wait()
        async with channel.request(METHOD, STREAM, bytes, RESPONSE) as stream:
            await stream.send_message(hello())
            answer = await stream.recv_message()
            await stream.send_message(REQUEST(type_url=CDS, response_nonce=answer.nonce).SerializeToString())
            await until(lambda: server.acknowledged("us", CDS, "a"))
            used = os.times()
            await asyncio.sleep(1.0)
            spent = sum(os.times()[:2]) - sum(used[:2])
            assert spent <= 0.02
            timers = [t for t in asyncio.get_running_loop()._scheduled if not t.cancelled()]  # type: ignore[attr-defined]
            assert [t for t in timers if t.when() - asyncio.get_running_loop().time() < 60] == []
            await stream.cancel()
        channel.close()
        serving.cancel()
