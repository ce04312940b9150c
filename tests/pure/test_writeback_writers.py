"""Who writes: one write per real change, nothing without the lead, bursts counted once, nobody's conditions fought over."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from routing_fleets import GATEWAY, fleet, with_objects

from flota.clock import SystemClock
from flota.fleet.fleet import Cluster
from flota.fleet.meta import Key
from flota.kube.errors import ApiError
from flota.kube.resource import Resource
from flota.latest import Latest
from flota.routing.planner import Planner
from flota.writeback.conditions import Delivered
from flota.writeback.errands import Errands
from flota.writeback.held import Held, HeldMeta, Ref
from flota.writeback.picture import Picture
from flota.writeback.pki import Pair, new_authority
from flota.writeback.pods import PodSettings
from flota.writeback.proxywriter import Credentials, ProxyWriter
from flota.writeback.statuswriter import StatusWriter

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROUTE = """
kind: HTTPRoute
metadata: {name: r%d}
spec: {parentRefs: [{name: gw}], rules: [{backendRefs: [{name: none, port: 80}]}]}
"""


class Time:
    """A clock that stands still until it is moved."""

    at = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.at


class Server:
    """Objects as an API server holds them, and what was asked of it."""

    def __init__(self) -> None:
        self.held: dict[Ref, Held] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.answers: list[ApiError] = []
        self.applied: dict[tuple[str, str], Any] = {}
        self._version = 0

    def has(self, *refs: Ref) -> None:
        for ref in refs:
            self._version += 1
            self.held[ref] = Held(HeldMeta(f"uid-{ref[2]}", str(self._version), 1))

    def get_held(self, ref: Ref) -> Held | None:
        return self.held.get(ref)

    async def get(self, resource: Resource, name: str, namespace: str = "") -> bytes | ApiError:
        found = self.applied.get((resource.kind, name))
        return ApiError(404, "NotFound", "") if found is None else msgspec.json.encode(found)

    async def apply(self, resource: Resource, name: str, body: Any, namespace: str = "", *, subresource: str = "") -> bytes | ApiError:
        self.calls.append(("apply", resource.kind, name))
        if self.answers:
            return self.answers.pop(0)
        self.applied[resource.kind, name] = body
        return self._stored((resource.kind, namespace, name), body.get("status", {}))

    async def merge(self, resource: Resource, name: str, body: Any, namespace: str = "", *, subresource: str = "") -> bytes | ApiError:
        self.calls.append(("merge", resource.kind, name))
        if self.answers:
            return self.answers.pop(0)
        held = self.held[resource.kind, namespace, name]
        if body["metadata"]["resourceVersion"] != held.metadata.resource_version:
            return ApiError(409, "Conflict", "it has changed")
        return self._stored((resource.kind, namespace, name), body["status"])

    def _stored(self, ref: Ref, status: Any) -> bytes:
        self._version += 1
        held = self.held.get(ref) or Held(HeldMeta("uid", "", 1))
        new = Held(HeldMeta(held.metadata.uid, str(self._version), 1), {**held.status, **status})
        self.held[ref] = new
        metadata = {"uid": new.metadata.uid, "resourceVersion": new.metadata.resource_version, "generation": 1}
        return msgspec.json.encode({"metadata": metadata, "status": new.status})


class Heldings:
    """The objects of a `Server`, known at once."""

    def __init__(self, server: Server) -> None:
        self.get = server.get_held

    def wrote(self, ref: Ref, before: Held, after: Held) -> None:
        """Known already."""


def picture(*texts: str) -> Picture:
    import yaml

    documents = [each for text in texts for each in yaml.safe_load_all(text) if each]
    it = fleet(with_objects(Cluster("us", "us-east"), documents), own_proxies=frozenset({"us"}))
    return Picture("us", it, Planner().plan(it))


async def settled() -> None:
    """Until everything that can be done now is done: nothing here waits for anything but turns."""
    for _ in range(200):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def statuses(
    server: Server,
    first: Picture,
    leads: Callable[[], bool] = lambda: True,
    delivered: Callable[[Key], Delivered] = lambda _: Delivered(1),
    clock: Time | None = None,
) -> AsyncIterator[tuple[StatusWriter, Latest[Picture | None]]]:
    cell: Latest[Picture | None] = Latest(first)
    writer = StatusWriter(server, cell, delivered, ("A",), leads, clock or Time())  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(writer.work(Heldings(server)), name="work")  # type: ignore[arg-type]
        writer.look()
        await settled()
        yield writer, cell
        working.cancel()


GATEWAY_REF: Ref = ("Gateway", "default", "gw")
ROUTES: list[Ref] = [("HTTPRoute", "default", f"r{number}") for number in range(3)]


async def test_what_is_as_wanted_is_not_written_again() -> None:
    server = Server()
    server.has(GATEWAY_REF, *ROUTES[:1])
    async with statuses(server, picture(GATEWAY, ROUTE % 0)) as (writer, _):
        assert sorted(server.calls) == [("apply", "Gateway", "gw"), ("merge", "HTTPRoute", "r0")]
        writer.errands.ask([GATEWAY_REF, *ROUTES])
        await settled()
        assert len(server.calls) == 2


async def test_nobody_writes_without_the_lead() -> None:
    server = Server()
    server.has(GATEWAY_REF)
    async with statuses(server, picture(GATEWAY), leads=lambda: False):
        assert server.calls == []


async def test_conditions_that_others_add_are_not_fought_over() -> None:
    server = Server()
    server.has(GATEWAY_REF)
    async with statuses(server, picture(GATEWAY)) as (writer, _):
        held = server.held[GATEWAY_REF]
        # What the server answered to our write held a condition of somebody else's too.
        held.status["conditions"] = [*held.status["conditions"], {"type": "Theirs", "status": "True"}]
        writer.errands.ask([GATEWAY_REF])
        await settled()
        assert len(server.calls) == 1


async def test_a_conflict_is_tried_again_with_what_is_there_then() -> None:
    server = Server()
    server.has(*ROUTES[:1])
    server.answers = [ApiError(409, "Conflict", "")]
    clock = Time()
    async with statuses(server, picture(GATEWAY, ROUTE % 0), clock=clock) as (writer, _):
        clock.at += 1
        writer.errands.ask([("Gateway", "default", "other")])
        await settled()
        assert server.calls == [("merge", "HTTPRoute", "r0")] * 2
        assert writer.failures == {}


async def test_a_refused_write_is_told() -> None:
    server = Server()
    server.has(GATEWAY_REF)
    server.answers = [ApiError(403, "Forbidden", "no right")]
    async with statuses(server, picture(GATEWAY)) as (writer, _):
        assert writer.failures == {GATEWAY_REF: "Forbidden: no right"}


async def test_a_burst_of_routes_is_counted_once() -> None:
    server = Server()
    server.has(GATEWAY_REF)
    clock = Time()
    async with statuses(server, picture(GATEWAY), clock=clock) as (writer, cell):
        for count in (1, 2, 3):
            cell.set(picture(GATEWAY, *(ROUTE % number for number in range(count))))
            writer.look()
            await settled()
            clock.at += 0.2
        assert server.calls == [("apply", "Gateway", "gw")], "the count still moves"
        clock.at += 1
        writer.errands.ask([("Gateway", "default", "other")])  # wakes the workers, who look at the clock
        await settled()
        assert server.calls == [("apply", "Gateway", "gw")] * 2
        assert server.held[GATEWAY_REF].status["listeners"][0]["attachedRoutes"] == 3


async def test_an_acknowledgement_is_written_at_once() -> None:
    server, known = Server(), {"it": Delivered()}
    server.has(GATEWAY_REF)
    async with statuses(server, picture(GATEWAY), delivered=lambda _: known["it"]) as (writer, _):
        listener = server.held[GATEWAY_REF].status["listeners"][0]
        assert {each["type"]: each["reason"] for each in listener["conditions"]}["Programmed"] == "Pending"
        known["it"] = Delivered(1)
        writer.delivered([("default", "gw")])
        await settled()
        listener = server.held[GATEWAY_REF].status["listeners"][0]
        assert {each["type"]: each["reason"] for each in listener["conditions"]}["Programmed"] == "Programmed"


@contextlib.asynccontextmanager
async def proxies(server: Server, first: Picture) -> AsyncIterator[tuple[ProxyWriter, Latest[Picture | None]]]:
    cell: Latest[Picture | None] = Latest(first)


    def files(pair: Pair, _: bytes) -> dict[str, bytes]:
        return {"tls.crt": pair.certificate, "tls.key": pair.key}

    credentials = Credentials(new_authority(datetime.now(UTC)), lambda group: f"spiffe://x/{group}", files)
    writer = ProxyWriter(server, cell, PodSettings(), credentials, lambda: True, Wall())  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(writer.work(Heldings(server)), name="work")  # type: ignore[arg-type]
        writer.look()
        await settled()
        yield writer, cell
        working.cancel()


class Wall(Time):
    """Certificates are judged by the real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)


