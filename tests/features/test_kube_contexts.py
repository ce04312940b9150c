"""`--context`: clusters that somebody else serves, read as they are, with a user who may only get, list and watch."""

import asyncio
import json
import os
import subprocess
import sys

import pytest
import yaml
from kube_harness import Api, admin, client, start_rig

GATEWAY = "gateway.networking.k8s.io/v1"
OTHER = "other.example/gateway-controller"
EXTENSION = {"type": "ExtensionRef", "extensionRef": {"group": "other.example", "kind": "Limit", "name": "x"}}
REGIONS = {"us": "us-east", "eu": "eu-west"}


@pytest.fixture(scope="module")
def rig():
    yield from start_rig("us", "eu")


def head(kind, name, api_version="v1", **more):
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **({} if more.get("bare") else {"namespace": "default"})}}


def manifests(cluster):
    """A shop in both clusters, exported; `lonely` in us only; a route to nowhere."""
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
    yield {**head("ClusterRole", "looker", "rbac.authorization.k8s.io/v1", bare=True), "rules": rules}
    yield {
        **head("ClusterRoleBinding", "looker", "rbac.authorization.k8s.io/v1", bare=True),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "looker"},
        "subjects": [{"kind": "ServiceAccount", "name": "looker", "namespace": "default"}],
    }
    yield head("ServiceAccount", "looker")
    yield {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"topology.kubernetes.io/region": REGIONS[cluster]}}}
    theirs = {"group": "other.example", "kind": "Parameters", "name": "p"}
    of_class = {"controllerName": OTHER, "parametersRef": {**theirs, "namespace": "default"}}
    yield {**head("GatewayClass", "other", GATEWAY, bare=True), "spec": of_class}
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}]
    yield {**head("Gateway", "web", GATEWAY), "spec": {
        "gatewayClassName": "other", "listeners": listeners, "infrastructure": {"parametersRef": theirs},
        "addresses": [{"type": "Hostname", "value": "lb.example"}],
    }}  # fmt: skip
    for number, name in enumerate(("shop", "lonely") if cluster == "us" else ("shop",)):
        yield {**head("Service", name), "spec": {"ports": [{"name": "http", "port": 80}]}}
        endpoints = [{"addresses": [f"10.{ord(cluster[0])}.{number}.{n}"], "conditions": {"ready": n != 3}} for n in (1, 2, 3)]
        labels = {"kubernetes.io/service-name": name}
        slice_ = head("EndpointSlice", f"{name}-1", "discovery.k8s.io/v1")
        slice_["metadata"]["labels"] = labels
        yield {**slice_, "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 8080}]}
    yield head("ServiceExport", "shop", "multicluster.x-k8s.io/v1beta1")
    imported = {"group": "multicluster.x-k8s.io", "kind": "ServiceImport", "name": "shop", "port": 80}
    yield route("shop", "shop.example", imported)
    if cluster == "us":
        yield route("lonely", "lonely.example", {"name": "lonely", "port": 80})
        yield route("broken", "broken.example", {"name": "nobody", "port": 80})


def route(name, host, backend):
    spec = {"parentRefs": [{"name": "web"}], "hostnames": [host], "rules": [{"backendRefs": [backend], "filters": [EXTENSION]}]}
    return {**head("HTTPRoute", name, GATEWAY), "spec": spec}


def condition(kind, status, reason):
    return {"type": kind, "status": status, "reason": reason, "message": f"told {reason}", "lastTransitionTime": "2026-01-01T00:00:00Z"}


async def be_the_other_controller(api, cluster):
    async def say(kind, name, status):
        resource = await api.resource(GATEWAY, kind)
        assert isinstance(await api.client.merge(resource, name, {"status": status}, "default", subresource="status"), bytes)

    good = [condition("Accepted", "True", "Accepted"), condition("Programmed", "True", "Programmed")]
    addresses = [{"type": "IPAddress", "value": "198.51.100.7"}]
    await say("Gateway", "web", {"conditions": good, "addresses": addresses, "listeners": []})
    for name in ("shop", "lonely", "broken") if cluster == "us" else ("shop",):
        resolved = ("False", "BackendNotFound") if name == "broken" else ("True", "ResolvedRefs")
        said = [condition("Accepted", "True", "Accepted"), condition("ResolvedRefs", *resolved)]
        parent = {"controllerName": OTHER, "parentRef": {"name": "web"}, "conditions": said}
        await say("HTTPRoute", name, {"parents": [parent]})


async def prepare(rig, name):
    """The objects, and the token of the user who may only look."""
    async with client(admin(rig, name), field_manager="test") as found:
        api = Api(found)
        await api.apply(*manifests(name))
        await be_the_other_controller(api, name)
        path, body = "/api/v1/namespaces/default/serviceaccounts/looker/token", b'{"kind":"TokenRequest","spec":{}}'
        answer = await found.transport.request("POST", path, None, body, kind="application/json", within=10)
        return json.loads(answer.body)["status"]["token"]


@pytest.fixture(scope="module")
def kubeconfig(rig, tmp_path_factory):
    """Of a user who may only look."""
    config = yaml.safe_load(rig.kubeconfig.read_text())
    config["users"] = [{"name": name, "user": {"token": asyncio.run(prepare(rig, name))}} for name in ("us", "eu")]
    for each in config["contexts"]:
        each["context"]["user"] = each["name"]
    config["clusters"].append({"name": "away", "cluster": {"server": "https://127.0.0.1:9"}})
    config["contexts"].append({"name": "away", "context": {"cluster": "away", "user": "us"}})
    path = tmp_path_factory.mktemp("kube") / "config"
    path.write_text(yaml.safe_dump(config))
    return path


def flota(kubeconfig, *arguments, code=0):
    command = [sys.executable, "-m", "flota.cli", *arguments]
    done = subprocess.run(command, env={**os.environ, "KUBECONFIG": str(kubeconfig)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


BOTH = ("--context", "us", "--context", "eu")


def test_status(kubeconfig):
    found = json.loads(flota(kubeconfig, "status", *BOTH, "-o", "json").stdout)
    places = {(each["name"], each["region"], each["state"]) for each in found["clusters"]}
    assert places == {("us", "us-east", "Serving"), ("eu", "eu-west", "Serving")}
    web = next(each for each in found["gateways"] if each["cluster"] == "us")
    assert (web["addresses"], web["programmed"], web["reason"]) == (["198.51.100.7"], True, "Programmed")
    routes = {(each["cluster"], each["name"]): (each["accepted"], each["resolvedRefs"], each["reason"]) for each in found["routes"]}
    assert routes["us", "shop"] == (True, True, "Accepted")
    assert routes["us", "broken"] == (True, False, "BackendNotFound")
    [shop] = [each for each in found["services"] if (each["cluster"], each["name"], each["imported"]) == ("us", "shop", True)]
    states = sorted((each["cluster"], each["state"]) for each in shop["endpoints"])
    assert states == [(cluster, state) for cluster in ("eu", "us") for state in ("Dead", "Healthy", "Healthy")]
    assert {(each["kind"], each["name"], each["reason"]) for each in found["problems"]} == {("HTTPRoute", "broken", "BackendNotFound")}
    assert (found["running"], found["unseen"]) == (False, [])
    text = flota(kubeconfig, "status", *BOTH).stdout
    assert "198.51.100.7" in text
    assert "told BackendNotFound" in text


def test_what_would_happen(kubeconfig):
    found = json.loads(flota(kubeconfig, "whatif", *BOTH, "--lose", "eu-west", "-o", "json").stdout)
    rows = {(each["source"], each["name"]): each for each in found["services"]}
    assert rows["us", "shop"]["after"] == {"us": 1.0}
    assert rows["us", "lonely"]["left"]
    found = json.loads(flota(kubeconfig, "whatif", *BOTH, "--lose", "us-east", "-o", "json").stdout)
    rows = {(each["source"], each["name"]): each for each in found["services"]}
    assert rows["eu", "shop"]["after"] == {"eu": 1.0}


def test_which_route_takes_a_request(kubeconfig):
    found = json.loads(flota(kubeconfig, "explain", "request", "http://shop.example/x", "--from", "us", *BOTH, "-o", "json").stdout)
    assert (found["status"], found["route"]["name"], found["gateway"]) == (None, "shop", "default/web")
    assert [place["cluster"] for tier in found["tiers"] for place in tier["localities"]][:2] == ["us", "eu"]
    found = json.loads(flota(kubeconfig, "explain", "request", "http://broken.example/", "--from", "us", *BOTH, "-o", "json").stdout)
    assert found["status"] == 500
    found = json.loads(flota(kubeconfig, "explain", "httproute/broken", *BOTH, "-o", "json").stdout)
    assert [each["message"] for each in found["objects"][0]["conditions"]] == ["told Accepted", "told BackendNotFound"]


def test_check(kubeconfig):
    found = json.loads(flota(kubeconfig, "check", *BOTH, "-o", "json").stdout)
    assert found["ok"]
    assert [(each["name"], each["refused"]) for each in found["problems"]] == [("broken", False)]


def test_a_cluster_that_does_not_answer_is_said_and_never_passes(kubeconfig):
    done = flota(kubeconfig, "status", "--context", "us", "--context", "away", "-o", "json", code=1)
    found = json.loads(done.stdout)
    assert {each["name"]: each["state"] for each in found["clusters"]} == {"us": "Serving", "away": None}
    assert found["unseen"][0].startswith("away: ")
    assert "not seen: away: " in done.stderr
    assert not json.loads(flota(kubeconfig, "check", "--context", "away", "-o", "json", code=1).stdout)["ok"]


def test_as_a_plugin_of_kubectl_it_is_the_current_context(kubeconfig, tmp_path):
    (tmp_path / "kubectl-flota").write_text("from flota.cli import main\nmain()\n")
    env = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    command = [sys.executable, str(tmp_path / "kubectl-flota"), "status", "-o", "json"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert [each["name"] for each in json.loads(done.stdout)["clusters"]] == ["us"]
    done = subprocess.run([*command, "--context", "eu"], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert [each["name"] for each in json.loads(done.stdout)["clusters"]] == ["eu"]


def test_asked_wrongly(kubeconfig, tmp_path):
    assert 'no context "nope"' in flota(kubeconfig, "status", "--context", "nope", code=2).stderr
    assert "not both" in flota(kubeconfig, "status", "--context", "us", "-C", str(tmp_path), code=2).stderr
    assert "needs a folder" in flota(kubeconfig, "up", "--context", "us", code=2).stderr
