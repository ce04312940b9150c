"""`flota status`: a healthy fleet has nothing to say, and each ill shows where it belongs, with its cause."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from report_views import NOW, fleet, origin_of, pod, seen, view, with_proxy

from flota.fleet.drain import Drain
from flota.fleet.problem import Problem
from flota.fleet.signals import Signals
from flota.plan import Plan
from flota.report.services import EndpointRow
from flota.report.status import FleetStatus, status
from flota.report.view import PodView, ProxyView, Refused, Seen

US = ("10.0.0.1:9000", "10.0.0.2:9000")
EU = ("10.0.1.1:9000", "10.0.1.2:9000")


def clusters(found: FleetStatus) -> dict[str, tuple[str | None, str]]:
    return {each.name: (each.state, each.reason) for each in found.clusters}


def endpoints(found: FleetStatus, cluster: str, *, imported: bool = True) -> dict[str, tuple[str, str]]:
    row = next(each for each in found.services if each.cluster == cluster and each.imported is imported)
    return {f"{each.address}:{each.port}": (each.state, each.cause) for each in row.endpoints}


def test_healthy() -> None:
    found = status(view())
    assert found.settled is True
    assert (found.problems, found.waiting, found.drains) == ((), (), ())
    assert [(each.name, each.region, each.zone, each.state) for each in found.clusters] == [
        ("us", "us-east", "us-east-1a", "Serving"),
        ("eu", "eu-west", None, "Serving"),
    ]
    assert [(each.cluster, each.addresses, each.programmed, each.reason) for each in found.gateways] == [
        ("us", ("127.0.0.10",), True, "Programmed"),
        ("eu", ("127.0.0.20",), True, "Programmed"),
    ]
    assert {(each.accepted, each.resolved_refs, each.programmed, each.reason) for each in found.routes} == {(True, True, True, "Accepted")}
    assert [(each.cluster, each.imported, len(each.endpoints)) for each in found.services] == [
        ("us", False, 2), ("us", True, 4), ("eu", False, 2), ("eu", True, 4)
    ]  # fmt: skip
    assert {each.state for service in found.services for each in service.endpoints} == {"Healthy"}


def test_nothing_runs() -> None:
    """Null where unknown, and no claim that anything is wrong."""
    found = status(replace(view(), running=None, proxies={}))
    assert (found.running, found.settled, found.flota) == (False, None, None)
    assert {each.state for each in found.clusters} == {None}
    assert {each.programmed for each in found.gateways} == {None}
    assert {(each.accepted, each.programmed) for each in found.routes} == {(True, None)}
    assert found.problems == ()
    states = {(each.state, each.cause) for service in found.services for each in service.endpoints}
    assert states == {("Unknown", "Flota does not run here")}


def test_programmed_is_acknowledged() -> None:
    base = view()
    socket = next(iter(base.plan.proxies["us"].listeners))
    found = status(with_proxy(base, "us", pending=frozenset({socket})))
    us, eu = found.gateways
    assert (us.programmed, us.reason) == (False, "Pending")
    assert socket in us.message
    assert eu.programmed is True
    assert found.settled is False


def test_pending_table_holds_up_the_route_not_the_gateway() -> None:
    base = view()
    table = next(iter(base.plan.proxies["us"].tables))
    found = status(with_proxy(base, "us", pending=frozenset({table})))
    assert found.gateways[0].programmed is True
    assert [each.programmed for each in found.routes] == [False, True]
    assert table in found.waiting[0].message


def test_refused_by_the_proxy() -> None:
    base = view()
    socket = next(iter(base.plan.proxies["us"].listeners))
    refused = {socket: Refused("PortUnavailable", "port 80 is taken")}
    table = next(iter(base.plan.proxies["us"].tables))  # nobody asks for it while no listener leads there
    held = with_proxy(base, "us", refused=refused, pending=frozenset({table}))
    found = status(replace(held, origin=origin_of("us/gw.yaml", 3)))
    (problem,) = found.problems
    assert (problem.cluster, problem.kind, problem.name, problem.reason) == ("us", "Gateway", "gw", "PortUnavailable")
    assert "port 80 is taken" in problem.message
    assert (problem.file, problem.line) == ("us/gw.yaml", 3)
    assert found.gateways[0].programmed is False
    assert found.gateways[0].message == "port 80 is taken"
    assert (found.gateways[0].listeners[0].programmed, found.gateways[0].listeners[0].reason) == (False, "PortUnavailable")
    assert [(each.programmed, each.reason) for each in found.routes] == [(False, "PortUnavailable"), (True, "Accepted")]
    assert found.settled, "what can't be in effect is told and not waited for"


@pytest.mark.parametrize("culprit", [True, False])
def test_refused_table_is_traced_to_the_route_that_is_named(culprit: bool) -> None:
    second = "\n---\nkind: HTTPRoute\nmetadata: {name: other}\nspec: {parentRefs: [{name: gw}], hostnames: [a.example.com]}\n"
    base = view(fleet(us=second))
    table = next(iter(base.plan.proxies["us"].tables))
    why = "bad regex in HTTPRoute/default/other/ab12" if culprit else "bad regex"
    found = status(with_proxy(base, "us", refused={table: Refused("Invalid", why)}))
    named = {each.name for each in found.problems if each.reason == "ProxyRefused"}
    assert named == ({"other"} if culprit else {"other", "shop"})


def test_endpoints_as_the_proxy_sees_them() -> None:
    """us loses sight of its own; eu sees them well. Each cluster's services say what its own proxy sees."""
    base = seen(view(), "us", {US[0]: Seen("Dead", "connection refused"), US[1]: Seen("Healthy")})
    found = status(base)
    assert endpoints(found, "us")[US[0]] == ("Dead", "connection refused")
    assert endpoints(found, "us")[US[1]] == ("Healthy", "")
    assert endpoints(found, "us", imported=False)[US[0]] == ("Dead", "connection refused")
    assert endpoints(found, "eu")[US[0]] == ("Healthy", "")
    assert clusters(found)["us"][0] == "Serving"


