"""A cluster's objects through a real API server: the same structs as from files, and what happens while they are followed."""

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from kube_harness import Api, admin, bare, client, followed, start_rig, way_to

from flota.cli.init import write_example
from flota.kube.errors import ApiError
from flota.kube.kubeconfig import Access
from flota.sources import byname, cluster
from flota.sources.assemble import Given
from flota.sources.folder import load_folder
from flota.sources.memory import SourceMemory

ROOT = Path(__file__).parents[2]
GATEWAY = "gateway.networking.k8s.io/v1"
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "flota-test"}}


@pytest.fixture(scope="module")
def rig():
    yield from start_rig("us", "eu")


@pytest.fixture
async def api(rig):
    async with client(admin(rig, "us"), field_manager="test") as found:
        yield Api(found)


def gateway(name, *secrets):
    listeners = [
        {"name": f"l{n}", "port": 443, "protocol": "HTTPS", "hostname": f"h{n}.example", "tls": {"certificateRefs": [{"name": each}]}}
        for n, each in enumerate(secrets)
    ]
    spec = {"gatewayClassName": "flota", "listeners": listeners or [{"name": "http", "port": 80, "protocol": "HTTP"}]}
    return {"apiVersion": GATEWAY, "kind": "Gateway", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def route(name, host="a.example"):
    rules = [{"backendRefs": [{"name": "web", "port": 80}]}]
    spec = {"parentRefs": [{"name": "gw"}], "hostnames": [host], "rules": rules}
    return {"apiVersion": GATEWAY, "kind": "HTTPRoute", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def secret(name, text):
    head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}}
    return {**head, "type": "Opaque", "stringData": {"text": text}}


async def test_an_object_is_the_same_from_a_file_and_from_an_api_server(rig, api, tmp_path):
    write_example(tmp_path / "shop")
    files = sorted((tmp_path / "shop" / "us").rglob("*.yaml"))
    manifests = [each for path in files for each in yaml.safe_load_all(path.read_text()) if each]
    manifests = [each for each in manifests if each["kind"] not in ("Deployment", "Namespace")]  # processes, not containers
    assert {each["kind"] for each in manifests} >= {"Gateway", "HTTPRoute", "Service"}
    known = (await api.client.read("/apis/flota.dev/v1alpha1"), "flota.dev/v1alpha1")
    manifests = [each for each in manifests if not isinstance(known[0], ApiError) or each["apiVersion"] != known[1]]
    await api.apply(*manifests)
    folder = load_folder(tmp_path / "shop", SourceMemory(), datetime.now(UTC), Given()).fleet.clusters["us"]
    async with followed(admin(rig, "us")) as source:
        compared = 0
        for name in ("gateways", "http_routes", "service_exports"):
            for key, each in getattr(folder, name).items():
                assert bare(getattr(source.cluster, name)[key]) == bare(each)
                compared += 1
        assert compared >= 2
        for key, each in folder.services.items():
            assert [port.port for port in source.cluster.services[key].spec.ports] == [port.port for port in each.spec.ports]
    for each in manifests:
        await api.delete(each["apiVersion"], each["kind"], each["metadata"]["name"])


