"""What `whatif` predicts is what a real Envoy does once the loss has really happened: random fleets, shares within 3 points."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import msgspec
import pytest
from ads_harness import free_port, until
from aiohttp import web
from plan_harness import Proxy, entry, http_listener, plan, running_proxy, table, to

from flota.fleet.core import Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Service, ServicePort, ServiceSpec
from flota.fleet.drain import Drain
from flota.fleet.fleet import Cluster, Fleet
from flota.fleet.mcs import ServiceExport, ServiceImport, ServiceImportPort, ServiceImportSpec
from flota.fleet.meta import ObjectMeta
from flota.fleet.policy import (
    LocalPolicyTargetReferenceWithSectionName,
    Places,
    Spill,
    TierMember,
    TrafficPolicy,
    TrafficPolicySpec,
)
from flota.fleet.references import MCS_GROUP
from flota.plan import Plan, ProxyPlan
from flota.routing.backends import Resolved, resolve
from flota.routing.view import BackendKey, RouteKey, Views
from flota.routing.whatif import Outlook, whatif

KEY = ("default", "shop")
REQUESTS = 4_000
"""One standard deviation of a share is at most 0.8 points then."""
CLUSTERS = ("us", "us-2", "eu", "ap")
REGIONS = {"us": "us", "us-2": "us", "eu": "eu", "ap": "ap"}


def fleet_of(dice: random.Random, port: int) -> Fleet:
    """Clusters of random size, some with zones, and perhaps a policy."""
    clusters = {}
    for number, name in enumerate(CLUSTERS[: dice.randint(2, 4)]):
        zones = dice.choice([(None,), ("a", "b")])
        addresses = [f"127.77.{number}.{each + 1}" for each in range(dice.randint(1, 5))]
        found = tuple(Endpoint((each,), EndpointConditions(ready=True), zone=dice.choice(zones)) for each in addresses)
        meta = ObjectMeta("shop-1", labels={"kubernetes.io/service-name": "shop"})
        clusters[name] = Cluster(
            name,
            REGIONS[name],
            services={KEY: Service(ObjectMeta("shop"), ServiceSpec((ServicePort(80, "http"),)))},
            endpoint_slices={("default", "shop-1"): EndpointSlice(meta, "IPv4", found, (EndpointPort(port, "http"),))},
            service_exports={KEY: ServiceExport(ObjectMeta("shop"))},
            service_imports={KEY: ServiceImport(ObjectMeta("shop"), ServiceImportSpec("ClusterSetIP", (ServiceImportPort(80, "http"),)))},
        )
    far = {("us", "eu"): 80.0, ("us", "ap"): 200.0}
    return Fleet("shop", clusters, far, {("default", "shop"): policy_of(dice, list(clusters))})


def policy_of(dice: random.Random, names: list[str]) -> TrafficPolicy:
    ref = LocalPolicyTargetReferenceWithSectionName(MCS_GROUP, "ServiceImport", "shop")
    prefer = dice.choice(["Nearest", "Weights", "Order"])
    members = tuple(TierMember(each, weight=dice.randint(1, 9)) for each in dice.sample(names, dice.randint(1, len(names))))
    tiers = {"Nearest": (), "Weights": (members,), "Order": (members[:1], members[1:]) if members[1:] else (members,)}[prefer]
    spill = Spill(dice.choice(["100%", "70%", "40%"]))
    forbid = Places(clusters=("ap",)) if dice.random() < 0.2 else None
    return TrafficPolicy(ObjectMeta("shop"), TrafficPolicySpec((ref,), prefer=prefer, tiers=tiers, forbid=forbid, spill=spill))


def planned(fleet: Fleet) -> tuple[Plan, ProxyPlan, int]:
    """The plan of `us` alone, a proxy that serves it, and the proxy's port."""
    found = resolve(Views().refresh(fleet)["us"], BackendKey(MCS_GROUP, "ServiceImport", *KEY, 80), RouteKey("HTTPRoute", *KEY), "HTTP")
    assert isinstance(found, Resolved)
    hosts = table({"*": [entry(to(found.backend))]})
    listener = http_listener(hosts)
    proxy = plan([listener], [hosts], [found.backend], [found.endpoints])
    return Plan({"us": proxy}, {}, ()), proxy, listener.port


@asynccontextmanager
async def backends(fleet: Fleet) -> AsyncIterator[dict[tuple[str, str], AsyncExitStack]]:
    """A server for each endpoint, that answers with the name of its cluster; each ends with its stack."""
    running: dict[tuple[str, str], AsyncExitStack] = {}
    async with AsyncExitStack() as everything:
        for name, cluster in fleet.clusters.items():
            for piece in cluster.endpoint_slices.values():
                for each in piece.endpoints:
                    stack = await everything.enter_async_context(AsyncExitStack())
                    await _serve(stack, name, each.addresses[0], piece.ports[0].port)
                    running[name, each.zone or ""] = running.get((name, each.zone or ""), AsyncExitStack())
                    running[name, each.zone or ""].push_async_callback(stack.aclose)
        yield running


