"""What people and scripts read of ListenerSets: status, its table, explain, rendered objects."""

from typing import Any

import pytest
from report_views import fleet, view, with_proxy

from flota.cli.status_table import status_table
from flota.report.explain_object import ObjectExplanation, explain_object
from flota.report.explain_request import AskedRequest, RequestExplanation, explain_request
from flota.report.named import Asked
from flota.report.objects import objects
from flota.report.status import status
from flota.report.view import Refused

MORE = """
---
kind: Gateway
metadata: {name: open}
spec:
  gatewayClassName: flota
  addresses: [{value: 127.0.0.11}]
  allowedListeners: {namespaces: {from: All}}
  listeners: [{name: http, port: 8080, protocol: HTTP, hostname: gw.org}]
---
kind: ListenerSet
metadata: {name: set}
spec:
  parentRef: {name: open}
  listeners:
  - {name: own, port: 8081, protocol: HTTP, hostname: set.org}
  - {name: taken, port: 8080, protocol: HTTP, hostname: gw.org}
---
kind: ListenerSet
metadata: {name: lost}
spec:
  parentRef: {name: none}
  listeners: [{name: own, port: 8081, protocol: HTTP}]
---
kind: HTTPRoute
metadata: {name: on-set}
spec:
  parentRefs: [{kind: ListenerSet, name: set}]
  rules: [{backendRefs: [{name: shop, port: 80}]}]
"""


def rows(of: Any) -> dict[str, Any]:
    """The rows of `flota status` by name."""
    return {each.name: each for each in status(of).listener_sets}


def test_status() -> None:
    found = rows(view(fleet(us=MORE)))
    shown = {name: (each.gateway, each.accepted, each.programmed, each.reason) for name, each in found.items()}
    assert shown == {"set": ("default/open", True, True, "Programmed"), "lost": (None, None, None, "NoMatchingParent")}
    listeners = [(each.name, each.programmed, each.reason, each.attached_routes) for each in found["set"].listeners]
    assert listeners == [("own", True, "Programmed", 1), ("taken", False, "HostnameConflict", 1)]
    table = status_table(status(view(fleet(us=MORE))), wide=False)
    assert "us        default/set    default/open   yes        yes          Programmed" in table
    assert "LISTENERSET" not in status_table(status(view()), wide=False)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"pending": frozenset({"tcp/127.0.0.11/8081"})}, (False, "Pending")),
        ({"refused": {"tcp/127.0.0.11/8081": Refused("Invalid", "no")}}, (False, "Invalid")),
        ({"pending": frozenset({"tcp/127.0.0.11/8080"})}, (True, "Programmed")),
    ],
)
def test_it_is_programmed_when_its_own_sockets_are(fields: dict[str, Any], expected: tuple[bool, str]) -> None:
    found = rows(with_proxy(view(fleet(us=MORE)), "us", **fields))["set"]
    assert (found.programmed, found.reason) == expected


def test_explain() -> None:
    shown = view(fleet(us=MORE))
    found = explain_object(shown, Asked("lset", "set"))
    assert isinstance(found, ObjectExplanation)
    said = found.objects[0].why
    assert "Its listeners are those of Gateway default/open." in said
    assert "Listener own is served, takes HTTPRoute, GRPCRoute and has 1 attached." in said
    assert any("taken: Accepted is False (HostnameConflict)" in each for each in said)
    gateway = explain_object(shown, Asked("Gateway", "open"))
    assert isinstance(gateway, ObjectExplanation)
    assert "ListenerSets that take part in it: 1." in gateway.objects[0].why
    route = explain_object(shown, Asked("HTTPRoute", "on-set"))
    assert isinstance(route, ObjectExplanation)
    assert "ListenerSet default/set accepted it and all its references resolve." in route.objects[0].why
    request = explain_request(shown, AskedRequest("http://set.org:8081/", "us", "default/open"))
    assert isinstance(request, RequestExplanation)
    assert (request.listener, request.route and request.route.name) == ("tcp/127.0.0.11/8081", "on-set")


def test_objects() -> None:
    found = objects(view(fleet(us=MORE)), "us")
    assert isinstance(found, tuple)
    by_name: dict[Any, Any] = {(each["kind"], each["metadata"]["name"]): each for each in found}
    held = by_name["ListenerSet", "set"]["status"]
    assert {each["type"]: each["status"] for each in held["conditions"]} == {"Accepted": "True", "Programmed": "True"}
    assert [(each["name"], each["attachedRoutes"]) for each in held["listeners"]] == [("own", 1), ("taken", 1)]
    assert by_name["Gateway", "open"]["status"]["attachedListenerSets"] == 1
    assert by_name["HTTPRoute", "on-set"]["status"]["parents"][0]["parentRef"]["kind"] == "ListenerSet"
    features = [each["name"] for each in by_name["GatewayClass", "flota"]["status"]["supportedFeatures"]]
    assert "ListenerSet" in features
    assert features == sorted(features)
    assert "status" not in by_name["ListenerSet", "lost"]
