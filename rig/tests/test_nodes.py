"""Pods run, are reached, are told about, and end in good order."""

import asyncio
import contextlib
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from rig.api import Api, Object, RefusedError
from rig.harness import Rig, missing, running


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    if why := missing(nodes=True):
        pytest.skip(why)
    with running("us", "eu", nodes=2) as found:
        yield found


def deployment(name: str, replicas: int = 1, **container: Any) -> Object:
    labels = {"app": name}
    env = [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
    ]
    first = {"name": name, "image": "echo-basic:v1", "env": env} | container
    template = {"metadata": {"labels": labels}, "spec": {"containers": [first]}}
    return named("apps/v1", "Deployment", name, spec={"replicas": replicas, "selector": {"matchLabels": labels}, "template": template})


def service(name: str, port: int = 80, target: int = 3000, protocol: str = "TCP", **spec: Any) -> Object:
    ports = [{"port": port, "targetPort": target, "protocol": protocol}]
    return named("v1", "Service", name, spec={"selector": {"app": name}, "ports": ports} | spec)


def pod(name: str, script: str, **spec: Any) -> Object:
    container = {"name": "c", "image": "busybox", "command": ["/bin/sh", "-c", script]} | spec.pop("container", {})
    return named("v1", "Pod", name, spec={"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 5} | spec)


def named(version: str, kind: str, name: str, **rest: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "default"}, **rest}


def first(pod: Object) -> Object:
    """The status of its first container."""
    return dict((pod["status"].get("containerStatuses") or [{}])[0])


def waiting(pod: Object) -> Object:
    return dict(first(pod).get("state", {}).get("waiting") or {})


async def until(api: Api, path: str, condition: Any) -> Object:
    """The object, once it is as wanted."""
    folder, _, name = path.rpartition("/")
    async with asyncio.timeout(60):
        async for event, found in api.watch(folder, f"fieldSelector=metadata.name%3D{name}"):
            if event in ("ADDED", "MODIFIED") and condition(found):
                return found
    raise AssertionError(path)


async def ended(api: Api, made: Object) -> Object:
    """A pod that has run to its end: its status."""
    await api.apply(made)
    path = f"/api/v1/namespaces/default/pods/{made['metadata']['name']}"
    found = await until(api, path, lambda pod: pod["status"].get("phase") in ("Succeeded", "Failed"))
    return dict(found["status"])


async def available(api: Api, made: Object) -> None:
    await api.apply(made)
    wanted = made["spec"]["replicas"]
    path = f"/apis/apps/v1/namespaces/default/deployments/{made['metadata']['name']}"
    await until(api, path, lambda found: found.get("status", {}).get("availableReplicas") == wanted)


async def log(api: Api, name: str, query: str = "") -> str:
    return str((await api.call("GET", f"/api/v1/namespaces/default/pods/{name}/log?{query}"))["text"])


def curl(rig: Rig, *words: str) -> str:
    return subprocess.run(rig.inside("curl", "-sS", "-m", "5", *words), capture_output=True, text=True, check=True).stdout


async def test_services_lead_to_pods(rig: Rig):
    async with rig.api("us") as us:
        await available(us, deployment("web", 2))
        await us.apply(service("web", type="LoadBalancer"))
        found = await until(us, "/api/v1/namespaces/default/services/web", lambda each: each["status"]["loadBalancer"].get("ingress"))
        balanced = found["status"]["loadBalancer"]["ingress"][0]["ip"]
        assert balanced.startswith("127.88.0.")
        names = {curl(rig, f"http://{balanced}/").split('"pod": "')[1].split('"')[0] for _ in range(30)}
        assert len(names) == 2
        assert "web" in curl(rig, f"http://{found['spec']['clusterIP']}/")


async def test_a_pod_reaches_services_by_name_and_itself_too(rig: Rig):
    script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do curl -sS -m 5 http://own/ -o /dev/null -w '%{http_code}\\n'; done; hostname"
    async with rig.api("us") as us:
        both = deployment("own", 1)
        container = {"name": "caller", "image": "busybox", "command": ["/bin/sh", "-c", f"sleep 0.3; {script}; sleep 1000"]}
        both["spec"]["template"]["spec"]["containers"].append(container)
        await us.apply(service("own"))
        await available(us, both)
        pods = await us.call("GET", "/api/v1/namespaces/default/pods?labelSelector=app%3Down")
        name = pods["items"][0]["metadata"]["name"]
        async with asyncio.timeout(30):
            while not (said := await log(us, name, "container=caller")).rstrip().endswith(name):
                await asyncio.sleep(0.1)
        assert said.count("200\n") == 12


async def test_where_no_pod_is_a_connection_is_refused_at_once(rig: Rig):
    async with rig.api("us") as us:
        made = await us.apply(service("empty"))
        await asyncio.sleep(0.5)
        with pytest.raises(subprocess.CalledProcessError) as failed:
            curl(rig, f"http://{made['spec']['clusterIP']}/")
        assert "after 0 ms" in failed.value.stderr or "refused" in failed.value.stderr
        assert failed.value.returncode == 7


async def test_clusters_have_networks_of_their_own_and_reach_each_other(rig: Rig):
    async with rig.api("eu") as eu:
        await available(eu, deployment("far"))
        pods = await eu.call("GET", "/api/v1/namespaces/default/pods?labelSelector=app%3Dfar")
        ip = pods["items"][0]["status"]["podIP"]
        assert ip.startswith("10.161.")
        async with rig.api("us") as us:
            status = await ended(us, pod("caller", f"curl -sS -m 5 http://{ip}:3000/ | grep -q far"))
            assert status["phase"] == "Succeeded"


async def test_volumes_environment_and_user(rig: Rig):
    script = "set -e; cat /etc/c/a; cat /etc/s/b; echo $A-$B-$POD_IP; id -u; touch /data/x; touch /x && exit 3; test -s $T/token; echo fine"
    env = [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "a"}}},
        {"name": "B", "value": "$(A)b"},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "T", "value": "/var/run/secrets/kubernetes.io/serviceaccount"},
    ]
    mounts = [{"name": name, "mountPath": path} for name, path in (("c", "/etc/c"), ("s", "/etc/s"), ("d", "/data"))]
    volumes = [{"name": "c", "configMap": {"name": "c"}}, {"name": "s", "secret": {"secretName": "s"}}, {"name": "d", "emptyDir": {}}]
    security = {"runAsUser": 1234, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    async with rig.api("us") as us:
        made = pod("full", script, volumes=volumes, container={"env": env, "volumeMounts": mounts, "securityContext": security})
        await us.apply(made)
        # As with a kubelet, what it mounts may come later.
        await us.apply(named("v1", "ConfigMap", "c", data={"a": "one\n"}))
        await us.apply(named("v1", "Secret", "s", stringData={"b": "two\n"}))
        status = await ended(us, made)
        said = await log(us, "full")
        assert status["phase"] == "Succeeded", said
        assert "one\ntwo\n" in said
        assert f"-{status['podIP']}\n1234\n" in said


async def test_a_changed_secret_appears(rig: Rig):
    script = "until grep -q new /etc/s/b; do sleep 0.1; done"
    volumes = [{"name": "s", "secret": {"secretName": "turning"}}]
    container = {"volumeMounts": [{"name": "s", "mountPath": "/etc/s"}]}
    async with rig.api("us") as us:
        await us.apply(named("v1", "Secret", "turning", stringData={"b": "old"}))
        await us.apply(made := pod("turning", script, volumes=volumes, container=container))
        await until(us, "/api/v1/namespaces/default/pods/turning", lambda each: each["status"]["phase"] == "Running")
        await us.apply(named("v1", "Secret", "turning", stringData={"b": "new"}))
        assert (await ended(us, made))["phase"] == "Succeeded"


async def test_probes_decide(rig: Rig):
    ready = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1}
    live = {"httpGet": {"path": "/nothing-there", "port": 3000}, "periodSeconds": 1, "failureThreshold": 1, "initialDelaySeconds": 3}
    async with rig.api("us") as us:
        await us.apply(pod("slow", "sleep 0.5; touch /tmp/ready; sleep 1000", container={"readinessProbe": ready}))
        found = await until(us, "/api/v1/namespaces/default/pods/slow", lambda each: each["status"]["phase"] == "Running")
        assert not first(found)["ready"]
        await until(us, "/api/v1/namespaces/default/pods/slow", lambda each: first(each).get("ready"))
        await us.apply(pod("sick", "sleep 1000", restartPolicy="Always", container={"livenessProbe": live}))
        await until(us, "/api/v1/namespaces/default/pods/sick", lambda each: first(each).get("restartCount", 0) > 0)