async def test_changes_are_followed_and_a_status_is_no_change_of_the_object(rig, api):
    async with followed(admin(rig, "us"), statuses=frozenset({"gateways"})) as source:
        await api.apply(gateway("gw"), route("r1"), route("r2"))
        await source.until(lambda: ("default", "r2") in source.cluster.http_routes and ("default", "gw") in source.cluster.gateways)
        fleet, kept = source.source.fleet.get(), source.cluster.http_routes["default", "r1"]
        assert kept.metadata.uid
        assert kept.metadata.generation == 1
        assert kept.metadata.creation_timestamp is not None
        said = {"type": "Accepted", "status": "True", "reason": "Tested", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        written = await api.client.merge(
            await api.resource(GATEWAY, "Gateway"), "gw", {"status": {"conditions": [said]}}, "default", subresource="status"
        )
        assert not isinstance(written, ApiError)
        await source.until(lambda: b"Tested" in source.source.statuses.get()["us"]["gateways"]["default", "gw"])
        assert source.source.fleet.get() is fleet
        await api.apply(route("r2", "b.example"))
        await source.until(lambda: source.cluster.http_routes["default", "r2"].spec.hostnames == ("b.example",))
        assert source.cluster.http_routes["default", "r1"] is kept
        assert source.cluster.services is fleet.clusters["us"].services
        await api.delete(GATEWAY, "HTTPRoute", "r2")
        await source.until(lambda: ("default", "r2") not in source.cluster.http_routes)
        assert source.source.problems.get() == ()


async def test_only_secrets_that_are_spoken_of_are_read(rig, api):
    await api.apply(secret("cert", "one"), secret("other", "private"))
    await api.apply(gateway("tls", "cert", "missing"))
    async with followed(admin(rig, "us")) as source:
        assert set(source.cluster.secrets) == {("default", "cert")}, "at the very first fleet"
        await api.apply(secret("cert", "two"))
        await source.until(lambda: source.cluster.secrets["default", "cert"].data == {"text": b"two"})
        await api.apply(gateway("tls", "other"))
        await source.until(lambda: set(source.cluster.secrets) == {("default", "other")})
        await api.delete("v1", "Secret", "other")
        await source.until(lambda: not source.cluster.secrets)
    await api.delete(GATEWAY, "Gateway", "tls")


async def test_a_kind_that_appears_and_one_that_vanishes(rig, api, monkeypatch):
    monkeypatch.setattr(cluster, "DISCOVER_S", 0.2)
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    group, version, plural = "gateway.networking.k8s.io", "apiextensions.k8s.io/v1", "tcproutes"
    held = await api.client.read(f"{definitions}/{plural}.{group}")
    assert isinstance(held, bytes)
    rules = [{"backendRefs": [{"name": "web", "port": 80}]}]
    thing = {"apiVersion": GATEWAY, "kind": "TCPRoute", "metadata": {"name": "t", "namespace": "default"}, "spec": {"rules": rules}}
    async with followed(admin(rig, "us")) as source:
        await api.apply(thing)
        await source.until(lambda: bool(source.cluster.tcp_routes))
        await api.delete(version, "CustomResourceDefinition", f"{plural}.{group}")
        await source.until(lambda: not source.cluster.tcp_routes and source.source.readers["us"].sight()["TCPRoute"] == "Absent")
        assert source.source.readers["us"].sight()["HTTPRoute"] == "Live"
        definition = yaml.safe_load(held)
        definition["metadata"] = {key: definition["metadata"][key] for key in ("name", "annotations")}
        definition.pop("status")
        await api.apply(definition)
        await source.until(lambda: source.source.readers["us"].sight()["TCPRoute"] == "Live")
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(AssertionError):
                    await api.apply(thing)
                    break
        await source.until(lambda: bool(source.cluster.tcp_routes))


async def test_what_may_not_be_read_is_told_and_the_rest_is_read(rig, api, monkeypatch):
    """A user with few rights: no list of Secrets (but one may be read by name), no ConfigMaps, no GRPCRoutes."""
    monkeypatch.setattr(byname, "POLL_S", 0.3)
    rules = [
        {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        {"apiGroups": ["gateway.networking.k8s.io"], "resources": ["gateways", "httproutes"], "verbs": ["list", "watch"]},
    ]
    account = {"kind": "ServiceAccount", "name": "reader", "namespace": "default"}
    await api.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": "default"}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "reader"}, "rules": rules},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
            "subjects": [account],
        },
        secret("named", "one"),
        gateway("named", "named"),
        route("seen"),
    )
    path = "/api/v1/namespaces/default/serviceaccounts/reader/token"
    token = await api.client.transport.request("POST", path, None, b'{"kind":"TokenRequest","spec":{}}', kind="application/json", within=10)
    whole = admin(rig, "us")
    few = Access(server=whole.server, ca=whole.ca, ca_file=whole.ca_file, token=yaml.safe_load(token.body)["status"]["token"])
    async with followed(few) as source:
        assert ("default", "seen") in source.cluster.http_routes
        assert source.cluster.secrets["default", "named"].data == {"text": b"one"}
        sight = source.source.readers["us"].sight()
        assert (sight["HTTPRoute"], sight["GRPCRoute"], sight["Deployment"]) == ("Live", "Forbidden", "Forbidden")
        told = {(each.kind, each.reason, each.retry) for each in source.source.problems.get()}
        assert ("GRPCRoute", "Forbidden", True) in told
        await api.apply(secret("named", "two"))
        await source.until(lambda: source.cluster.secrets["default", "named"].data == {"text": b"two"})
    for name in ("named",):
        await api.delete(GATEWAY, "Gateway", name)


