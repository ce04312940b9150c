"""The ADS server with a real Envoy: what is published is served, in an order that never shows, whatever is refused or dies."""

import asyncio
import contextlib
import json
import socket
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from ads_harness import (
    ADS,
    Maker,
    backend,
    free_port,
    get,
    running_envoy,
    running_server,
    short_folder,
    silence,
    snapshot,
    until,
)

from flota.envoy.ads import AdsServer
from flota.envoy.events import Ack, Connected, Disconnected, Event, Overdue, Refusal
from flota.envoy.protos import load
from flota.envoy.wire import CDS, EDS, LDS, RDS, SRDS, Resource


@pytest.fixture(scope="module")
def make() -> Maker:
    return Maker(load())


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield Path(path)


def shop(make: Maker, port: int, backend_port: int, names: tuple[str, ...] = ("a",)) -> list[Resource]:
    """A listener with one table: host NAME.test goes to cluster NAME."""
    out = [make.listener("l", port, "r"), make.routes("r", {f"{name}.test": name for name in names})]
    for name in names:
        out += [make.cluster(name), make.endpoints(name, backend_port)]
    return out


@contextlib.asynccontextmanager
async def probing(port: int, host: str, answers: set[tuple[int, str]]) -> AsyncIterator[None]:
    """Requests one after the other while the body runs; every answer goes into `answers`."""

    async def probe() -> None:
        while True:
            answers.add(await get(port, host))

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(probe(), name="probe")
        yield
        running.cancel()


async def served(port: int, **headers: str) -> tuple[int, str]:
    """The first answer; a listener that was acknowledged opens a moment later."""

    async def answer() -> tuple[int, str] | None:
        found = await get(port, **headers)
        return found if found[0] else None

    return await until(answer)  # type: ignore[no-any-return]


async def settle(server: AdsServer, *resources: Resource, proxy: str = "us") -> None:
    server.publish(proxy, snapshot(*resources))
    assert await server.wait_settled(proxy, 10) == set()


async def test_what_is_published_is_served_and_acknowledged(folder: Path, make: Maker) -> None:
    events: list[Event] = []
    port = free_port()
    async with backend("one") as one, running_server(folder, events.append) as server:
        assert (folder / "ads").stat().st_mode & 0o777 == 0o600
        resources = shop(make, port, one)
        server.publish("us", snapshot(*resources))
        async with running_envoy(folder):
            assert await server.wait_settled("us", 10) == set()
            await until(lambda: is_ok(port, "a.test"))
            assert server.connected("us") == 1
            for type_url, those in snapshot(*resources).items():
                assert {n: server.acknowledged("us", type_url, n) for n in those} == {n: r.version for n, r in those.items()}
            assert await get(port, "b.test") == (404, "")
        await until(lambda: server.connected("us") == 0)
        assert server.acknowledged("us", LDS, "l") == resources[0].version
        assert await server.wait_settled("us", 0.01) != set()
    assert isinstance(events[0], Connected)
    assert isinstance(events[-1], Disconnected)


async def is_ok(port: int, host: str) -> bool:
    return (await get(port, host))[0] == 200


async def test_new_routes_answer_only_not_yet_and_then_right(folder: Path, make: Maker) -> None:
    port = free_port()
    async with backend("one") as one, running_server(folder) as server, running_envoy(folder):
        names: tuple[str, ...] = ("a",)
        await settle(server, *shop(make, port, one, names))
        await until(lambda: is_ok(port, "a.test"))
        for i in range(20):
            answers: set[tuple[int, str]] = set()
            names = (*names, f"n{i}")
            async with probing(port, f"n{i}.test", answers):
                server.publish("us", snapshot(*shop(make, port, one, names)))
                await until(lambda answers=answers: (200, "one") in answers)
            assert answers <= {(404, ""), (200, "one")}


async def test_a_route_that_changes_its_cluster_and_one_that_goes_lose_nothing(folder: Path, make: Maker) -> None:
    port = free_port()
    async with backend("one") as one, backend("two") as two, running_server(folder) as server, running_envoy(folder) as envoy:
        listener = make.listener("l", port, "r")
        answers: set[tuple[int, str]] = set()
        await settle(server, listener, make.routes("r", {"a.test": "x"}), make.cluster("x"), make.endpoints("x", one))
        await until(lambda: is_ok(port, "a.test"))
        async with probing(port, "a.test", answers):
            for i in range(20):
                name, where = f"c{i}", (one, two)[i % 2]
                new = [make.routes("r", {"a.test": name}), make.cluster(name), make.endpoints(name, where)]
                await settle(server, listener, *new)
                assert (await get(port, "a.test"))[1] == ("one", "two")[i % 2]
        assert answers == {(200, "one"), (200, "two")}
        clusters = await envoy.admin("/clusters")
        assert "c19::" in clusters
        assert "c18::" not in clusters