async def test_a_pod_ends_gracefully(rig: Rig):
    script = "trap 'echo told; sleep 0.3; echo done; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    hook = {"preStop": {"exec": {"command": ["/bin/sh", "-c", "echo hook > /proc/1/fd/1 2>/dev/null; touch /tmp/hook"]}}}
    async with rig.api("us") as us:
        await us.apply(pod("polite", script, container={"lifecycle": hook}))
        path = "/api/v1/namespaces/default/pods/polite"
        await until(us, path, lambda each: each["status"]["phase"] == "Running")
        file = rig.folder / "logs" / "us_default_polite_c.log"
        async with asyncio.timeout(20):
            while "up" not in file.read_text():
                await asyncio.sleep(0.05)
        await us.call("DELETE", path)
        async with asyncio.timeout(20):
            while (await us.call("GET", "/api/v1/namespaces/default/pods?fieldSelector=metadata.name%3Dpolite"))["items"]:
                await asyncio.sleep(0.1)
        assert "told\ndone\n" in file.read_text()


async def test_logs_since_a_moment(rig: Rig):
    async with rig.api("us") as us:
        await us.apply(pod("talker", "echo first; sleep 2.5; date -u +%Y-%m-%dT%H:%M:%SZ; echo second; sleep 1000"))
        await until(us, "/api/v1/namespaces/default/pods/talker", lambda each: each["status"]["phase"] == "Running")
        async with asyncio.timeout(30):
            while "second" not in (said := await log(us, "talker")):
                await asyncio.sleep(0.1)
        moment = said.splitlines()[1]
        assert (await log(us, "talker", f"sinceTime={moment}")).endswith("second\n")
        assert "first" not in await log(us, "talker", f"sinceTime={moment}")
        assert await log(us, "talker", "tailLines=1") == "second\n"


