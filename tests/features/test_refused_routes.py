"""Envoy refuses a RouteConfiguration whole; here our own check of patterns is off, as if we knew less than Envoy."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from ads_harness import free_port
from live_harness import Client, Clients, Live, Manifest, gateway, live, manifest, named_backend, served, to

from flota.fleet import expressions
from flota.routing import matches

BAD = "/(a"


def route(name: str, pattern: str, *hosts: str, mark: str = "") -> Manifest:
    """A route of paths that fit the pattern; what it answers is marked."""
    rule: dict[str, Any] = {
        "matches": [{"path": {"type": "RegularExpression", "value": pattern}}],
        "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "x-mark", "value": mark or name}]}}],
        "backendRefs": [to("one")],
    }
    return manifest("HTTPRoute", name, {"parentRefs": [{"name": "web"}], "hostnames": list(hosts), "rules": [rule]})


class World:
    """A fleet with one Gateway and one Service."""

    def __init__(self, fleet: Live, port: int) -> None:
        self.fleet = fleet
        self.port = port

    async def bad(self, *names: str) -> None:
        """Until exactly these routes are found to be bad, and all else is in effect."""
        trials = self.fleet.engine.trials
        await self.fleet.until(lambda: {each.name for each in trials.problems()} == set(names))
        await self.fleet.settled()

    async def routes(self, number: int) -> None:
        """Until so many are planned: of several files the small ones are read first."""
        await self.fleet.until(lambda: len(self.versions()) == number, 60)

    def versions(self) -> dict[str, int]:
        """Of the routes that are planned."""
        fleet = self.fleet.engine.planned
        assert fleet is not None
        return {name: each.metadata.generation for (_, name), each in fleet.clusters["us"].http_routes.items()}

    async def ask(self, host: str, path: str = "/a") -> tuple[int, str | None]:
        """Status and mark of one answer."""
        client = Client(self.port)
        status, headers, _ = await client.send(host, path)
        client.close()
        return status, headers.get("x-mark")


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    for module in (matches, expressions):
        monkeypatch.setattr(module, "fault", lambda _pattern: None)
    port = free_port()
    async with named_backend("one") as one:
        us = [gateway("web", {"name": "http", "port": port, "protocol": "HTTP"}), *served("one", one)]
        async with live(us) as fleet:
            yield World(fleet, port)


async def test_a_bad_route_among_good_ones_stays_behind_alone(world: World) -> None:
    first = [route(f"r{at}", "/a", f"h{at}.test", "shared.test", mark="first") for at in range(12)]
    world.fleet.write("us/r.yaml", first)
    await world.fleet.settled()
    asked = Clients(world.port)
    async with asyncio.TaskGroup() as tasks:
        for at in range(12):
            tasks.create_task(asked.ask(f"h{at}", lambda got: (got[0], got[1].get("x-mark")), f"h{at}.test", "/a"), name=f"client {at}")
        await asked.more("h11", 5)
        second = [route(f"r{at}", BAD if at in (3, 8) else "/a", f"h{at}.test", "shared.test", mark="second") for at in range(12)]
        world.fleet.write("us/r.yaml", [*second, route("new", "/a", "new.test"), route("new-bad", BAD, "new-bad.test")])
        await world.bad("r3", "r8", "new-bad")
        await asked.more("h11", 5)
        asked.stop()
    for at in range(12):
        assert set(asked.answers[f"h{at}"]) == {(200, "first")} | ({(200, "second")} if at not in (3, 8) else set())
        assert await world.ask(f"h{at}.test") == (200, "first" if at in (3, 8) else "second")
    assert await world.ask("new.test") == (200, "new")
    assert await world.ask("new-bad.test") == (404, None)
    rows = {row.name: row for row in await world.fleet.problems()}
    assert rows.keys() == {"r3", "r8", "new-bad"}
    assert {(row.kind, row.reason, row.file) for row in rows.values()} == {("HTTPRoute", "ProxyRefused", "us/r.yaml")}
    assert "its last accepted version stays in effect" in rows["r3"].message
    assert "it has no effect" in rows["new-bad"].message

    world.fleet.write("us/r.yaml", [*(route(f"r{at}", "/a", f"h{at}.test", mark="third") for at in range(12))])
    await world.bad()
    assert [await world.ask(f"h{at}.test") for at in (3, 4, 8)] == [(200, "third")] * 3
    assert await world.fleet.problems() == ()


async def test_a_bad_route_that_comes_back_is_known_at_once(world: World) -> None:
    """The proxy is not asked again about content that it refused."""
    good, bad = [route("r", "/a", "r.test"), route("s", "/a", "s.test")], [route("r", BAD, "r.test"), route("s", "/a", "s.test")]
    for _ in range(3):
        world.fleet.write("us/r.yaml", good)
        await world.bad()
        world.fleet.write("us/r.yaml", bad)
        await world.bad("r")
        assert await world.ask("r.test") == (200, "r")


async def test_a_bad_route_of_many_hosts_of_a_large_table(world: World) -> None:
    """Of 450 hosts each lies in one of 64 RouteConfigurations, of which those with hosts of the bad route are refused."""
    many = [route(f"r{at}", "/a", f"h{at}.test") for at in range(450)]
    hosts = [f"b{at}.test" for at in range(12)]
    world.fleet.write("us/many.yaml", many)
    world.fleet.write("us/bad.yaml", [route("bad", "/a", *hosts, mark="good")])
    await world.routes(451)
    await world.fleet.settled()
    changed = [route(f"r{at}", "/a", f"h{at}.test", mark="changed") if at % 3 == 0 else each for at, each in enumerate(many)]
    world.fleet.write("us/bad.yaml", [route("bad", BAD, *hosts)])
    world.fleet.write("us/many.yaml", changed)
    await world.bad("bad")
    await world.fleet.until(lambda: world.versions()["r0"] == 2)
    await world.bad("bad")
    assert {await world.ask(host) for host in hosts} == {(200, "good")}
    assert {await world.ask(f"h{at}.test") for at in range(0, 450, 33)} == {(200, "changed")}