async def test_a_cluster_that_is_not_warm_holds_up_its_own_route_only(folder: Path, make: Maker) -> None:
    """Its health check takes 0.6 s to fail; Envoy acknowledges no cluster until then."""
    port, quick = free_port(), free_port()
    async with backend("one") as one, silence() as silent, running_server(folder) as server, running_envoy(folder):
        base = shop(make, port, one)
        await settle(server, *base)
        check = {"timeout": "0.6s", "interval": "5s", "unhealthy_threshold": 1, "healthy_threshold": 1, "http_health_check": {"path": "/"}}
        slow = make.cluster("slow", health_checks=[check])
        base += [slow, make.endpoints("slow", silent), make.routes("rs", {"*": "slow"})]
        base += [make.scope("s", "rs", "k"), make.scoped_listener("ls", quick, [(SRDS, "s"), (CDS, "slow")])]
        server.publish("us", snapshot(*base))
        await until(lambda: server.acknowledged("us", EDS, "slow"))
        assert server.acknowledged("us", CDS, "slow") is None
        base[0:2] = [make.listener("l", port, "r"), make.routes("r", {"a.test": "a", "b.test": "a"})]
        server.publish("us", snapshot(*base))
        await until(lambda: is_ok(port, "b.test"), 0.5)
        assert server.acknowledged("us", LDS, "ls") is None
        assert await server.wait_settled("us", 5) == set()
        assert server.acknowledged("us", LDS, "ls") is not None


BAD_CLUSTERS = {
    "config": {"type": "EDS", "eds_cluster_config": {}},
    "validation": {"connect_timeout": "-1s"},
}


@pytest.mark.parametrize("how", BAD_CLUSTERS)
async def test_a_refused_cluster_is_named_and_harms_no_other(folder: Path, make: Maker, how: str) -> None:
    port, events = free_port(), list[Event]()
    async with backend("one") as one, running_server(folder, events.append) as server, running_envoy(folder):
        bad = make.cluster("bad", **BAD_CLUSTERS[how])
        await settle(server, *shop(make, port, one, ("a", "b", "c", "d", "e")), bad)
        await until(lambda: is_ok(port, "e.test"))
        assert server.refused("us").keys() == {(CDS, "bad")}
        assert [(e.name, e.version) for e in events if isinstance(e, Refusal)] == [("bad", bad.version)]
        await settle(server, *shop(make, port, one, ("a", "b", "c", "d", "f")), bad)
        assert len([e for e in events if isinstance(e, Refusal)]) == 1
        await settle(server, *shop(make, port, one), make.cluster("bad"), make.endpoints("bad", one))
        assert server.refused("us") == {}


async def test_a_refused_listener_and_a_refused_table_keep_what_was(folder: Path, make: Maker) -> None:
    port, other = free_port(), free_port()
    async with backend("one") as one, running_server(folder) as server, running_envoy(folder):
        base = shop(make, port, one)
        await settle(server, *base)
        same_port = make.listener("same", port, "r")
        await settle(server, *base, same_port, make.listener("good", other, "r2"), make.routes("r2", {"*": "a"}))
        assert server.refused("us").keys() == {(LDS, "same")}
        await until(lambda: is_ok(other, "x"))
        vhosts = [{"name": n, "domains": ["*"]} for n in ("x", "y")]
        double = make.make(RDS, {"name": "r", "virtual_hosts": vhosts})
        moved = make.routes("r2", {"z.test": "a"})
        await settle(server, base[0], double, *base[2:], make.listener("good", other, "r2"), moved)
        said = server.refused("us")[RDS, "r"]
        assert "Only a single wildcard domain" in said.message
        assert await get(port, "a.test") == (200, "one")
        assert await get(other, "z.test") == (200, "one")
        assert server.acknowledged("us", RDS, "r") == base[1].version


