"""Clusters start, differ, hold what they should, and leave nothing behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from rig.api import RefusedError
from rig.harness import Rig, missing, running


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    if why := missing():
        pytest.skip(why)
    with running("us", "eu") as found:
        yield found


def config_map(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"a": "b"}}


async def test_clusters_on_one_etcd_are_apart(rig: Rig):
    async with rig.api("us") as us, rig.api("eu") as eu:
        await us.apply(config_map("only-us"))
        assert (await us.call("GET", "/api/v1/namespaces/default/configmaps/only-us"))["data"] == {"a": "b"}
        with pytest.raises(RefusedError, match="404"):
            await eu.call("GET", "/api/v1/namespaces/default/configmaps/only-us")


async def test_the_definitions_are_served_in_the_experimental_channel(rig: Rig):
    async with rig.api("eu") as eu:
        found = await eu.call("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/httproutes.gateway.networking.k8s.io")
        notes = found["metadata"]["annotations"]
        assert notes["gateway.networking.k8s.io/channel"] == "experimental"
        assert notes["gateway.networking.k8s.io/bundle-version"] == "v1.6.1"
        assert (await eu.resource("multicluster.x-k8s.io/v1beta1", "ServiceImport")).plural == "serviceimports"


async def test_the_controllers_work(rig: Rig):
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    async with rig.api("us") as us:
        await us.apply({**service, "metadata": {"name": "web", "namespace": "default"}})
        selector = "labelSelector=kubernetes.io/service-name%3Dweb"
        async for event, _ in us.watch("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", selector):
            if event == "ADDED":
                break
        else:
            pytest.fail("the watch ended, and no EndpointSlice was made")


async def test_pod_security_is_enforced(rig: Rig):
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "tight"},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    }
    async with rig.api("us") as us:
        await us.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tight", "labels": label}})
        with pytest.raises(RefusedError, match="violates PodSecurity"):
            await us.apply(pod)


async def test_an_api_server_that_was_killed_comes_back_as_it_was(rig: Rig):
    async with rig.api("eu") as eu:
        await eu.apply(config_map("kept"))
        with rig.down("eu-api"):
            with pytest.raises((aiohttp.ClientError, TimeoutError)):
                await eu.call("GET", "/readyz", seconds=5)
            async with rig.api("us") as us:
                await us.call("GET", "/readyz")
            # Without their API server they end again and again.
            os.kill(rig.pid("eu-controllers"), signal.SIGKILL)
            await asyncio.sleep(4)
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(aiohttp.ClientError, RefusedError, TimeoutError):
                    found = await eu.call("GET", "/api/v1/namespaces/default/configmaps/kept", seconds=5)
                    break
                await asyncio.sleep(0.1)
        assert found["data"] == {"a": "b"}


def test_a_folder_has_one_rig(rig: Rig):
    command = [sys.executable, "-m", "rig", "up", "--state", str(rig.folder)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL, timeout=60)
    assert ended.returncode == 1
    assert "already" in ended.stderr
    assert rig.pid("us-api")


@pytest.mark.timeout(180)
def test_nothing_is_left(tmp_path: Path):
    if why := missing():
        pytest.skip(why)
    with running() as found:
        folder = found.folder
        assert "etcd" in _processes(folder)
    assert not folder.exists()
    assert _processes(folder) == ""


def _processes(folder: Path) -> str:
    return subprocess.run(["pgrep", "-af", f"={folder}/"], capture_output=True, text=True).stdout
