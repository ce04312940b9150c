"""Secrets that are read by name: what is wanted, when it changes, and what may go wrong."""

import asyncio
import base64
import contextlib
import json

import pytest
from kube_api import FakeApi, FakeClock, FakeTransport

from flota.fleet.kinds import KINDS
from flota.kube.client import Client
from flota.kube.errors import ApiError
from flota.kube.pace import Pace
from flota.kube.resource import Resource
from flota.sources import byname
from flota.sources.byname import NamedObjects

SECRETS = Resource("", "v1", "secrets", "Secret")
SECRET = next(each for each in KINDS if each.kind == "Secret")
FORBIDDEN = ApiError(403, "Forbidden", "you may not")


class Server(FakeApi):
    """Secrets whose content is only given by name."""

    def __init__(self):
        super().__init__()
        self.listable = True
        self.read = []
        self.trouble = {}

    def refuse(self, query):
        return super().refuse(query) if self.listable else FORBIDDEN

    def secret(self, name, text):
        self.put(name, text)

    def respond(self, path, query):
        name = path.rpartition("/")[2]
        if name == "secrets":
            return super().respond(path, query)
        self.read.append(name)
        held = self.objects[name]
        data = {"text": base64.b64encode(held["value"].encode()).decode()}
        return 200, json.dumps({"metadata": held["metadata"], "data": data}).encode()


class Transport(FakeTransport):
    async def request(self, method, path, query=None, body=None, *, kind="", accept="", within=0):
        name = path.rpartition("/")[2]
        if name in self.api.trouble:
            return self.api.trouble[name]
        if name == "secrets" and not self.api.listable:
            return FORBIDDEN
        if name != "secrets" and name not in self.api.objects:
            return ApiError(404, "NotFound", "no such secret")
        return await super().request(method, path, query, body, kind=kind, accept=accept, within=within)


@pytest.fixture
async def rig(monkeypatch):
    monkeypatch.setattr(byname, "RETRY_S", 0.01)
    monkeypatch.setattr(byname, "POLL_S", 0.02)
    server, clock = Server(), FakeClock()

    async def sleep(seconds):
        clock.time += seconds
        await asyncio.sleep(0)

    def start(listable=True):
        server.listable = listable
        client = Client(Transport(server), jitter=lambda: 0.5, sleep=sleep, attempts=1)
        shared = {"clock": clock, "jitter": lambda: 0.5, "pace": Pace(clock), "notify": lambda: None}
        named = NamedObjects(client, SECRET, SECRETS, **shared)
        named.reflector._sleep = sleep
        tasks.append(asyncio.create_task(named.run(), name="named"))
        return named

    tasks = []
    start.server = server
    yield start
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(what):
    async with asyncio.timeout(5):
        while not what():  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0.001)


def texts(named):
    return {name: each.data["text"].decode() for (_, name), each in named.objects.items()}


async def test_only_what_is_wanted_is_read_and_only_when_it_changes(rig):
    server = rig.server
    for name in ("a", "b", "c"):
        server.secret(name, f"{name}1")
    named = rig()
    await until(lambda: named.settled)
    assert server.read == []
    named.want(frozenset({("n", "a"), ("n", "b")}))
    assert not named.settled
    await until(lambda: texts(named) == {"a": "a1", "b": "b1"})
    assert named.settled
    kept = named.objects["n", "b"]
    server.secret("a", "a2")
    server.secret("c", "c2")
    await until(lambda: texts(named) == {"a": "a2", "b": "b1"})
    assert named.objects["n", "b"] is kept
    named.want(frozenset({("n", "a")}))
    await until(lambda: texts(named) == {"a": "a2"})
    assert server.read == ["a", "b", "a"]


async def test_one_that_is_not_there_is_settled_and_read_when_it_comes(rig):
    named = rig()
    named.want(frozenset({("n", "late")}))
    await until(lambda: named.settled)
    assert named.objects == {}
    rig.server.secret("late", "1")
    await until(lambda: texts(named) == {"late": "1"})
    rig.server.delete("late")
    await until(lambda: named.objects == {})


async def test_one_that_can_not_be_read_just_now_is_tried_again(rig):
    server = rig.server
    server.secret("a", "1")
    server.trouble["a"] = ApiError(500, "InternalError", "no")
    named = rig()
    named.want(frozenset({("n", "a")}))
    await until(lambda: named.trouble is not None)
    assert not named.settled
    server.trouble.clear()
    await until(lambda: texts(named) == {"a": "1"})
    assert named.trouble is None


async def test_without_the_right_to_list_it_is_read_from_time_to_time(rig):
    server = rig.server
    server.secret("a", "1")
    named = rig(listable=False)
    named.want(frozenset({("n", "a"), ("n", "none")}))
    await until(lambda: named.settled)
    assert texts(named) == {"a": "1"}
    server.secret("a", "2")
    await until(lambda: texts(named) == {"a": "2"})
    server.secret("none", "3")
    await until(lambda: texts(named) == {"a": "2", "none": "3"})


async def test_one_that_may_not_be_read_is_settled_and_told(rig):
    rig.server.secret("a", "1")
    rig.server.trouble["a"] = FORBIDDEN
    named = rig()
    named.want(frozenset({("n", "a")}))
    await until(lambda: named.settled)
    assert named.objects == {}
    assert named.trouble == FORBIDDEN


async def test_one_that_makes_no_sense_keeps_its_last_good_version(rig):
    server = rig.server
    server.secret("a", "1")
    named = rig()
    named.want(frozenset({("n", "a")}))
    await until(lambda: texts(named) == {"a": "1"})
    server.put("a", "x")
    server.objects["a"]["metadata"]["labels"] = {"a": 5}
    await until(lambda: ("n", "a") in named.faults)
    assert texts(named) == {"a": "1"}
