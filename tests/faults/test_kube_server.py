"""A real API server that dies, and a real etcd that is put back to what it was: the source ends up as the server is, and says so."""

import asyncio
import contextlib
import random
import shutil
import sys
from pathlib import Path

import pytest

from flota.clock import SystemClock
from flota.kube.errors import ApiError
from flota.kube.kubeconfig import load_context
from flota.sources.kube import KubeSource, Target
from rig import components, crds
from rig.build import API_SERVER, ETCD, place
from rig.harness import missing
from rig.plane import Plane, Wanted, clear

sys.path.insert(0, str(Path(__file__).parents[1] / "features"))
from kube_harness import Api, client, until

ROUTE = "gateway.networking.k8s.io/v1"
pytestmark = pytest.mark.slow


def route(name, host="a.example"):
    spec = {"hostnames": [host], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}
    return {"apiVersion": ROUTE, "kind": "HTTPRoute", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


class Cluster:
    """A control plane whose parts can be ended and started again."""

    def __init__(self, plane):
        self.plane = plane
        self.folder = plane.wanted.folder

    async def end(self, *names):
        for process in [each for each in self.plane._running if each.name in names]:
            await process.stop(0)
            self.plane.runner.forget(process.name)
            self.plane._running.remove(process)

    async def down(self):
        await self.end("us-controllers", "us-api", "etcd")

    async def up(self):
        plan = self.plane.plans[0]
        client_port = int(plan.etcd.rpartition(":")[2])
        self.plane.run("etcd", place(ETCD), components.etcd(self.folder / "etcd", client_port, client_port + 1))
        process = self.plane.run("us-api", place(API_SERVER), components.api_server(plan, "RBAC"))
        async with self.plane.api(plan) as api:
            await self.plane._ready(api, process)

    def back_up(self):
        shutil.copytree(self.folder / "etcd", self.folder / "backup")

    def restore(self):
        shutil.rmtree(self.folder / "etcd")
        (self.folder / "backup").rename(self.folder / "etcd")


@pytest.fixture
async def cluster(tmp_path):
    if why := missing():
        pytest.skip(why)
    folder = tmp_path / "rig"
    clear(folder)
    plane = Plane(Wanted(folder=folder, clusters=("us",)), lambda _: None)
    try:
        await plane.start(crds.documents())
        yield Cluster(plane)
    finally:
        await plane.stop()


async def test_a_server_that_dies_and_a_store_that_is_put_back(cluster):
    access = load_context((cluster.plane.kubeconfig,))
    async with client(access, field_manager="test") as found, client(access) as own:
        api = Api(found)
        source = KubeSource([Target("us", own)], SystemClock(), random.Random(1).random)
        task = asyncio.create_task(source.run(), name="source")

        def routes():
            clusters = source.fleet.get().clusters
            return {name: each.spec.hostnames[0] for (_, name), each in clusters["us"].http_routes.items()} if clusters else None

        def live():
            return all(each != "Blind" for each in source.readers["us"].sight().values()) and not source.problems.get()

        await api.apply(route("kept"), route("changed", "old.example"))
        await until(lambda: routes() == {"kept": "a.example", "changed": "old.example"})
        kept = source.fleet.get().clusters["us"].http_routes["default", "kept"]

        await cluster.down()
        await until(lambda: any(each.reason == "Unreachable" for each in source.problems.get()))
        assert routes() == {"kept": "a.example", "changed": "old.example"}, "what is known stays"
        cluster.back_up()
        await cluster.up()
        await until(live, 60)
        assert source.fleet.get().clusters["us"].http_routes["default", "kept"] is kept

        await api.apply(route("changed", "new.example"), *(route(f"lost{number}") for number in range(20)))
        await until(lambda: len(routes()) == 22)
        await cluster.down()
        cluster.restore()
        await cluster.up()
        await until(lambda: routes() == {"kept": "a.example", "changed": "old.example"}, 60)
        await until(live, 60)
        assert any(each.reflector.counts.restored for each in source.readers["us"]._kinds.values())
        await api.apply(route("after"))
        await until(lambda: "after" in routes())
        assert not task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert not isinstance(await found.read("/readyz"), ApiError)
