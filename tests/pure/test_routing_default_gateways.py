"""Default Gateways: they take routes that name no parent (Gateway spec.defaultScope, a route's useDefaultGateways; GEP-3793)."""

from typing import Any

import pytest
from routing_fleets import cluster, condition, fleet, plan_of, service, status_of, with_objects, without

from flota.plan import ObjectRef
from flota.routing.planner import Planner


def gateway(name: str, scope: str | None, **listener: Any) -> dict[str, Any]:
    """A Gateway with an address of its own."""
    spec = {"gatewayClassName": "flota", "addresses": [{"value": f"127.0.0.{len(name)}"}],
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP", **listener}]}  # fmt: skip
    return {"kind": "Gateway", "metadata": {"name": name}, "spec": {**spec, **({"defaultScope": scope} if scope else {})}}


def route(name: str = "r", namespace: str = "default", kind: str = "HTTPRoute", **spec: Any) -> dict[str, Any]:
    """A route that asks for default Gateways."""
    rules = [{"backendRefs": [{"name": "app", "port": 8080}]}]
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": {"useDefaultGateways": "All", "rules": rules, **spec}}


def parents(plan: Any, **at: str) -> list[tuple[str, str]]:
    """Parents of the route and the reason of Accepted."""
    status = status_of(plan, at.get("kind", "HTTPRoute"), "r", at.get("namespace", "default"))
    return [(each.name, condition(each, "Accepted")[1]) for each in status.parents]


def test_a_route_attaches_to_every_default_gateway_that_takes_it() -> None:
    gateways = [gateway("a", "All"), gateway("bb", "None"), gateway("ccc", None), gateway("dddd", "All", hostname="x.org")]
    plan = plan_of(service("app"), more=[*gateways, route()])
    assert parents(plan) == [("a", "Accepted"), ("dddd", "Accepted")]
    assert [each.attached_routes for name in ("a", "bb") for each in status_of(plan, "Gateway", name).listeners] == [1, 0]
    assert set(plan.proxies["us"].tables["http/127.0.0.1/80"].hosts) == {"*"}
    assert plan.problems == ()


def test_one_that_is_named_too_counts_once() -> None:
    plan = plan_of(service("app"), more=[gateway("a", "All"), gateway("bb", None), route(parentRefs=[{"name": "a"}, {"name": "bb"}])])
    assert parents(plan) == [("a", "Accepted"), ("bb", "Accepted")]
    assert status_of(plan, "Gateway", "a").listeners[0].attached_routes == 1


@pytest.mark.parametrize(
    ("made", "at"),
    [
        (route(namespace="far"), {"namespace": "far"}),
        (route(hostnames=["y.org"]), {}),
        (route(kind="TCPRoute"), {"kind": "TCPRoute"}),
    ],
)
def test_a_default_gateway_that_does_not_take_the_route_has_nothing_to_do_with_it(made: dict[str, Any], at: dict[str, str]) -> None:
    plan = plan_of(service("app"), more=[gateway("a", "All", hostname="x.org"), made])
    assert parents(plan, **at) == []
    assert [(each.name, each.reason) for each in plan.problems] == [("r", "NoMatchingParent")]


def test_gateways_become_default_and_cease_to_be() -> None:
    planner, key = Planner(), ObjectRef("us", "HTTPRoute", "default", "r")
    base = with_objects(cluster(service("app")), [gateway("a", None), route()])
    several = [base, with_objects(base, [gateway("a", "All")]), with_objects(base, [gateway("a", "None")])]
    several.append(without(several[1], "gateways", ("default", "a")))
    counts = []
    for each in several:
        plan = planner.plan(fleet(each))
        assert plan == Planner().plan(fleet(each))
        counts.append(len(plan.statuses[key].parents))  # type: ignore[union-attr]
    assert counts == [0, 1, 0, 0]