async def test_a_refused_listener_does_not_hold_up_the_next(folder: Path, make: Maker) -> None:
    """With no listener left Envoy acknowledges scopes without asking for their tables: nothing may wait for those."""
    events: list[Event] = []

    def scoped(name: str, port: int) -> list[Resource]:
        needs = [(RDS, f"table-{name}"), (SRDS, f"scope-{name}")]
        return [
            make.routes(f"table-{name}", {"*": "c"}),
            make.scope(f"scope-{name}", f"table-{name}", name),
            make.scoped_listener(name, port, needs),
        ]

    async with backend("one") as port, running_server(folder, events.append) as server, running_envoy(folder):
        shared, free = [make.cluster("c"), make.endpoints("c", port)], free_port()
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = other.getsockname()[1]
            first = scoped("first", taken)
            server.publish("us", snapshot(*shared, *first))
            await until(lambda: server.refused("us"))
            server.publish("us", snapshot(*shared, *first, *scoped("second", free)))
            await until(lambda: server.acknowledged("us", LDS, "second"))
            assert [event for event in events if isinstance(event, Overdue)] == []
            assert await served(free, x_key="second") == (200, "one")
        await until(lambda: server.acknowledged("us", LDS, "first"))
        assert await served(taken, x_key="first") == (200, "one")


async def test_scopes_in_conflict_cost_only_one_of_them(folder: Path, make: Maker) -> None:
    port = free_port()
    async with backend("one") as one, running_server(folder) as server, running_envoy(folder):
        base = [make.cluster("a"), make.endpoints("a", one), make.routes("r", {"*": "a"})]
        base += [make.scope("s1", "r", "k1"), make.scoped_listener("l", port, [(SRDS, "s1")])]
        await settle(server, *base)
        await settle(server, *base, make.scope("s2", "r", "k1"), make.scope("s3", "r", "k3"))
        assert server.refused("us").keys() == {(SRDS, "s2")}
        await until(lambda: keyed(port, "k3"))
        assert await keyed(port, "k1")


async def keyed(port: int, key: str) -> bool:
    return (await get(port, "x", x_key=key))[0] == 200


async def test_a_new_listener_takes_over_an_address(folder: Path, make: Maker) -> None:
    port = free_port()
    async with backend("one") as one, running_server(folder) as server, running_envoy(folder):
        base = shop(make, port, one)
        await settle(server, *base)
        await settle(server, make.listener("successor", port, "r"), *base[1:])
        assert server.refused("us") == {}
        assert server.acknowledged("us", LDS, "l") is None
        await until(lambda: is_ok(port, "a.test"))


async def test_missing_and_shared_endpoints_do_not_hold_a_cluster_up(folder: Path, make: Maker) -> None:
    """Without an answer, or if an answer were not repeated for a second user, Envoy would wait for 15 s."""
    port = free_port()
    async with backend("one") as one, running_server(folder) as server, running_envoy(folder):
        base = shop(make, port, one)
        await settle(server, *base, make.cluster("empty"))
        shared = {"name": "second", "type": "EDS", "eds_cluster_config": {"eds_config": ADS, "service_name": "a"}}
        base += [make.cluster("empty"), make.make(CDS, shared, [(EDS, "a")]), make.endpoints("empty", one)]
        base[1] = make.routes("r", {"a.test": "second", "b.test": "empty"})
        await settle(server, *base)
        assert await get(port, "a.test") == (200, "one")
        assert await get(port, "b.test") == (200, "one")
        base[2] = make.cluster("a", connect_timeout="0.7s")
        await settle(server, *base)


async def test_a_server_that_comes_back_sends_the_difference_only(folder: Path, make: Maker) -> None:
    port, answers = free_port(), set[tuple[int, str]]()
    first, second = list[Event](), list[Event]()
    async with backend("one") as one, contextlib.AsyncExitStack() as stack:
        async with running_server(folder, first.append) as server:
            envoy = await stack.enter_async_context(running_envoy(folder))
            await settle(server, *shop(make, port, one, ("a", "b", "c")))
            await until(lambda: is_ok(port, "a.test"))
            await stack.enter_async_context(probing(port, "a.test", answers))
        assert not (folder / "ads").exists()
        async with running_server(folder, second.append) as server:
            await until(lambda: server.connected("us") == 1)
            received = await envoy.stat("cluster.ads.upstream_cx_rx_bytes_total")
            await settle(server, *shop(make, port, one, ("a", "d")))
            await until(lambda: is_ok(port, "d.test"))
            assert await get(port, "b.test") == (404, "")
            received = await envoy.stat("cluster.ads.upstream_cx_rx_bytes_total") - received
            assert "b::" not in await envoy.admin("/clusters")
        acks = [(e.type_url, e.versions, e.seconds) for e in second if isinstance(e, Ack)]
        sent = {(t, n) for t, versions, seconds in acks if seconds for n in versions}
        kept = {(t, n) for t, versions, seconds in acks if not seconds for n in versions}
        assert sent == {(CDS, "d"), (EDS, "d"), (RDS, "r"), (CDS, "b"), (CDS, "c")}
        assert kept == {(CDS, "a"), (EDS, "a"), (LDS, "l")}
        assert received < 2000
        assert answers == {(200, "one")}


