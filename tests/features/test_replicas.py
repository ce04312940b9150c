"""Replicas tell each other what their proxies have acknowledged."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime

import pytest
from ads_harness import until

from flota.app import replicas
from flota.app.acks import NodeReport, Nodes, delivered
from flota.app.replicas import Acknowledgements, Peers, gateways
from flota.clock import SystemClock
from flota.envoy.ads import AdsServer
from flota.envoy.doors import TlsDoor, gateway_uri
from flota.envoy.protos import load
from flota.latest import Latest
from flota.writeback.pki import CONTROL_PLANE_URI, client_context, issue, new_authority, server_context

NOW = datetime.now(UTC)
AUTHORITY = new_authority(NOW)
GROUP = "us/shop/web"


class Replica:
    """A replica as others see it."""

    def __init__(self, uri: str = CONTROL_PLANE_URI) -> None:
        self.known: dict[str, Nodes] = {}
        self.service = Acknowledgements(lambda group: self.known.get(group, {}))
        self.door = TlsDoor("127.0.0.1", 0, server_context(AUTHORITY.certificate, issue(AUTHORITY, uri, NOW)))
        self.server = AdsServer(self.door, load(), SystemClock(), services=[self.service])

    def tell(self, **nodes: NodeReport) -> None:
        self.known[GROUP] = nodes
        self.service.changed([GROUP])

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[tuple[str, int]]:
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.server.serve(ready), name="replica")
            await ready.wait()
            try:
                yield self.door.address
            finally:
                task.cancel()


@contextlib.asynccontextmanager
async def leader(addresses: Iterable[tuple[str, int]], uri: str = CONTROL_PLANE_URI) -> AsyncIterator[tuple[Peers, list[str]]]:
    moved: list[str] = []
    peers = Peers(client_context(AUTHORITY.certificate, issue(AUTHORITY, uri, NOW)), SystemClock(), moved.extend)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(peers.run(Latest(frozenset(addresses))), name="peers")
        try:
            yield peers, moved
        finally:
            task.cancel()


async def test_the_leader_hears_of_proxies_that_follow_others() -> None:
    one, two = Replica(), Replica()
    one.tell(a=NodeReport({"l": "1"}))
    async with one.serving() as first, two.serving() as second, leader([first, second]) as (peers, moved):
        await until(lambda: peers.nodes(GROUP) == {"a": NodeReport({"l": "1"})})
        two.tell(b=NodeReport({"l": "2"}, {"l": ("3", "no")}))
        await until(lambda: peers.nodes(GROUP).keys() == {"a", "b"})
        one.tell()
        await until(lambda: peers.nodes(GROUP) == {"b": NodeReport({"l": "2"}, {"l": ("3", "no")})})
        assert set(gateways(moved)) == {("shop", "web")}


async def test_what_a_replica_told_counts_a_little_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "RETRY_S", 0.05)
    monkeypatch.setattr(replicas, "GRACE_S", 0.5)
    one = Replica()
    one.tell(a=NodeReport({"l": "1"}))
    async with contextlib.AsyncExitStack() as stack:
        serving = contextlib.AsyncExitStack()
        address = await serving.enter_async_context(one.serving())
        peers, moved = await stack.enter_async_context(leader([address]))
        await until(lambda: peers.nodes(GROUP))
        moved.clear()
        await serving.aclose()
        assert peers.nodes(GROUP)
        assert not moved
        await until(lambda: not peers.nodes(GROUP))
        assert moved == [GROUP]


@pytest.mark.parametrize(("asks", "tells"), [(gateway_uri(GROUP), CONTROL_PLANE_URI), (CONTROL_PLANE_URI, gateway_uri(GROUP))])
async def test_a_proxy_neither_asks_nor_tells(asks: str, tells: str) -> None:
    one = Replica(tells)
    one.tell(a=NodeReport({"l": "1"}))
    async with one.serving() as address, leader([address], asks) as (peers, _):
        await asyncio.sleep(0.5)
        assert not peers.nodes(GROUP)


@pytest.mark.parametrize(
    ("nodes", "connected", "pending", "refused", "behind"),
    [
        ({}, 0, set(), {}, ()),
        ({"g/a": NodeReport({"x": "1", "y": "1"})}, 1, set(), {}, ()),
        ({"g/a": NodeReport({"x": "1"}), "g/b": NodeReport({"y": "1"})}, 2, set(), {}, ("a", "b")),
        ({"g/a": NodeReport({"x": "0", "y": "1"})}, 1, {"x"}, {}, ()),
        ({"g/a": NodeReport({"y": "1"}, {"x": ("1", "no")})}, 1, set(), {"x": "no"}, ()),
        ({"g/a": NodeReport({"x": "0", "y": "1"}, {"x": ("0", "no")})}, 1, {"x"}, {}, ()),
        ({"g/a": NodeReport({"y": "1"}, {"x": ("1", "no")}), "g/b": NodeReport({"x": "1", "y": "1"})}, 2, set(), {}, ("a",)),
    ],
)
def test_one_proxy_that_has_it_is_enough(
    nodes: Nodes, connected: int, pending: set[str], refused: dict[str, str], behind: tuple[str, ...]
) -> None:
    found = delivered({"x": "1", "y": "1"}, nodes)
    assert (found.connected, set(found.pending), found.refused, found.behind) == (connected, pending, refused, behind)
