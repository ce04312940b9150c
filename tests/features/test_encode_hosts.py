"""Sharded tables against one whole table: whatever the host, and however big the table, the answers are the same."""

import asyncio
import random

import pytest
from ads_harness import until
from plan_harness import (
    backend,
    call,
    echo,
    endpoints,
    entry,
    http_listener,
    listener,
    plan,
    running_proxy,
    table,
    to,
)

from flota.envoy.scope_key import Way
from flota.plan import FilterChain, Respond, RouteTable

HOSTS = [f"h{number}.{zone}.example" for number in range(60) for zone in ("a", "b-c", "x1")]
WILDCARDS = ["*.a.example", "*.example", "*.h1.a.example", "*.test"]


def numbered(domains: list[str], name: str, sharded: bool = True) -> RouteTable:
    """Every host answers with its own name."""
    return table({domain: [entry(Respond(200, f'"{domain}"'))] for domain in domains}, name, sharded)


def spellings(rng: random.Random) -> list[str]:
    made = []
    for _ in range(400):
        odd = ("a.example", "unknown.org", "[::1]", "[::1]:80", "under_score.test", "x" * 200 + ".test")
        host = rng.choice([*HOSTS, f"x.{rng.choice(HOSTS)}", *odd])
        host = "".join(rng.choice([sign, sign.upper()]) for sign in host)
        made.append(host + rng.choice(["", "", ":80", ":8080", ":", ".", ":abc", ":1:2", ".:80", "-"]))
    return made


@pytest.mark.parametrize("way", ["module", "cel"])
async def test_same_answers_as_one_whole_table(way: Way) -> None:
    whole = numbered([*HOSTS, *WILDCARDS], "whole", sharded=False)
    sharded = numbered([*HOSTS, *WILDCARDS], "sharded")
    one, other = http_listener(whole), http_listener(sharded)
    async with running_proxy(way) as proxy:
        await proxy.serve(plan([one, other], [whole, sharded]))
        assert len(proxy.encoder.snapshot(plan([one, other], [whole, sharded]))) == 6
        answers = set()
        for host in spellings(random.Random(5)):
            expected = await call(one.port, host=host)
            got = await call(other.port, host=host, headers={"x-flota-scope": "m/0"})
            assert (got[0], got[2]) == (expected[0], expected[2]), host
            answers.add((got[0], got[2]))
        assert len(answers) > 100


@pytest.mark.parametrize("way", ["module", "cel"])
async def test_no_wrong_answer_while_a_table_grows_and_shrinks(way: Way) -> None:
    """1, 8, 64 and 256 RouteConfigurations behind the keys and back, and hosts that come and go, under requests."""
    of = "default/gw/http"
    socket = http_listener(numbered([], of))
    kept = [f"kept{number}.test" for number in range(30)]
    wrong: list[tuple[str, object]] = []
    asked = 0

    async def ask() -> None:
        nonlocal asked
        rng = random.Random(1)
        while True:
            host = rng.choice(kept)
            status, _, got = await call(socket.port, host=host)
            asked += 1
            if (status, got) != (200, host):
                wrong.append((host, status))

    async with running_proxy(way) as proxy:
        await proxy.serve(plan([socket], [numbered(kept, of)]))
        asking = asyncio.create_task(ask(), name="ask")
        for size in (20, 100, 600, 1600, 500, 50, 0):
            await proxy.serve(plan([socket], [numbered([*kept, *(f"more{number}.test" for number in range(size))], of)]))
            assert (await call(socket.port, host="more0.test"))[0] == (200 if size else 404)
            before = asked
            await until(lambda: asked > before + 20)  # noqa: B023
        asking.cancel()
    assert not wrong


async def test_new_host_is_never_answered_wrongly() -> None:
    """Before its acknowledgement 404, after it 200: never a 503 or 500 of a route whose backend is not there yet."""
    socket = http_listener(table({}))
    async with running_proxy() as proxy, echo("one") as port:
        await proxy.serve(plan([socket], [table({})]))
        hosts: dict[str, list[object]] = {}
        backends, behind = [], []
        for number in range(20):
            fresh = backend(f"svc{number}")
            backends.append(fresh)
            behind.append(endpoints(f"svc{number}", [port]))
            hosts = {**hosts, f"new{number}.test": [entry(to(fresh))]}
            serving = asyncio.create_task(proxy.serve(plan([socket], [table(hosts)], backends, behind)), name="serve")
            seen = []
            while not serving.done():
                seen.append((await call(socket.port, host=f"new{number}.test"))[0])
            await serving
            seen.append((await call(socket.port, host=f"new{number}.test"))[0])
            assert seen[-1] == 200
            assert seen == sorted(seen, reverse=True)
            assert set(seen) <= {404, 200}


async def test_tables_of_two_listeners_do_not_mix() -> None:
    first, second = numbered(["a.test"], "first"), numbered(["b.test"], "second")
    one, other = http_listener(first), http_listener(second)
    async with running_proxy() as proxy:
        await proxy.serve(plan([one], [first]))
        await proxy.serve(plan([one, other], [first, second]))
        assert [(await call(each.port, host=host))[0] for each in (one, other) for host in ("a.test", "b.test")] == [200, 404, 404, 200]
        both = listener(FilterChain("chain", table="second"), port=other.port)
        await proxy.serve(plan([both], [second]))
        assert (await call(other.port, host="b.test"))[0] == 200
