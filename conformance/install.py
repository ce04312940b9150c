"""Flota in a cluster of the rig, as an administrator would install it."""

import asyncio
from pathlib import Path

import yaml

from rig.api import Api, Object
from rig.build import Say, UnavailableError
from rig.harness import Rig

CLASS = "flota"
_NAMESPACE = "flota-system"
_LIMIT_S = 120.0
_MANIFESTS = Path(__file__).parents[1] / "install" / "flota.yaml"


def install(rig: Rig, say: Say) -> None:
    """Returns when Flota is ready and its class is accepted. Raises UnavailableError."""
    asyncio.run(_install(rig, say))


async def _install(rig: Rig, say: Say) -> None:
    async with rig.api() as api:
        for document in documents():
            await api.apply(document)
        try:
            async with asyncio.timeout(_LIMIT_S):
                await _until(api, f"/apis/apps/v1/namespaces/{_NAMESPACE}/deployments", "flota", "Available")
                await _until(api, "/apis/gateway.networking.k8s.io/v1/gatewayclasses", CLASS, "Accepted")
        except TimeoutError:
            raise UnavailableError(f"Flota is not ready after {_LIMIT_S:g} s: see {rig.folder}/logs") from None
    say("Flota is ready, its class is accepted")


async def _until(api: Api, folder: str, name: str, condition: str) -> None:
    async for event, found in api.watch(folder, f"fieldSelector=metadata.name%3D{name}"):
        held = {each["type"]: each["status"] for each in (found.get("status") or {}).get("conditions") or ()} if event != "SYNCED" else {}
        if held.get(condition) == "True":
            return


def documents(replicas: int = 1, **settings: str) -> list[Object]:
    """Everything of an installation: the plain manifests as they are, with the rig's images and one proxy per Gateway."""
    given = {"FLOTA_CLUSTER_NAME": "conformance", "FLOTA_PROXY_IMAGE": "envoy:rig", "FLOTA_PROXY_REPLICAS": "1", "FLOTA_PROXY_DRAIN_S": "5"}
    found: list[Object] = [each for each in yaml.safe_load_all(_MANIFESTS.read_text()) if each]
    for document in found:
        if document["kind"] == "Deployment":
            document["spec"]["replicas"] = replicas
            (container,) = document["spec"]["template"]["spec"]["containers"]
            container["image"] = "flota:rig"
            for each in container["env"]:
                each["value"] = {**given, **settings}.get(each["name"], each.get("value", ""))
                if "valueFrom" in each:
                    del each["value"]
    return found
