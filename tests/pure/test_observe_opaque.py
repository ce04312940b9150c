"""Servers of unknown protocols, judged by whether they end what their clients end; with real sockets for the probe itself."""

import asyncio
import contextlib

import pytest

from flota.observe import probe
from flota.observe.opaque import OpaqueWatch

AT = ("us", "127.0.0.1:9000")


@pytest.mark.parametrize(("answers", "hung"), [
    ("+++--", True),
    ("+++-+--", True),
    ("+++-+-+-", False),
    ("++--", False),
    ("--------", False),
    ("++-+++--", True),
    ("+++-", False),
])
def test_who_ended_connections_several_times_and_then_not_twice_hangs(answers: str, hung: bool) -> None:
    watch = OpaqueWatch()
    found = [watch.note(AT, each == "+") for each in answers]
    assert found[-1] is hung
    assert not any(found[:-1])


def test_doubt_asks_for_another_look_at_once() -> None:
    watch = OpaqueWatch()
    for answered in (True, True, True, False):
        assert not watch.doubtful(AT)
        watch.note(AT, answered)
    assert watch.doubtful(AT)
    watch.keep([])
    assert not watch.doubtful(AT)
    assert not watch.note(AT, False), "its habits are seen anew"


@pytest.mark.parametrize("ends", [True, False])
async def test_the_probe(ends: bool) -> None:
    open_ones: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        open_ones.append(writer)
        if ends:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        assert await probe.look("127.0.0.1", server.sockets[0].getsockname()[1], "TCP", 0.3) == ("Answers" if ends else "Silent")
    finally:
        server.close()
        for writer in open_ones:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
