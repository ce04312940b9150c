"""Flota in a cluster of the rig, as an administrator would install it."""

import asyncio

from rig.api import Api, Object
from rig.build import Say, UnavailableError
from rig.harness import Rig

CLASS = "flota"
_NAMESPACE = "flota-system"
_LIMIT_S = 120.0


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


def documents() -> list[Object]:
    """Everything of an installation."""
    account = {"name": "flota", "namespace": _NAMESPACE}
    container = {
        "name": "flota",
        "image": "flota:rig",
        "command": ["flota", "serve"],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "FLOTA_CLUSTER_NAME", "value": "conformance"},
            {"name": "FLOTA_METRICS_ADDRESS", "value": "0.0.0.0:9090"},
            {"name": "FLOTA_PROXY_IMAGE", "value": "envoy:rig"},
            {"name": "FLOTA_PROXY_REPLICAS", "value": "1"},
            {"name": "FLOTA_PROXY_DRAIN_S", "value": "5"},
        ],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 9090}, "periodSeconds": 1},
    }
    labels = {"app.kubernetes.io/name": "flota"}
    template = {"metadata": {"labels": labels}, "spec": {"serviceAccountName": "flota", "containers": [container]}}
    controller = {"controllerName": "flota.dev/gateway-controller"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "flota"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", **account}],
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": account,
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": account,
            "spec": {"selector": labels, "ports": [{"name": "xds", "port": 18000}]},
        },
        {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": CLASS}, "spec": controller},
    ]
