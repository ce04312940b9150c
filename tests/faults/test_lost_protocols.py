"""gRPC calls, TCP connections and UDP datagrams when their pods are lost."""

import asyncio
import contextlib
import socket
import time
from pathlib import Path

import pytest
from bench.rig import story
from bench.rig.fleet import PORT, Rig

GRPC = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: grpc}
spec:
  gatewayClassName: flota
  listeners: [{name: http, protocol: HTTP, port: 8080}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls}
spec:
  parentRefs: [{name: grpc}]
  rules: [{backendRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: shop, port: 80}]}]
"""
REPLAY = """apiVersion: flota.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: shop}
spec:
  targetRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: shop}]
  replay: All
"""
TCP = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: raw}
spec:
  gatewayClassName: flota
  listeners: [{name: tcp, protocol: TCP, port: 9000}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: raw}
spec:
  parentRefs: [{name: raw}]
  rules: [{backendRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: shop, port: 80}]}]
"""


@pytest.mark.parametrize("fault", ["503", *(pytest.param(each, marks=pytest.mark.slow) for each in ("kill", "hang", "drop"))])
def test_grpc_calls_that_may_be_replayed(tmp_path: Path, fault: str) -> None:
    with Rig(tmp_path, h2=True, policy=REPLAY, more=GRPC) as rig:
        told = story.lose(rig, fault, 3, before=8, after=5, rate=100, method="GRPC")
    assert told.loss.failed == 0, told.loss
    assert told.loss.shift_s <= 1
    assert told.loss.back_s is not None


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill", "503"])
def test_grpc_calls_that_may_not(tmp_path: Path, fault: str) -> None:
    with Rig(tmp_path, h2=True, more=GRPC) as rig:
        told = story.lose(rig, fault, 3, before=3, after=3, rate=100, method="GRPC")
        assert max(rig.seen("GRPC").values()) == 1
    assert sum(each.status != 200 for each in told.samples) <= {"kill": 6, "503": 12}[fault]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", "posts"])
def test_a_hang_that_only_grpc_calls_meet(tmp_path: Path, fault: str) -> None:
    """They may not be replayed; `posts`: the process lives, and answers the pings of HTTP/2."""
    with Rig(tmp_path, h2=True, more=GRPC) as rig:
        told = story.lose(rig, fault, 4, before=8, after=4, rate=60, method="GRPC")
        assert max(rig.seen("GRPC").values()) == 1
    assert told.loss.failed == 0
    waited = [each for each in told.samples if each.pod.startswith("us") and told.failed_at < each.due and each.ms > 1000]
    assert waited, "the pods hung"
    assert max(each.due for each in waited) - told.failed_at <= 2 + 5 * told.loss.noise_ms / 1000


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask(address: str) -> tuple[str, Connection]:
    """The pod behind a new connection. Raises OSError (TimeoutError too) or EOFError when it is lost."""
    reader, writer = await asyncio.open_connection(address, 9000)
    try:
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        length = int(next(line for line in head.split(b"\r\n") if line.startswith(b"content-length"))[15:])
        return (await reader.readexactly(length)).decode(), (reader, writer)
    except (OSError, EOFError):
        await hang_up((reader, writer))
        raise


async def hang_up(connection: Connection) -> None:
    connection[1].close()
    with contextlib.suppress(OSError):
        await connection[1].wait_closed()


@pytest.mark.parametrize("fault", ["kill", "drop"])
async def test_tcp_connections_to_lost_pods_end_and_the_next_works(tmp_path: Path, fault: str) -> None:
    with Rig(tmp_path, more=TCP) as rig:
        address = rig.gateway("raw")
        pod, held = await ask(address)
        assert pod.startswith("us")
        failed_at = rig.fail(fault)
        assert await asyncio.wait_for(held[0].read(), 10) == b"", "the connection ends"
        assert time.monotonic() - failed_at <= 3, "connections to lost pods end soon"
        await hang_up(held)
        began = time.monotonic()
        while (served := await _try(address)) is None:  # noqa: ASYNC110  (it asks again each time)
            await asyncio.sleep(0.01)
        assert time.monotonic() - began <= 1, "the next connection works"
        for _ in range(20):
            assert served == "eu"
            served = await _try(address)
        rig.heal(fault)


async def test_tcp_pods_that_hang_are_left_for_new_connections(tmp_path: Path) -> None:
    """Without a client that waits for them; what is open stays open, and goes on when they wake up."""
    with Rig(tmp_path, more=TCP) as rig:
        address = rig.gateway("raw")
        pod, held = await ask(address)
        await asyncio.sleep(2.5)  # their habits are seen meanwhile
        rig.fail("hang")
        await asyncio.sleep(1.5)
        assert [await asyncio.wait_for(_try(address), 1) for _ in range(8)] == ["eu"] * 8
        rig.heal("hang")
        held[1].write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await asyncio.wait_for(held[0].readuntil(b"\r\n\r\n"), 5)).endswith(f"x-pod: {pod}\r\n\r\n".encode())
        await hang_up(held)
        deadline = time.monotonic() + 5
        while await _try(address) != "us":
            assert time.monotonic() < deadline, "back"


async def _try(address: str) -> str | None:
    """The region that served a new connection, None when it was lost."""
    try:
        pod, connection = await ask(address)
    except (OSError, EOFError):
        return None
    await hang_up(connection)
    return pod.partition("-")[0]


def test_udp_follows_readiness(tmp_path: Path) -> None:
    """An endpoint that is not ready gets no datagram any more, one that is gets all of them."""
    listener = TCP.replace("name: tcp, protocol: TCP", "name: udp, protocol: UDP").replace("TCPRoute", "UDPRoute")
    with Rig(tmp_path, 1, 1, more=listener) as rig, contextlib.ExitStack() as stack:
        for region, pods in rig.pods.items():
            file = rig.fleet / region / "all.yaml"
            file.write_text(file.read_text().replace("ports: [{name: http, port: 80}]", "ports: [{name: http, port: 80, protocol: UDP}]")
                            .replace("protocol: TCP}]\nendpoints", "protocol: UDP}]\nendpoints"))
            assert "protocol: UDP}]\nendpoints" in file.read_text()
            echo = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            echo.bind((pods[0].address, PORT))
            echo.settimeout(0.1)
            stack.callback(echo.close)
            _echoes(rig)[region] = echo
        address = rig.gateway("raw")
        assert _until(rig, address, "us")
        file = rig.fleet / "us" / "all.yaml"
        file.write_text(file.read_text().replace(f"addresses: [{rig.pods['us'][0].address}]",
                                                 f"addresses: [{rig.pods['us'][0].address}], conditions: {{ready: false}}"))
        assert _until(rig, address, "eu")


def _echoes(rig: Rig) -> dict[str, socket.socket]:
    return rig.__dict__.setdefault("echoes", {})  # type: ignore[no-any-return]


def _until(rig: Rig, address: str, region: str, seconds: float = 10) -> bool:
    """Whether new clients' datagrams reach that region within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, contextlib.suppress(OSError):
            client.sendto(b"hello", (address, 9000))
            _echoes(rig)[region].recv(100)
            return True
    return False