async def test_a_server_out_of_sight_takes_nothing_away_and_is_caught_up_with(rig, api, monkeypatch):
    monkeypatch.setattr("flota.sources.kube.BLIND_S", 0.5)
    monkeypatch.setattr("flota.kube.reflector.LONGEST_RESUME_S", 0.5)
    whole = admin(rig, "us")
    await api.apply(route("stays"))
    async with way_to(whole) as (way, through), followed(through) as source:
        fleet = source.source.fleet.get()
        way.cut()
        async with asyncio.timeout(20):
            while not source.source.blind.get():
                await source.source.blind.changed()
        assert source.source.fleet.get() is fleet
        assert "can't be read" in source.source.blind.get()["us"]
        assert {each.reason for each in source.source.problems.get()} == {"Unreachable"}
        await api.apply(route("new"))
        await api.delete(GATEWAY, "HTTPRoute", "stays")
        way.open = True
        await source.until(lambda: {"new", "stays"} & {name for _, name in source.cluster.http_routes} == {"new"})
        async with asyncio.timeout(20):
            while source.source.blind.get():
                await source.source.blind.changed()
        await source.until(lambda: source.source.problems.get() == ())
        lists = [each.reflector.counts.lists for each in source.source.readers["us"]._kinds.values()]
        assert lists == [1] * len(lists), "it went on from where it was"


async def test_several_clusters_are_one_fleet(rig, tmp_path: Path):
    import random

    from flota.clock import SystemClock
    from flota.sources.kube import KubeSource, Target

    async with client(admin(rig, "us")) as us, client(admin(rig, "eu")) as eu:
        await Api(us).apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {
            "topology.kubernetes.io/region": "us-east", "topology.kubernetes.io/zone": "us-east-1a"}}})  # fmt: skip
        source = KubeSource([Target("us", us), Target("eu", eu, region="eu-west")], SystemClock(), random.random, name="both")
        task = asyncio.create_task(source.run(), name="source")
        async with asyncio.timeout(20):
            while not source.ready.get():
                await source.ready.changed()
        found = source.fleet.get()
        assert found.name == "both"
        places = {name: (each.region, each.zone) for name, each in found.clusters.items()}
        assert places == {"us": ("us-east", "us-east-1a"), "eu": ("eu-west", None)}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_our_own_kinds_appear_and_say_where_clusters_are(rig, monkeypatch):
    monkeypatch.setattr(cluster, "DISCOVER_S", 0.2)
    definitions = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "install" / "chart" / "crds").glob("*.yaml"))]
    members = [{"name": "eu", "region": "eu-west", "zone": "eu-west-1a"}, {"name": "us", "region": "us-east"}]
    spec = {"clusters": members, "distances": [{"between": ["us-east", "eu-west"], "rtt": 80}]}
    whole = {"apiVersion": "flota.dev/v1alpha1", "kind": "ClusterSet", "metadata": {"name": "shop"}, "spec": spec}
    target = {"group": "multicluster.x-k8s.io", "kind": "ServiceImport", "name": "shop"}
    policy = {"apiVersion": "flota.dev/v1alpha1", "kind": "TrafficPolicy", "metadata": {"name": "shop", "namespace": "default"},
              "spec": {"targetRefs": [target], "prefer": "Order", "tiers": [[{"cluster": "eu"}]]}}  # fmt: skip
    async with client(admin(rig, "eu"), field_manager="test") as found, followed(admin(rig, "eu"), "eu") as source:
        api = Api(found)
        assert (source.cluster.region, source.source.fleet.get().distances) == ("eu", {})
        await api.apply(*definitions)
        await source.until(lambda: source.source.readers["eu"].sight()["TrafficPolicy"] == "Live")
        await api.apply(whole, policy)
        await source.until(lambda: bool(source.cluster.traffic_policies) and source.cluster.region == "eu-west")
        fleet = source.source.fleet.get()
        assert (fleet.name, source.cluster.zone, fleet.distances["eu-west", "us-east"]) == ("shop", "eu-west-1a", 80.0)
        assert source.cluster.traffic_policies["default", "shop"].spec.prefer == "Order"
        await api.delete("flota.dev/v1alpha1", "ClusterSet", "shop")
        await source.until(lambda: source.cluster.region == "eu")
