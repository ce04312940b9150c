"""A new version of Envoy takes over from an older one: whole Flota, real requests, two real versions."""

import asyncio
from pathlib import Path

import pytest
from ads_harness import free_port
from live_harness import Client, Clients, Live, gateway, live, manifest, named_backend, served, to
from older_envoy import VERSION, older_envoy

from flota.app import encoding, engine
from flota.local.kernel import facts
from flota.local.proxyspec import ProxyState

pytestmark = pytest.mark.slow


def proxy(fleet: Live) -> ProxyState | None:
    """That of us, once it runs."""
    found = fleet.engine.proxies.states.get().get("us")
    return found if found is not None and found.phase == "Running" else None


def binary(pid: int | None) -> Path:
    """What a process runs."""
    return Path(f"/proc/{pid}/exe").resolve()


async def test_a_new_version_takes_over_under_load(monkeypatch: pytest.MonkeyPatch) -> None:
    older = await asyncio.to_thread(older_envoy)
    port = free_port()
    route = manifest("HTTPRoute", "r", {"parentRefs": [{"name": "web"}], "rules": [{"backendRefs": [to("one")]}]})
    async with named_backend("one") as one:
        us = [gateway("web", {"name": "http", "port": port, "protocol": "HTTP"}), *served("one", one), route]
        monkeypatch.setattr(engine, "envoy_path", lambda: older)
        monkeypatch.setattr(engine, "envoy_version", lambda: VERSION)
        monkeypatch.setattr(encoding, "envoy_path", lambda: older)
        async with live(us) as fleet:
            monkeypatch.undo()
            await replaced_under_load(fleet, older, port)


async def replaced_under_load(fleet: Live, older: Path, port: int) -> None:
    """The next Flota has another Envoy."""
    await fleet.until(lambda: proxy(fleet))
    before = proxy(fleet)
    assert before is not None
    assert binary(before.pid) == older.resolve()
    asked = Clients(port)
    async with asyncio.TaskGroup() as tasks:
        for number in range(4):
            tasks.create_task(asked.ask("all", lambda got: (got[0], got[2]), "any.test"), name=f"client {number}")
        tasks.create_task(new_connections(asked, port), name="clients that come and go")
        try:
            await asked.more("all", 200)
            await fleet.leave()
            fleet.start()
            await fleet.until(lambda: (now := proxy(fleet)) is not None and now.pid != before.pid, 40)
            await fleet.settled(30)
            await fleet.until(lambda: before.pid is None or facts(before.pid) is None, 40)
            await asked.more("all", 200)
        finally:
            asked.stop()
    after = proxy(fleet)
    assert after is not None
    assert (after.version, after.reason) == (engine.envoy_version(), "")
    assert binary(after.pid) == engine.envoy_path().resolve()
    assert set(asked.answers["all"]) == {(200, b"one")}, asked.answers
    assert set(asked.answers["new"]) == {(200, b"one")}, asked.answers
    assert await fleet.problems() == ()


async def new_connections(asked: Clients, port: int) -> None:
    """Each request on a connection of its own."""
    counts = asked.counts("new")
    while not asked.stopped:
        client = Client(port)
        try:
            status, _, body = await client.send("any.test")
            counts[status, body] += 1
        except (OSError, asyncio.IncompleteReadError) as error:
            counts[(type(error).__name__,)] += 1
        client.close()
        await asyncio.sleep(0.005)
