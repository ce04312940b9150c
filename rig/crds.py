"""The resource definitions that a fresh cluster gets, from the Go module cache: nothing of them is kept here."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import yaml

from rig.api import Api, Object
from rig.build import MODULES, module_folder

_PINS = MODULES / "crds"
GATEWAY_API = ("sigs.k8s.io/gateway-api", "config/crd/experimental")
MULTI_CLUSTER = ("sigs.k8s.io/mcs-api", "config/crd")


def documents() -> list[Object]:
    """All objects of the Gateway API (experimental channel) and of the Multi-Cluster Services API. Raises build.UnavailableError."""
    folders = [module_folder(module, _PINS) / inside for module, inside in (GATEWAY_API, MULTI_CLUSTER)]
    return [document for folder in folders for path in sorted(folder.glob("*.yaml")) for document in parsed(path) if "metadata" in document]


def parsed(path: Path) -> Iterable[Object]:
    """The documents of a YAML file."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [document for document in yaml.load_all(path.read_text(), loader) if document]


async def install(api: Api, found: list[Object]) -> None:
    """Apply definitions and wait until they are served; then the rest, which may refer to them."""
    definitions = [document for document in found if document["kind"] == "CustomResourceDefinition"]
    await asyncio.gather(*(_served(api, document) for document in definitions))
    for document in found:
        if document["kind"] != "CustomResourceDefinition":
            await api.apply(document)


async def _served(api: Api, document: Object) -> None:
    await api.apply(document)
    name = document["metadata"]["name"]
    async for event, found in api.watch("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", f"fieldSelector=metadata.name%3D{name}"):
        if event != "SYNCED" and {"Established": "True"}.items() <= conditions(found).items():
            return


def conditions(found: Object) -> dict[str, str]:
    """Type → status of an object's conditions."""
    return {each["type"]: each["status"] for each in found.get("status", {}).get("conditions") or []}
