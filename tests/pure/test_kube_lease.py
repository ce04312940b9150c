"""Leader election against a Lease in memory; the time is the test's own."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from flota.kube.errors import ApiError
from flota.kube.lease import LeaderElection, Lease, Times

TIMES = Times(lease_s=15, renew_s=10.0, retry_s=2.0)
START = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """A clock on which sleepers wait, and the one Lease."""

    def __init__(self):
        self.time = 0.0
        self.sleepers = []
        self.lease = None
        self.version = 0
        self.down = set()
        self.order = itertools.count()

    def clock(self, skew=0.0):
        world = self

        class Clock:
            def now(self):
                return START + timedelta(seconds=world.time + skew)

            def monotonic(self):
                return world.time

        return Clock()

    async def sleep(self, seconds):
        woken = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.time + seconds, next(self.order), woken))
        await woken

    async def until(self, time):
        await self.settle()
        while self.sleepers and min(self.sleepers)[0] <= time:
            first = min(self.sleepers)
            self.sleepers.remove(first)
            self.time = first[0]
            if not first[2].done():
                first[2].set_result(None)
            await self.settle()
        self.time = time

    async def settle(self):
        for _ in range(20):
            await asyncio.sleep(0)


class Server:
    """What one candidate sees of the Lease."""

    def __init__(self, world, name):
        self.world, self.name = world, name

    def failed(self):
        return ApiError(0, "Unreachable", "cut") if self.name in self.world.down else None

    async def get(self, resource, name, namespace=""):
        return self.failed() or (self.world.lease or ApiError(404, "NotFound", "none"))

    async def create(self, resource, body, namespace=""):
        if self.world.lease is not None:
            return ApiError(409, "AlreadyExists", "there")
        return self.failed() or self.store(body)

    async def replace(self, resource, name, body, namespace=""):
        held = msgspec.json.decode(self.world.lease, type=Lease)
        if held.metadata.resource_version != body.metadata.resource_version:
            return ApiError(409, "Conflict", "changed")
        return self.failed() or self.store(body)

    def store(self, body):
        self.world.version += 1
        body = msgspec.json.decode(msgspec.json.encode(body), type=Lease)
        body.metadata.resource_version = str(self.world.version)
        self.world.lease = msgspec.json.encode(body)
        return self.world.lease


@pytest.fixture
def world():
    return World()


@pytest.fixture
async def start(world):
    tasks, events = [], []

    def begin(name, skew=0.0):
        election = LeaderElection(
            Server(world, name), "flota-system", "flota", name, clock=world.clock(skew), jitter=lambda: 0.0,
            changed=lambda leads: events.append((round(world.time, 3), name, leads)), times=TIMES, sleep=world.sleep,
        )
        task = asyncio.create_task(election.run(), name=name)
        tasks.append(task)
        election.task = task
        return election

    begin.events = events
    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_first_leads_and_keeps_it(world, start):
    a, b = start("a"), start("b", skew=3600)
    await world.until(600)
    assert a.leads()
    assert not b.leads()
    assert b.holder == "a"
    assert start.events == [(0, "a", True)]


async def test_a_leader_that_cannot_renew_stops_before_another_starts(world, start):
    start("a")
    await world.until(1)
    start("b", skew=-3600)
    await world.until(30)
    world.down.add("a")
    await world.until(100)
    stopped = next(time for time, name, leads in start.events if (name, leads) == ("a", False))
    began = next(time for time, name, leads in start.events if (name, leads) == ("b", True))
    assert 30 < stopped <= 30 + TIMES.renew_s
    assert stopped < began <= 30 + TIMES.lease_s + 2 * TIMES.retry_s
    world.down.clear()
    await world.until(200)
    assert start.events[-1] == (began, "b", True)
    assert msgspec.json.decode(world.lease, type=Lease).spec.lease_transitions == 1


async def test_at_no_time_do_two_lead(world, start):
    candidates = [start(name) for name in "abc"]
    for second in range(1, 400):
        world.down = {name for number, name in enumerate("abc") if (second // (17 + 6 * number)) % 2}
        await world.until(second)
        assert sum(each.leads() for each in candidates) <= 1, second
    assert len({name for _, name, leads in start.events if leads}) == 3


async def test_one_that_goes_gives_the_lease_up(world, start):
    a = start("a")
    await world.until(1)
    start("b")
    await world.until(20)
    a.task.cancel()
    await world.until(23)
    assert [(name, leads) for _, name, leads in start.events] == [("a", True), ("a", False), ("b", True)]


async def test_a_hanging_server_does_not_keep_a_leader_in_office(world, monkeypatch):
    """In real time, short: the request itself hangs."""
    events, heard = [], asyncio.Event()

    def changed(leads):
        events.append(leads)
        heard.set()

    server = Server(world, "a")
    loop = asyncio.get_running_loop()

    class Clock:
        def now(self):
            return START

        def monotonic(self):
            return loop.time()

    election = LeaderElection(server, "n", "l", "a", clock=Clock(), jitter=lambda: 0.0, changed=changed,
                              times=Times(lease_s=1, renew_s=0.3, retry_s=0.05))  # fmt: skip
    task = asyncio.create_task(election.run(), name="a")
    async with asyncio.timeout(10):
        await heard.wait()
    heard.clear()

    async def hang(*_args):
        await asyncio.Event().wait()

    monkeypatch.setattr(server, "replace", hang)
    async with asyncio.timeout(10):
        await heard.wait()
    assert events == [True, False]
    assert not election.leads()
    assert election.trouble is not None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