@pytest.mark.parametrize(("by", "state"), [("us", "Lost"), ("eu", "Serving")])
def test_a_cluster_is_judged_by_its_own_proxy(by: str, state: str) -> None:
    """Its own proxy has the traffic to know that pods hang; one that is cut off from it is no reason to call it lost."""
    dead = {each: Seen("Dead", "requests to it failed") for each in US}
    found = clusters(status(seen(view(), by, dead)))
    assert found["us"][0] == state
    assert ("requests to it failed" in found["us"][1]) is (state == "Lost")
    assert found["eu"][0] == "Serving"


def test_not_ready_and_stopping_pods_have_a_cause() -> None:
    extra = """
---
kind: EndpointSlice
metadata: {name: shop-2, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{name: http, port: 9000}]
endpoints:
- {addresses: [10.0.9.1], conditions: {ready: false}}
- {addresses: [10.0.9.2], conditions: {ready: false, serving: true, terminating: true}}
"""
    found = endpoints(status(view(fleet(us=extra))), "us")
    assert found["10.0.9.1:9000"] == ("Dead", "its pod is not ready")
    assert found["10.0.9.2:9000"] == ("Draining", "its pod is stopping")


def test_drain() -> None:
    until = NOW + timedelta(minutes=30)
    found = status(view(fleet(drains=(Drain("us-east", until), Drain("gone", NOW - timedelta(seconds=1))))))
    assert [(each.target, each.until) for each in found.drains] == [("us-east", until)]
    state, reason = clusters(found)["us"]
    assert state == "Draining"
    assert "us-east" in reason
    assert clusters(found)["eu"][0] == "Serving"
    states = endpoints(found, "eu")
    assert {states[each][0] for each in US} == {"Draining"}
    assert {states[each][0] for each in EU} == {"Healthy"}
    assert all(states[each][1] for each in US)


def test_suspect() -> None:
    found = status(view(fleet(signals=Signals(suspect={"us": "its lease has lapsed"}))))
    assert clusters(found)["us"] == ("Suspect", "its lease has lapsed")


def test_failing_proxy() -> None:
    base = view()
    found = status(replace(base, proxies={**base.proxies, "us": ProxyView(state="Failing", reason="port 8080 is taken")}))
    assert clusters(found)["us"] == ("Lost", "its proxy does not run: port 8080 is taken")
    assert [(each.kind, each.reason) for each in found.problems] == [("Proxy", "CrashLoop")]
    assert found.gateways[0].programmed is False
    assert found.settled is False


WORKLOAD = """
---
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: a, command: [a]}]}}
---
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{name: http, port: 80}]}
"""