async def test_a_server_without_a_snapshot_takes_nothing_away(folder: Path, make: Maker) -> None:
    port = free_port()
    async with backend("one") as one, contextlib.AsyncExitStack() as stack:
        async with running_server(folder) as server:
            await stack.enter_async_context(running_envoy(folder))
            await settle(server, *shop(make, port, one))
        events: list[Event] = []
        async with running_server(folder, events.append) as server:
            await until(lambda: server.connected("us") == 1)
            assert await server.wait_settled("us", 0.3) == set()
            assert [type(e) for e in events] == [Connected]
            assert server.acknowledged("us", CDS, "a") is not None
            assert await get(port, "a.test") == (200, "one")


async def test_a_hot_restart_has_two_streams_of_one_proxy(folder: Path, make: Maker) -> None:
    port, answers = free_port(), set[tuple[int, str]]()
    base_id = str(20_000 + free_port() % 10_000)
    async with backend("one") as one, running_server(folder) as server:
        server.publish("us", snapshot(*shop(make, port, one)))
        async with running_envoy(
            folder, "us", "--base-id", base_id, "--restart-epoch", "0", "--parent-shutdown-time-s", "2", "--drain-time-s", "1"
        ):
            await until(lambda: is_ok(port, "a.test"))
            async with running_envoy(
                folder, "us", "--base-id", base_id, "--restart-epoch", "1", "--parent-shutdown-time-s", "2", "--drain-time-s", "1"
            ):
                await until(lambda: server.connected("us") == 2)
                assert await server.wait_settled("us", 10) == set()
                async with probing(port, "a.test", answers):
                    await until(lambda: server.connected("us") == 1)
                    await settle(server, *shop(make, port, one, ("a", "b")))
                assert await get(port, "b.test") == (200, "one")
        assert answers == {(200, "one")}


async def test_proxies_get_their_own(folder: Path, make: Maker, tmp_path: Path) -> None:
    ports = {"us": free_port(), "eu": free_port()}
    async with backend("one") as one, running_server(folder) as server, contextlib.AsyncExitStack() as stack:
        for node, port in ports.items():
            server.publish(node, snapshot(*shop(make, port, one, (node,))))
            await stack.enter_async_context(running_envoy(folder, node, admin=f"admin-{node}"))
        for node, port in ports.items():
            assert await server.wait_settled(node, 10) == set()
            await until(lambda port=port, node=node: is_ok(port, f"{node}.test"))
        assert server.acknowledged("us", CDS, "eu") is None


async def test_a_thousand_pushes(folder: Path, make: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    port, events = free_port(), list[Event]()
    async with backend("one") as one, running_server(folder, events.append) as server, running_envoy(folder):
        base = shop(make, port, one)
        await settle(server, *base)
        events.clear()
        started, cpu = time.monotonic(), time.process_time()
        for i in range(1000):
            await settle(server, *base[:3], make.endpoints("a", one, *([one] * (i % 7 + 1))))
        took, cpu = time.monotonic() - started, time.process_time() - cpu
        seconds = sorted(e.seconds for e in events if isinstance(e, Ack))
        assert len(seconds) == 1000
        assert server.acknowledged("us", EDS, "a") is not None
    figures = {"p50 ms": statistics.median(seconds) * 1e3, "p99 ms": seconds[989] * 1e3, "cpu us": cpu * 1e3, "all s": took}
    with capsys.disabled():
        print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


async def test_a_burst_is_gathered(folder: Path, make: Maker) -> None:
    port, events = free_port(), list[Event]()
    names = tuple(f"n{i}" for i in range(300))
    async with backend("one") as one, running_server(folder, events.append) as server, running_envoy(folder):
        for count in range(1, 301, 3):
            server.publish("us", snapshot(*shop(make, port, one, names[:count])))
            await asyncio.sleep(0)
        await settle(server, *shop(make, port, one, names))
        assert await get(port, "n299.test") == (200, "one")
        # A push of its own for each of the 100 would be acknowledged for clusters, endpoints and routes: 300 times at least.
        assert len([e for e in events if isinstance(e, Ack)]) < 150
