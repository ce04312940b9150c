"""Reflector against an API server in memory: whatever goes wrong, the cache ends up as the server is."""

import asyncio
import contextlib
import gc
import tracemalloc

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kube_api import FakeApi, FakeClock, FakeTransport

from flota.kube import reflector as module
from flota.kube.cache import Undecodable
from flota.kube.client import Client
from flota.kube.errors import ApiError
from flota.kube.pace import Pace
from flota.kube.reflector import VERIFY_S, Reflector
from flota.kube.resource import Resource

THINGS = Resource("test.io", "v1", "things", "Thing")


class Thing(msgspec.Struct, frozen=True):
    value: int


def decode(raw, before):
    try:
        thing = msgspec.json.decode(raw, type=Thing)
    except msgspec.ValidationError as error:
        return Undecodable("Invalid", str(error))
    return before if thing == before else thing


@pytest.fixture(autouse=True, scope="module")
def only_what_is_noticed():
    """The regular look at everything would heal every mistake in time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "VERIFY_S", float("inf"))
        yield


class Rig:
    """A reflector that runs, and its server."""

    def __init__(self, **options):
        self.api = FakeApi(**options)
        self.clock = FakeClock()
        self.waits = []
        self.told = 0
        client = Client(FakeTransport(self.api), jitter=lambda: 0.5, sleep=self.sleep)
        self.reflector = Reflector(client, THINGS, decode, clock=self.clock, jitter=lambda: 0.5, pace=Pace(self.clock), notify=self.notify,
                                   sleep=self.sleep)  # fmt: skip

    def notify(self):
        self.told += 1

    async def sleep(self, seconds):
        self.waits.append(seconds)
        self.clock.time += seconds
        await asyncio.sleep(0)

    @property
    def cache(self):
        return self.reflector.cache

    def is_right(self):
        good = {name: thing["value"] for name, thing in self.api.objects.items() if isinstance(thing["value"], int)}
        bad = {name for name, thing in self.api.objects.items() if not isinstance(thing["value"], int)}
        held = {name: thing.value for (_, name), thing in self.cache.objects.items()}
        known_bad = {name for _, name in self.cache.faults}
        return self.reflector.state.live and known_bad == bad and {n: v for n, v in held.items() if n not in bad} == good

    async def until(self, what=None, rounds=3000):
        for _ in range(rounds):
            if (what or self.is_right)():
                return True
            await asyncio.sleep(0)
        return False

    async def settle(self):
        for _ in range(60):
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(**options):
    rig = Rig(**options)
    task = asyncio.create_task(rig.reflector.run(), name="reflector")
    try:
        yield rig
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("streaming", [True, False])
async def test_what_is_there_and_what_comes(streaming):
    async with running(streaming=streaming) as rig:
        for number in range(700):
            rig.api.put(f"t{number}", number)
        assert await rig.until()
        assert len(rig.cache.objects) == 700
        rig.api.put("t1", -1)
        rig.api.delete("t2")
        assert await rig.until()
        assert set(rig.cache.take()) >= {("n", "t1"), ("n", "t2")}
        assert set(rig.cache.take()) == set()
        assert rig.reflector.counts.lists == (1 if streaming else 2)


async def test_a_stream_that_ends_is_gone_on_with_without_a_list():
    async with running() as rig:
        rig.api.put("a", 1)
        assert await rig.until()
        rig.api.finish()
        rig.api.put("a", 2)
        assert await rig.until()
        rig.api.cut(middle=True)
        rig.api.put("b", 3)
        assert await rig.until()
        assert rig.reflector.counts.lists == 1


async def test_an_expired_version_is_listed_again_and_unchanged_objects_stay_the_same():
    async with running() as rig:
        rig.api.put("a", 1)
        rig.api.put("gone", 1)
        assert await rig.until()
        kept = rig.cache.objects["n", "a"]
        list(rig.cache.take())
        rig.api.each_stream(lambda stream: stream.say(b"", end=ApiError(0, "Unreachable", "cut")))
        rig.api.delete("gone")
        rig.api.compact()
        assert await rig.until()
        assert rig.cache.objects["n", "a"] is kept
        assert set(rig.cache.take()) == {("n", "gone")}
        assert rig.reflector.counts.lists == 2


async def test_nothing_is_forgotten_while_the_server_is_silent():
    async with running() as rig:
        rig.api.put("a", 1)
        assert await rig.until()
        rig.api.answers = [ApiError(0, "Unreachable", "refused")] * 10_000
        rig.api.cut()
        assert await rig.until(lambda: rig.clock.time > 4600), "an hour"
        assert rig.cache.objects["n", "a"] == Thing(1)
        state = rig.reflector.state
        assert (state.synced, state.live, state.trouble.reason) == (True, False, "Unreachable")
        assert state.blind_since == 1000.0
        assert max(rig.waits) <= 30
        assert len([each for each in rig.api.requests if each[0] == "WATCH"]) < 600
        rig.api.answers.clear()
        rig.api.put("b", 2)
        assert await rig.until()
        assert rig.reflector.state.blind_since is None


async def test_a_list_that_breaks_in_the_middle_takes_nothing_away():
    async with running(streaming=False) as rig:
        for number in range(600):
            rig.api.put(f"t{number:03}", number)
        assert await rig.until()
        rig.api.compact()
        rig.api.put("x", 1)
        rig.api.compact()
        # the watch, the check, the first page, the second page …
        rig.api.answers = [None, None, None, *[ApiError(500, "InternalError", "no")] * 5]
        rig.api.cut()
        least = 601
        for _ in range(400):
            await asyncio.sleep(0)
            least = min(least, len(rig.cache.objects))
        assert least >= 600
        assert await rig.until()


async def test_a_store_that_was_restored_is_noticed_and_nothing_known_is_believed():
    async with running() as rig:
        rig.api.put("a", 1)
        rig.api.backup()
        rig.api.put("a", 2)
        rig.api.put("b", 2)
        assert await rig.until()
        rig.api.restore()
        rig.api.put("a", 3)  # the version that `a` had before, with another content
        assert await rig.until()
        assert rig.reflector.counts.restored == 1
        assert ("n", "b") not in rig.cache.objects


async def test_versions_that_go_back_within_a_stream_are_noticed():
    async with running() as rig:
        rig.api.put("a", 1)
        assert await rig.until()
        rig.api.garbage(b'{"type":"MODIFIED","object":{"metadata":{"name":"a","namespace":"n","resourceVersion":"3"},"value":7}}')
        assert await rig.until(lambda: rig.reflector.counts.restored == 1)
        assert await rig.until()


async def test_one_that_overtook_us_meanwhile_is_found_by_the_regular_look_at_everything(monkeypatch):
    monkeypatch.setattr(module, "VERIFY_S", VERIFY_S)
    async with running() as rig:
        rig.api.backup()
        rig.api.put("lost", 1)
        assert await rig.until()
        rig.api.restore()
        for number in range(5):
            rig.api.put("a", number)
        await rig.settle()
        assert ("n", "lost") in rig.cache.objects, "nobody can know"
        rig.clock.time += 2 * VERIFY_S
        rig.api.finish()
        assert await rig.until()


async def test_an_undecodable_object_keeps_its_last_good_version():
    async with running() as rig:
        rig.api.put("a", 1)
        rig.api.put("b", "never good")
        assert await rig.until()
        rig.api.put("a", "bad")
        assert await rig.until()
        assert rig.cache.objects == {("n", "a"): Thing(1)}
        assert set(rig.cache.faults) == {("n", "a"), ("n", "b")}
        rig.api.put("a", 2)
        rig.api.delete("b")
        assert await rig.until()
        assert rig.cache.faults == {}


@pytest.mark.parametrize(
    "line", [b"<html>", b"{}", b'{"type":"ADDED"}', b'{"type":"ADDED","object":{"metadata":{}}}', b"\xff\xfe", b"[" * 5000]
)
async def test_a_line_that_is_none_costs_a_list_and_nothing_else(line):
    async with running() as rig:
        rig.api.put("a", 1)
        assert await rig.until()
        rig.api.garbage(line)
        rig.api.put("a", 2)
        assert await rig.until()
        assert rig.reflector.counts.lists == 2


async def test_a_line_too_long_is_skipped(monkeypatch):
    monkeypatch.setattr("flota.kube.lines.Lines.__init__.__defaults__", (4096,))
    async with running() as rig:
        rig.api.put("a", 1)
        rig.api.put("big", 2, text="x" * 10_000)
        assert await rig.until(lambda: rig.reflector.state.live)
        assert "too long" in rig.reflector.state.odd
        rig.api.put("b", 3)
        rig.api.delete("big")
        assert await rig.until(lambda: ("n", "b") in rig.cache.objects)


async def test_a_server_that_asks_for_patience_gets_it():
    async with running() as rig:
        rig.api.answers = [ApiError(429, "TooManyRequests", "later", 7.0)]
        rig.api.put("a", 1)
        assert await rig.until()
        assert rig.waits[0] >= 7.0


async def test_a_server_that_ends_every_stream_at_once_is_not_asked_in_a_loop():
    async with running() as rig:
        rig.api.put("a", 1)
        assert await rig.until()
        asked = len(rig.api.requests)
        for _ in range(50):
            rig.api.finish()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert await rig.until(lambda: sum(rig.waits) > 3)
        assert len(rig.api.requests) - asked < 60


OPERATIONS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from("abcdef"), st.one_of(st.integers(0, 5), st.just("bad"))),
    st.tuples(st.just("delete"), st.sampled_from("abcdef")),
    st.tuples(st.sampled_from(["bookmark", "compact", "backup", "restore", "cut", "cut in a line", "finish"])),
    st.tuples(st.sampled_from(["hang", "settle", "garbage", "410"])),
    st.tuples(st.just("errors"), st.lists(st.sampled_from([0, 401, 403, 404, 410, 429, 500, 503]), min_size=1, max_size=4)),
    st.tuples(st.just("chunks"), st.sampled_from([None, 1, 7, 100])),
)
REASONS = {0: "Unreachable", 401: "Unauthorized", 410: "Expired"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(streaming=st.booleans(), operations=st.lists(OPERATIONS, max_size=25))
def test_after_any_faults_the_cache_equals_the_server(streaming, operations):
    asyncio.run(live_through(streaming, operations))


async def live_through(streaming, operations):
    async with running(streaming=streaming) as rig:
        for operation in operations:
            await suffer(rig, *operation)
        rig.api.answers.clear()
        rig.api.chunk = None
        assert await rig.until(), (rig.reflector.state, rig.cache.objects, rig.api.objects)


async def suffer(rig, what, *given):
    api = rig.api
    match what:
        case "put" | "delete":
            getattr(api, what)(*given)
        case "bookmark" | "compact" | "backup" | "cut" | "finish" | "hang":
            getattr(api, what)()
        case "restore":
            api.restore()
            api.answers.clear()
            # Until it has asked how far the server is: one that overtook us before that can't be told (see above).
            await rig.until(lambda: rig.reflector.state.live)
        case "cut in a line":
            api.cut(middle=True)
        case "garbage":
            api.garbage(b'{"type":"MODIFIED","object":5}')
        case "410":
            api.garbage(b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}')
        case "errors":
            api.answers += [ApiError(code, REASONS.get(code, ""), "fault") for code in given[0]]
            await rig.settle()
        case "chunks":
            api.chunk = given[0]
        case "settle":
            await rig.settle()


async def test_memory_stays_flat_however_much_happens():
    async with running() as rig:
        for number in range(200):
            rig.api.put(f"t{number}", 0)
        assert await rig.until()

        async def churn(rounds):
            for turn in range(rounds):
                for number in range(200):
                    rig.api.put(f"t{number}", turn)
                rig.api.delete("t7")
                await rig.settle()
                list(rig.cache.take())
                rig.api.compact()

        tracemalloc.start()
        await churn(5)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await churn(50)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert rig.reflector.counts.events > 11_000
        assert after - before < 20_000, "bytes, for 10,000 events"
