"""`flota serve` while its API server is out of sight: it stays up and ready, and says what it can't see."""

import asyncio
import contextlib
import re

import aiohttp
import pytest
from kube_harness import Api, admin, client, start_rig, until, way_to

from flota.app.serve import Place
from flota.app.serving import serve
from flota.settings import Settings

GATEWAY = "gateway.networking.k8s.io/v1"


@pytest.fixture(scope="module")
def rig():
    yield from start_rig("us")


def route(name, **spec):
    whole = {"rules": [{"backendRefs": [{"name": "web", "port": 80}]}], **spec}
    return {"apiVersion": GATEWAY, "kind": "HTTPRoute", "metadata": {"name": name, "namespace": "default"}, "spec": whole}


async def test_blind_and_seeing_again(rig, monkeypatch):
    monkeypatch.setattr("flota.sources.kube.BLIND_S", 0.5)
    monkeypatch.setattr("flota.kube.reflector.LONGEST_RESUME_S", 0.5)
    told = []
    settings = Settings(metrics_address="127.0.0.1:0", xds_listen="127.0.0.1:0")
    place = Place("us", "default", "replica-1")
    async with contextlib.AsyncExitStack() as stack:
        way, access = await stack.enter_async_context(way_to(admin(rig, "us")))
        api = Api(await stack.enter_async_context(client(admin(rig, "us"), field_manager="test")))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        serving = asyncio.create_task(serve(access, place, settings, told.append), name="serve")
        await until(lambda: any("/metrics at" in line for line in told))
        address = re.search(r"\('([\d.]+)', (\d+)\)", told[-1])
        assert address is not None
        url = f"http://{address[1]}:{address[2]}"

        async def ready():
            async with http.get(f"{url}/readyz") as answer:
                return answer.status, await answer.text()

        async def live(kind):
            async with http.get(f"{url}/metrics") as answer:
                return f'flota_watch_live{{cluster="us",kind="{kind}"}} 1.0' in await answer.text()

        async def eventually(what, wanted):
            async with asyncio.timeout(20):
                while await what() != wanted:  # noqa: ASYNC110 - what is waited for is no event
                    await asyncio.sleep(0.02)

        await eventually(ready, (200, "ok\n"))
        assert await live("HTTPRoute")
        way.cut()
        await until(lambda: any(line.startswith("APIServer us: Unreachable: ") for line in told))
        await eventually(lambda: live("HTTPRoute"), False)

        async def blind():
            status, text = await ready()
            assert status == 200, "proxies are served what is known"
            return "blind since the API server of us is silent" in text

        await eventually(blind, True)
        way.open = True
        await eventually(ready, (200, "ok\n"))
        await until(lambda: "APIServer us: Unreachable: over" in told)
        await eventually(lambda: live("HTTPRoute"), True)
        await api.apply(route("after"))
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