async def _serve(stack: AsyncExitStack, name: str, address: str, port: int) -> None:
    app = web.Application()

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=name)

    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, address, port).start()


async def shares(port: int) -> dict[str, float]:
    """Which cluster answers, over many requests; every one must be answered."""
    counts: Counter[str] = Counter()

    async def some(session: aiohttp.ClientSession, number: int) -> None:
        for _ in range(number):
            async with session.get(f"http://127.0.0.1:{port}/", headers={"host": "a.test"}) as answer:
                counts[await answer.text() if answer.status == 200 else f"status {answer.status}"] += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=20)) as session, asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(some(session, REQUESTS // 20), name=f"client {number}")
    return {name: count / REQUESTS for name, count in counts.items()}


async def healthy(proxy: Proxy) -> int:
    """Endpoints that the proxy believes well."""
    clusters = json.loads(await proxy.admin("/clusters?format=json"))["cluster_statuses"]
    found = [each for each in clusters if each["name"].startswith("serviceimport/")]
    hosts = [host["health_status"] for each in found for host in each.get("host_statuses", ())]
    return sum(not ({"failed_active_health_check", "failed_outlier_check"} & each.keys()) for each in hosts)


def size(proxy: ProxyPlan, lost: Iterable[str] = ()) -> int:
    """Endpoints of the plan outside the places that are lost."""
    gone = set(lost)
    places = [place for tier in next(iter(proxy.endpoints.values())).tiers for place in tier.localities]
    return sum(len(each.endpoints) for each in places if gone.isdisjoint((each.cluster, each.region, each.zone)))


def close(found: dict[str, float], expected: Outlook, *, after: bool) -> None:
    wanted = expected.after if after else expected.before
    assert all(abs(found.get(each, 0.0) - wanted.get(each, 0.0)) <= 0.03 for each in found.keys() | wanted.keys()), (found, wanted)


def losses(seed: int) -> Iterator[tuple[Fleet, str, Outlook, ProxyPlan, int]]:
    """Fleets without end, each with something to lose and what is predicted then."""
    dice = random.Random(seed)
    while True:
        fleet = fleet_of(dice, free_port())
        everything, wanted, port = planned(fleet)
        places = [place for tier in next(iter(wanted.endpoints.values())).tiers for place in tier.localities]
        names = {each for place in places for each in (place.cluster, place.region, place.zone) if each}
        lost = dice.choice(sorted(names))
        yield fleet, lost, whatif(fleet, everything, lose=[lost]).services[0], wanted, port


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
async def test_the_prediction_comes_true(seed: int) -> None:
    """Every second fleet is one that splits what is lost between several places."""
    fleet, lost, predicted, wanted, port = next(
        each for each in losses(seed) if seed % 2 == 0 or (len(each[2].after) > 1 and each[2].after != each[2].before)
    )
    async with backends(fleet) as running, running_proxy() as proxy:
        await proxy.serve(wanted)
        await until(lambda: _counts(proxy, size(wanted)), 10)
        close(await shares(port), predicted, after=False)
        for (name, zone), stack in running.items():
            if lost in (name, REGIONS[name], zone):
                await stack.aclose()
        await until(lambda: _counts(proxy, size(wanted, [lost])), 10)
        if predicted.left:
            close(await shares(port), predicted, after=True)
        else:
            assert set(await shares(port)) == {"status 503"}


async def test_what_drains_serves_where_nothing_else_is_left() -> None:
    dice = random.Random(3)
    fleet = msgspec.structs.replace(fleet_of(dice, free_port()), policies={})
    everything, _, _ = planned(fleet)
    predicted = whatif(fleet, everything, drain=set(REGIONS.values()) & {each.region for each in fleet.clusters.values()}).services[0]
    assert predicted.left
    assert len(predicted.after) == len(fleet.clusters)
    drained = msgspec.structs.replace(fleet, drains=tuple(Drain(each, datetime(2031, 1, 1, tzinfo=UTC)) for each in fleet.clusters))
    _, wanted, port = planned(drained)
    async with backends(fleet), running_proxy() as proxy:
        await proxy.serve(wanted)
        await until(lambda: _counts(proxy, size(wanted)), 10)
        close(await shares(port), predicted, after=True)


async def _counts(proxy: Proxy, expected: int) -> bool:
    return await healthy(proxy) == expected
