"""Views of a two-region shop, running and healthy unless a test says otherwise."""

from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec.structs import replace
from routing_fleets import cluster

from flota.fleet.fleet import Fleet
from flota.report.view import Origin, PodView, ProxyView, Running, Seen, View
from flota.routing.planner import Planner

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RUNNING = Running(pid=42, version="0.1.0", since=NOW)
ADDRESS = {"us": "127.0.0.10", "eu": "127.0.0.20"}

SHOP = """
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: flota
  addresses: [{value: ADDRESS}]
  listeners: [{name: http, port: 8080, protocol: HTTP}]
---
kind: GatewayClass
metadata: {name: flota}
spec: {controllerName: flota.dev/gateway-controller}
---
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: gw}]
  rules: [{backendRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: shop, port: 80}]}]
---
kind: Service
metadata: {name: shop}
spec: {ports: [{name: http, port: 80}]}
---
kind: ServiceExport
metadata: {name: shop}
---
kind: ServiceImport
metadata: {name: shop}
spec: {type: ClusterSetIP, ports: [{name: http, port: 80}]}
---
kind: EndpointSlice
metadata: {name: shop-1, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{name: http, port: 9000}]
endpoints: [{addresses: [NETWORK.1]}, {addresses: [NETWORK.2]}]
"""


def fleet(us: str = "", eu: str = "", **more: object) -> Fleet:
    """Clusters us and eu with the shop; `us` and `eu` are further manifests."""
    texts = {
        name: SHOP.replace("ADDRESS", ADDRESS[name]).replace("NETWORK", f"10.0.{number}") + extra
        for number, (name, extra) in enumerate({"us": us, "eu": eu}.items())
    }
    clusters = {
        "us": cluster(texts["us"], "us", "us-east", "us-east-1a"),
        "eu": cluster(texts["eu"], "eu", "eu-west", None),
    }
    pairs = {("us-east", "eu-west"): 80.0, ("eu-west", "us-east"): 80.0}
    return Fleet("shop", clusters, pairs, **more)


def view(of: Fleet | None = None, **more: object) -> View:
    """Running, with every proxy up and everything acknowledged."""
    of = of or fleet()
    plan = Planner().plan(of)
    proxies = {name: ProxyView(state="Running", pid=100 + number, connected=True) for number, name in enumerate(plan.proxies)}
    fields: dict[str, object] = {"fleet": of, "plan": plan, "now": NOW, "proxies": proxies, "running": RUNNING}
    return View(**(fields | more))


def with_proxy(base: View, cluster_name: str, **fields: object) -> View:
    """The view with its proxy of a cluster changed."""
    changed = replace(base.proxies[cluster_name], **fields)
    return replace(base, proxies={**base.proxies, cluster_name: changed})


def seen(base: View, cluster_name: str, states: Mapping[str, Seen]) -> View:
    """The proxy of a cluster finds these endpoints (`address:port`) in these states, in every backend."""
    labels = [each.label for each in base.plan.proxies[cluster_name].backends.values()]
    return with_proxy(base, cluster_name, endpoints=dict.fromkeys(labels, states))


def pod(name: str, cluster_name: str = "us", **fields: object) -> PodView:
    held: dict[str, object] = {"owner": "Deployment/shop", "address": "127.1.2.3", "phase": "Running", "ready": True}
    return PodView(cluster=cluster_name, namespace="default", name=name, **(held | fields))


def origin_of(file: str, line: int) -> object:
    return lambda _: Origin(file, line)
