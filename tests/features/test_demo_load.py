"""The demo's clients count what really happens: answers, refusals, hangs up, and keep to their rate meanwhile."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from flota.cli.demo.load import Load, Target

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\nus-east 127.0.0\n"


@contextlib.asynccontextmanager
async def serving(answer: bytes, *, hang_up: bool = False, wait: float = 0.0) -> AsyncIterator[tuple[Target, list[int]]]:
    """A server that gives this answer; the list counts its connections. All are gone at the end."""
    connections: list[int] = []
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(wait)
                writer.write(answer)
                if hang_up:
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    address, port = server.sockets[0].getsockname()[:2]
    yield Target(address, port), connections
    server.close()
    await asyncio.wait_for(asyncio.gather(*handlers), 5)


async def test_every_answer_is_counted_over_kept_connections() -> None:
    async with serving(ANSWER) as (target, connections):
        load = Load({"us-east": target}, 200)
        await load.run(1.0)
    assert len(load.samples) == 200
    assert {(each.status, each.served_by, each.client) for each in load.samples} == {(200, "us-east", "us-east")}
    assert len(connections) < 50


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", 503),
        (b"", 0),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nus", 0),
    ],
)
async def test_bad_answers_are_failures(answer: bytes, status: int) -> None:
    async with serving(answer, hang_up=status == 0) as (target, _):
        load = Load({"us-east": target}, 50)
        await load.run(0.5)
    assert len(load.samples) == 25
    assert {each.status for each in load.samples} == {status}
    assert all(each.failed for each in load.samples)


async def test_nobody_listens() -> None:
    async with serving(ANSWER) as (target, _):
        pass
    load = Load({"us-east": target}, 50)
    await load.run(0.5)
    assert (len(load.samples), {each.status for each in load.samples}) == (25, {0})


async def test_slow_answers_do_not_slow_the_clients() -> None:
    """Open loop: a server that takes half a second gets as many requests as a quick one."""
    async with serving(ANSWER, wait=0.5) as (target, _):
        load = Load({"us-east": target}, 100)
        started = time.monotonic()
        await load.run(1.0)
    assert len(load.samples) == 100
    assert all(each.took >= 0.5 for each in load.samples)
    assert max(each.sent for each in load.samples) - started < 1.5


async def test_connection_close_is_kept_to() -> None:
    async with serving(ANSWER.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"), hang_up=True) as (target, connections):
        load = Load({"us-east": target}, 50)
        await load.run(0.4)
    assert {each.status for each in load.samples} == {200}
    assert len(connections) == 20