@pytest.mark.parametrize(
    ("pods", "message"),
    [
        ((), "Deployment default/shop has 0 of 2 pods ready"),
        ((pod("a", address="10.0.0.1"), pod("b", ready=False)), "Deployment default/shop has 1 of 2 pods ready"),
        ((pod("a", address="10.0.0.1"), pod("b", address="10.0.0.2", terminating=True)), "Deployment default/shop has 1 of 2 pods ready"),
        ((pod("a", address="10.0.0.1"), pod("b")), "pods of Deployment default/shop are ready and not endpoints yet"),
        ((pod("a", address="10.0.0.1"), pod("b", address="10.0.0.2")), None),
    ],
)
def test_workloads_hold_up(pods: tuple[PodView, ...], message: str | None) -> None:
    found = status(view(fleet(us=WORKLOAD), pods=pods))
    assert [each.message for each in found.waiting] == ([] if message is None else [message])
    assert found.settled is (message is None)


def test_a_workload_that_cannot_run_holds_nothing_up() -> None:
    refused = Problem("us", "Deployment", "default", "shop", "ImageNotSupported", "give a command")
    assert status(view(fleet(us=WORKLOAD), problems=(refused,))).settled is True


def test_pods_hold_up_and_are_problems_once_they_fail() -> None:
    alone, job = pod("a", owner="Pod/a", ready=False, reason="starting"), pod("job", ready=False, owner="Job/once")
    starting = status(view(pods=(alone, job)))
    assert [each.message for each in starting.waiting] == ["pod default/a is not ready: starting"]
    assert starting.problems == ()
    failing = status(view(pods=(pod("shop-1", ready=False, reason="exit code 3", restarts=2),)))
    (problem,) = failing.problems
    assert (problem.kind, problem.name, problem.reason) == ("Deployment", "shop", "PodNotReady")
    assert "exit code 3" in problem.message
    same = Problem("us", "Pod", "default", "shop-1", "Error", "exit code 3")
    told = status(view(pods=(pod("shop-1", ready=False, reason="exit code 3", restarts=2),), problems=(same,))).problems
    assert [(each.kind, each.name) for each in told] == [("Deployment", "shop")], "one problem for one fault"


def test_missing_parent_and_unresolved_backend() -> None:
    extra = """
---
kind: HTTPRoute
metadata: {name: lost}
spec: {parentRefs: [{name: nobody}]}
---
kind: HTTPRoute
metadata: {name: halt}
spec:
  parentRefs: [{name: gw}]
  rules: [{backendRefs: [{name: missing, port: 80}]}]
"""
    found = status(view(fleet(us=extra)))
    routes = {each.name: each for each in found.routes if each.cluster == "us"}
    assert routes["lost"].accepted is not True
    assert routes["halt"].accepted is True
    assert routes["halt"].resolved_refs is False
    assert routes["halt"].reason == "BackendNotFound"
    assert {each.name for each in found.problems} == {"lost", "halt"}


def test_problems_of_the_sources_stand_in_the_order_of_the_files() -> None:
    problems = tuple(Problem("us", "Service", "default", name, "Invalid", "no", "us/a.yaml", line) for name, line in (("b", 9), ("a", 2)))
    found = status(view(problems=(*problems, problems[0])))
    assert [(each.name, each.line) for each in found.problems] == [("a", 2), ("b", 9)]


def test_policy_forbids_a_region() -> None:
    """A region that a policy forbids is no endpoint as this proxy sees it."""
    policy = """
---
kind: TrafficPolicy
metadata: {name: home}
spec:
  targetRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: shop}]
  allow: {regions: [us-east]}
"""
    found = endpoints(status(view(fleet(us=policy))), "us")
    assert set(found) == set(US)


def test_ipv6_is_matched() -> None:
    extra = """
---
kind: EndpointSlice
metadata: {name: shop-6, labels: {kubernetes.io/service-name: shop}}
addressType: IPv6
ports: [{name: http, port: 9000}]
endpoints: [{addresses: ["::1"]}]
"""
    found = status(seen(view(fleet(us=extra)), "us", {"[::1]:9000": Seen("Dead", "refused")}))
    row = next(each for each in found.services if each.cluster == "us" and each.imported)
    assert EndpointRow(cluster="us", address="::1", port=9000, state="Dead", cause="refused") in row.endpoints


def test_a_fault_of_an_export_is_one_problem() -> None:
    export = ("us", "ServiceExport", "default", "shop", "NoService")
    (told,) = status(view(problems=(Problem(*export, "add the Service"),), plan=Plan({}, {}, (Problem(*export, "gone"),)))).problems
    assert told.message == "add the Service"
