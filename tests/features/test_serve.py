"""Flota in a Kubernetes cluster, installed by its plain manifests with exactly their roles: Gateways get proxies, objects are told what
became of them, and neither a replica that dies nor a roll-out costs a request."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from conformance.install import documents, install
from rig.api import Api, Object, RefusedError
from rig.harness import Rig, missing, running

PODS, GATEWAYS = "/api/v1/namespaces/{}/pods", "/apis/gateway.networking.k8s.io/v1/namespaces/{}/gateways"
LOAD = """
import http.client, json, sys, time
address, host, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
end, answers, worst = time.monotonic() + seconds, {}, 0.0
connection = None
while time.monotonic() < end:
    began = time.monotonic()
    try:
        connection = connection or http.client.HTTPConnection(address, 80, timeout=5)
        connection.request("GET", "/", headers={"host": host})
        answer = connection.getresponse()
        answer.read()
        said = str(answer.status)
        if answer.will_close:
            connection.close()
            connection = None
    except (OSError, http.client.HTTPException) as error:
        said, connection = type(error).__name__, None
    answers[said] = answers.get(said, 0) + 1
    worst = max(worst, time.monotonic() - began)
    time.sleep(0.005)
print(json.dumps({"answers": answers, "worst": worst}))
"""
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    if why := missing(nodes=True):
        pytest.skip(why)
    with running("us", nodes=1) as found:
        install(found, lambda _: None)
        yield found


@pytest.fixture
async def api(rig: Rig) -> AsyncIterator[Api]:
    async with rig.api() as found:
        yield found


def echo(namespace: str) -> list[Object]:
    """A namespace under PodSecurity `restricted`, with an echo server behind a Service."""
    container = {
        "name": "echo",
        "image": "echo-basic:rig",
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    template = {"metadata": {"labels": {"app": "echo"}}, "spec": {"securityContext": security, "containers": [container]}}
    meta = {"name": "echo", "namespace": namespace}
    service = {"selector": {"app": "echo"}, "ports": [{"port": 80, "targetPort": 3000}]}
    spec = {"selector": {"matchLabels": {"app": "echo"}}, "template": template}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": RESTRICTED}},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec},
    ]


def gateway(namespace: str, name: str = "web", **spec: Any) -> Object:
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    meta = {"name": name, "namespace": namespace}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": meta,
        "spec": {"gatewayClassName": "flota", "listeners": listeners, **spec},
    }  # fmt: skip


def route(namespace: str, name: str = "echo", host: str = "echo.test", *parents: str) -> Object:
    meta = {"name": name, "namespace": namespace}
    rules = [{"backendRefs": [{"name": "echo", "port": 80}]}]
    spec = {"parentRefs": [{"name": each} for each in parents or ("web",)], "hostnames": [host], "rules": rules}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": meta, "spec": spec}


async def until(check: Callable[[], Any], seconds: float = 60.0) -> Any:
    async with asyncio.timeout(seconds):
        while True:
            found = await check()
            if found:
                return found
            await asyncio.sleep(0.1)


async def get(api: Api, path: str) -> Object:
    try:
        return await api.call("GET", path)
    except RefusedError:
        return {}


async def programmed(api: Api, namespace: str, name: str = "web") -> str:
    """Address of the Gateway, once it is programmed and has one."""

    async def look() -> str:
        found = await get(api, f"{GATEWAYS.format(namespace)}/{name}")
        status = found.get("status", {})
        generation = found.get("metadata", {}).get("generation")
        wanted = ("Programmed", "True", generation)
        good = any((each["type"], each["status"], each.get("observedGeneration")) == wanted for each in status.get("conditions", ()))
        return str(status["addresses"][0]["value"]) if good and status.get("addresses") else ""

    return str(await until(look))


async def apply(api: Api, *objects: Object) -> None:
    for each in objects:
        await api.apply(each, "people")


async def answer(rig: Rig, address: str, host: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *rig.inside("curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"host: {host}", f"http://{address}/"),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return out.decode()


async def serves(rig: Rig, address: str, host: str = "echo.test") -> None:
    async def look() -> bool:
        return await answer(rig, address, host) == "200"

    await until(look)


@asynccontextmanager
async def load(rig: Rig, address: str, seconds: float) -> AsyncIterator[dict[str, Any]]:
    """Requests one after the other over a connection that is kept, while the body runs and until the time is over."""
    found: dict[str, Any] = {}
    process = await asyncio.create_subprocess_exec(
        *rig.inside(sys.executable, "-c", LOAD, address, "echo.test", str(seconds)), stdout=asyncio.subprocess.PIPE
    )
    await asyncio.sleep(0.5)
    yield found
    out, _ = await process.communicate()
    found |= json.loads(out)


async def ready_pods(api: Api, namespace: str, selector: str) -> list[Object]:
    listed = await get(api, f"{PODS.format(namespace)}?labelSelector={selector}")
    return [
        each
        for each in listed.get("items", ())
        if not each["metadata"].get("deletionTimestamp")
        and any((one["type"], one["status"]) == ("Ready", "True") for one in each["status"].get("conditions", ()))
    ]


async def replicas(api: Api, count: int) -> list[Object]:
    """Scale Flota, and wait for it."""
    await apply(api, *documents(replicas=count))

    async def look() -> list[Object] | None:
        found = await ready_pods(api, "flota-system", "app.kubernetes.io/name=flota")
        return found if len(found) == count else None

    return list(await until(look))


async def test_a_gateway_is_served_and_told(rig: Rig, api: Api) -> None:
    await apply(api, *echo("told"), gateway("told", infrastructure={"labels": {"team": "a"}}), route("told"))
    address = await programmed(api, "told")
    await serves(rig, address)
    (pod,) = await ready_pods(api, "told", "gateway.networking.k8s.io/gateway-name=web,team=a")
    assert pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    status = (await get(api, f"{GATEWAYS.format('told')}/web"))["status"]
    assert status["listeners"][0]["attachedRoutes"] == 1
    parents = (await get(api, "/apis/gateway.networking.k8s.io/v1/namespaces/told/httproutes/echo"))["status"]["parents"]
    assert {each["type"]: each["status"] for each in parents[0]["conditions"]} == {"Accepted": "True", "ResolvedRefs": "True"}
    features = (await get(api, "/apis/gateway.networking.k8s.io/v1/gatewayclasses/flota"))["status"]["supportedFeatures"]
    assert {"name": "ListenerSet"} in features


async def test_parents_of_another_controller_are_left_alone(api: Api) -> None:
    await apply(api, *echo("shared"), gateway("shared"), route("shared", "echo", "echo.test", "web", "theirs"))
    path = "/apis/gateway.networking.k8s.io/v1/namespaces/shared/httproutes/echo"
    await programmed(api, "shared")

    async def ours() -> Any:
        parents = (await get(api, path)).get("status", {}).get("parents", ())
        return [each for each in parents if each["controllerName"].startswith("flota.dev")]

    await until(ours)
    when = "2026-01-01T00:00:00Z"
    said = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": when, "observedGeneration": 1}
    theirs = {"parentRef": {"name": "theirs"}, "controllerName": "example.org/other", "conditions": [said]}
    held = (await get(api, path))["status"]["parents"]
    await api.call("PATCH", f"{path}/status", {"status": {"parents": [theirs, *held]}}, "application/merge-patch+json")
    changed = route("shared", "echo", "echo.test", "web", "theirs")
    changed["spec"]["rules"][0]["backendRefs"][0]["port"] = 81
    await apply(api, changed)

    async def resolved() -> bool:
        conditions = {each["type"]: each["status"] for each in (await ours())[0]["conditions"]}
        return conditions.get("ResolvedRefs") == "False"

    await until(resolved)
    first, second = (await get(api, path))["status"]["parents"]
    assert (first["controllerName"], first["conditions"]) == ("example.org/other", [said])
    assert second["controllerName"].startswith("flota.dev")
    versions = [(await get(api, path))["metadata"]["resourceVersion"]]
    await asyncio.sleep(1.5)
    versions.append((await get(api, path))["metadata"]["resourceVersion"])
    assert versions[0] == versions[1], "two controllers that write one object must not fight"


async def test_a_new_leader_changes_nothing_and_loses_nothing(rig: Rig, api: Api) -> None:
    await apply(api, *echo("lead"), gateway("lead"), route("lead"))
    address = await programmed(api, "lead")
    await serves(rig, address)
    await replicas(api, 2)
    before = await versions(api, "lead")
    lease = "/apis/coordination.k8s.io/v1/namespaces/flota-system/leases/flota-leader"
    holder = (await get(api, lease))["spec"]["holderIdentity"]
    async with load(rig, address, 15) as counted:
        await api.call("DELETE", f"{PODS.format('flota-system')}/{holder}", {"gracePeriodSeconds": 0})

        async def taken() -> bool:
            return str((await get(api, lease))["spec"].get("holderIdentity", "")) not in ("", holder)

        await until(taken, 40)
        await apply(api, route("lead", "later", "later.test"))
        await serves(rig, address, "later.test")
    assert counted["answers"].keys() == {"200"}
    after = await versions(api, "lead")
    assert after == before, "what was there already is written by no new leader"
    flips = (await get(api, f"{GATEWAYS.format('lead')}/web"))["status"]["conditions"]
    assert {each["type"]: each["status"] for each in flips}["Programmed"] == "True"


async def versions(api: Api, namespace: str) -> dict[str, str]:
    """Of the objects that Flota made for Gateway `web`, without what their own controllers write into them."""
    found = {}
    for path in ("api/v1/namespaces/{}/services", "api/v1/namespaces/{}/serviceaccounts", "api/v1/namespaces/{}/secrets"):
        for each in (await get(api, f"/{path.format(namespace)}"))["items"]:
            if each["metadata"]["name"].startswith("web-flota"):
                found[f"{path}/{each['metadata']['name']}"] = each["metadata"]["resourceVersion"]
    deployment = await get(api, f"/apis/apps/v1/namespaces/{namespace}/deployments/web-flota")
    return {**found, "deployment": str(deployment["metadata"]["generation"])}


async def test_a_proxy_of_any_replica_makes_its_gateway_programmed(api: Api) -> None:
    """With two replicas the proxies of twelve Gateways follow both of them; the leader hears of all."""
    await replicas(api, 2)
    await apply(api, *echo("many"), *(gateway("many", f"g{number}") for number in range(12)))
    for number in range(12):
        await programmed(api, "many", f"g{number}")
    pods = await ready_pods(api, "flota-system", "app.kubernetes.io/name=flota")
    assert len(pods) == 2


async def test_rolling_out_proxies_and_flota_costs_no_request(rig: Rig, api: Api) -> None:
    template = {"apiVersion": "flota.dev/v1alpha1", "kind": "ProxyTemplate", "metadata": {"name": "two", "namespace": "roll"}}
    parameters = {"parametersRef": {"group": "flota.dev", "kind": "ProxyTemplate", "name": "two"}}
    await apply(api, *echo("roll"), {**template, "spec": {"replicas": 2}}, gateway("roll", infrastructure=parameters), route("roll"))
    address = await programmed(api, "roll")
    await serves(rig, address)
    async with load(rig, address, 25) as counted:
        began = time.monotonic()
        await apply(api, {**template, "spec": {"replicas": 2, "podAnnotations": {"rolled": "out"}}})

        async def rolled() -> bool:
            found = await ready_pods(api, "roll", "gateway.networking.k8s.io/gateway-name=web")
            return len(found) == 2 and all(each["metadata"].get("annotations", {}).get("rolled") == "out" for each in found)

        await until(rolled)
        await replicas(api, 1)
        assert time.monotonic() - began < 60
    assert counted["answers"].keys() == {"200"}, counted