KINDS = ["Secret", "ServiceAccount", "Deployment", "PodDisruptionBudget", "Service"]


async def test_proxies_are_applied_once_and_again_when_something_differs() -> None:
    server = Server()
    server.has(GATEWAY_REF)
    async with proxies(server, picture(GATEWAY)) as (writer, cell):
        assert [kind for _, kind, _ in server.calls] == KINDS
        writer.errands.ask([("default", "gw")])
        await settled()
        assert len(server.calls) == len(KINDS)
        cell.set(picture(GATEWAY.replace("port: 80", "port: 81")))
        writer.look()
        await settled()
        assert [kind for _, kind, _ in server.calls[len(KINDS) :]] == ["Service"]


async def test_a_gateway_that_is_not_accepted_keeps_what_it_has() -> None:
    server = Server()
    server.has(GATEWAY_REF)
    async with proxies(server, picture(GATEWAY.replace("value: 127.0.0.10", "type: Hostname, value: a.test"))):
        assert server.calls == []


async def test_a_write_that_fails_stops_the_others_and_is_told() -> None:
    server = Server()
    server.has(GATEWAY_REF)
    server.answers = [ApiError(403, "Forbidden", "no right")]
    async with proxies(server, picture(GATEWAY)) as (writer, _):
        assert [kind for _, kind, _ in server.calls] == ["Secret"]
        assert writer.failures == {("default", "gw"): "Forbidden: no right"}


async def test_errands_take_each_key_once_and_never_twice_at_a_time() -> None:
    seen: list[str] = []
    busy: set[str] = set()
    errands: Errands[str] = Errands(SystemClock())

    async def do(key: str) -> float | None:
        assert key not in busy
        busy.add(key)
        seen.append(key)
        await asyncio.sleep(0.02)
        busy.discard(key)
        return 0.03 if seen.count(key) == 1 and key == "again" else None

    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(errands.work(do), name="work")
        errands.ask(["a", "a", "again"])
        errands.ask(["later"], 0.1)
        await asyncio.sleep(0.01)
        errands.ask(["a"])  # while it is being looked at
        for _ in range(500):
            await asyncio.sleep(0.02)
            if len(seen) == 5:
                break
        working.cancel()
    assert sorted(seen) == ["a", "a", "again", "again", "later"]
    assert seen.index("later") > seen.index("again")