async def test_nodes_are_zones_and_a_daemon_set_runs_on_each(rig: Rig):
    template = {
        "metadata": {"labels": {"app": "each"}},
        "spec": {"containers": [{"name": "c", "image": "busybox", "args": ["-c", "sleep 1000"]}]},
    }
    async with rig.api("us") as us:
        nodes = (await us.call("GET", "/api/v1/nodes"))["items"]
        assert {each["metadata"]["labels"]["topology.kubernetes.io/zone"] for each in nodes} == {"us-a", "us-b"}
        await us.apply(named("apps/v1", "DaemonSet", "each", spec={"selector": {"matchLabels": {"app": "each"}}, "template": template}))
        await until(us, "/apis/apps/v1/namespaces/default/daemonsets/each", lambda each: each.get("status", {}).get("numberReady") == 2)


async def test_an_unknown_image_is_told(rig: Rig):
    async with rig.api("us") as us:
        await us.apply(pod("strange", "true", container={"image": "nobody/knows:1"}))
        path = "/api/v1/namespaces/default/pods/strange"
        found = await until(us, path, lambda each: waiting(each).get("reason") == "ImagePullBackOff")
        assert "rig/node/images.py" in waiting(found)["message"]


async def test_a_log_is_followed(rig: Rig):
    async with rig.api("us") as us:
        await us.apply(pod("slowly", "for i in 1 2 3; do echo line $i; sleep 0.3; done; sleep 1000"))
        await until(us, "/api/v1/namespaces/default/pods/slowly", lambda each: each["status"]["phase"] == "Running")
        lines = []
        async with asyncio.timeout(20):
            async for line in us.lines("/api/v1/namespaces/default/pods/slowly/log?follow=true"):
                lines.append(line)
                if len(lines) == 3:
                    break
        assert lines == [b"line 1", b"line 2", b"line 3"]


async def test_pods_and_services_live_on_without_the_api_server(rig: Rig):
    async with rig.api("eu") as eu:
        await available(eu, deployment("steady"))
        made = await eu.apply(service("steady"))
        address = made["spec"]["clusterIP"]
        async with asyncio.timeout(20):
            while subprocess.run(rig.inside("curl", "-s", "-m", "2", f"http://{address}/"), capture_output=True).returncode:  # noqa: ASYNC221
                await asyncio.sleep(0.1)
        with rig.down("eu-api", "eu-controllers"):
            await asyncio.sleep(1)
            assert "steady" in curl(rig, f"http://{address}/")
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(aiohttp.ClientError, RefusedError, TimeoutError):
                    await eu.apply(deployment("steady", 2))
                    break
                await asyncio.sleep(0.2)
        await available(eu, deployment("steady", 2))


@pytest.mark.parametrize("websocket", ["true", "false"])
async def test_exec_keeps_streams_apart_and_tells_the_exit_code(rig: Rig, websocket: str):
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on the PATH")
    async with rig.api("us") as us:
        await us.apply(pod("open", "sleep 1000", container={"env": [{"name": "A", "value": "b"}]}))
        await until(us, "/api/v1/namespaces/default/pods/open", lambda each: each["status"]["phase"] == "Running")
    command = (
        "kubectl",
        "--kubeconfig",
        str(rig.kubeconfig),
        "exec",
        "-i",
        "open",
        "--",
        "sh",
        "-c",
        "cat; echo $A; hostname; echo no >&2; exit 3",
    )
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": "/usr/bin:/bin", "HOME": str(rig.folder), "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websocket},
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    async with asyncio.timeout(20):
        out, err = await process.communicate(b"in" * 50_000 + b"\n")
    assert out == b"in" * 50_000 + b"\nb\nopen\n", err
    assert err.startswith(b"no\n")
    assert process.returncode == 3


async def test_balanced_addresses_are_shown_to_the_host_where_asked():
    if why := missing(nodes=True):
        pytest.skip(why)
    with running("shown", nodes=1, options=("--publish",)) as shown:
        async with shown.api() as api:
            await available(api, deployment("web"))
            # Others may show 127.88.0.1 at this moment.
            await api.apply(service("web", port=4780, type="LoadBalancer", loadBalancerIP="127.88.0.247"))
            url = "http://127.88.0.247:4780/"
            async with asyncio.timeout(20):
                while (ended := await _curled(url)).returncode:
                    await asyncio.sleep(0.1)
            assert "web" in ended.stdout
            await api.call("DELETE", "/api/v1/namespaces/default/services/web")
            async with asyncio.timeout(20):
                while not (await _curled(url)).returncode:
                    await asyncio.sleep(0.1)


async def _curled(url: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(subprocess.run, ["curl", "-s", "-m", "2", url], capture_output=True, text=True)
