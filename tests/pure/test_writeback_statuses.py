"""Statuses as they are written: dated, acknowledged, and with what others wrote left alone."""

from datetime import UTC, datetime
from typing import Any

import pytest

from flota.fleet.meta import Condition
from flota.fleet.references import ParentReference
from flota.plan import GatewayStatus, ListenerSetStatus, ListenerStatus, ParentStatus, RouteStatus
from flota.writeback import statuses
from flota.writeback.conditions import Delivered
from flota.writeback.statuses import Told

THEN, NOW = "2026-01-01T00:00:00Z", datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
STAMP = "2026-01-02T03:04:05Z"
OTHER = {"parentRef": {"name": "gw"}, "controllerName": "example.org/other", "conditions": []}


def said(kind: str, status: Any = "True", reason: str | None = None, generation: int = 2) -> Condition:
    return Condition(kind, status, reason or kind, observed_generation=generation)


def held(kind: str, status: str = "True", generation: int = 2) -> dict[str, Any]:
    return {"type": kind, "status": status, "observedGeneration": generation, "lastTransitionTime": THEN}


def gateway(delivered: Delivered, before: dict[str, Any] | None = None) -> dict[str, Any]:
    listener = ListenerStatus("http", 3, (("g", "HTTPRoute"),), (said("Programmed"),), socket="tcp/a/80")
    idle = ListenerStatus("off", 0, (), (said("Programmed", "False", "Invalid"),))
    status = GatewayStatus(("192.0.2.7", "lb.example.org"), (said("Accepted"), said("Programmed")), (listener, idle))
    return statuses.gateway(status, delivered, Told(before or {}, NOW))


def programmed(status: dict[str, Any]) -> tuple[str, str]:
    found = next(each for each in status["conditions"] if each["type"] == "Programmed")
    return found["status"], found["reason"]


def test_a_condition_keeps_its_time_while_its_status_is_the_same() -> None:
    before = {"conditions": [held("Accepted", generation=1), held("Programmed", "False")]}
    status = gateway(Delivered(connected=1), before)
    times = {each["type"]: each["lastTransitionTime"] for each in status["conditions"]}
    assert times == {"Accepted": THEN, "Programmed": STAMP}
    assert status["listeners"][0]["conditions"][0]["lastTransitionTime"] == STAMP
    assert status["addresses"] == [{"type": "IPAddress", "value": "192.0.2.7"}, {"type": "Hostname", "value": "lb.example.org"}]


@pytest.mark.parametrize(
    ("delivered", "before", "expected"),
    [
        (Delivered(connected=1), {}, ("True", "Programmed")),
        (Delivered(connected=2, pending=frozenset({"tcp/b/80"})), {}, ("True", "Programmed")),
        (Delivered(connected=1, pending=frozenset({"tcp/a/80"})), {}, ("False", "Pending")),
        (Delivered(connected=1, refused={"tcp/a/80": "no"}), {}, ("False", "Invalid")),
        (Delivered(), {}, ("False", "Pending")),
        (Delivered(), {"conditions": [held("Programmed")]}, ("True", "Programmed")),
        (Delivered(), {"conditions": [held("Programmed", generation=1)]}, ("False", "Pending")),
        (Delivered(), {"conditions": [held("Programmed", "False")]}, ("False", "Pending")),
    ],
)
def test_programmed_is_what_a_proxy_has_acknowledged(delivered: Delivered, before: dict[str, Any], expected: tuple[str, str]) -> None:
    assert programmed(gateway(delivered, before)) == expected


def test_a_proxy_that_is_behind_is_named() -> None:
    status = gateway(Delivered(connected=2, behind=("pod-2",)))
    assert programmed(status) == ("True", "Programmed")
    assert "pod-2" in status["conditions"][1]["message"]


def test_a_listener_set_is_programmed_when_its_gateways_proxies_have_its_sockets() -> None:
    entry = ListenerStatus("http", 1, (("g", "HTTPRoute"),), (said("Programmed"),), socket="tcp/a/80")
    status = ListenerSetStatus(("default", "gw"), (said("Accepted"), said("Programmed")), (entry,))
    for delivered, expected in ((Delivered(connected=1), "True"), (Delivered(connected=1, pending=frozenset({"tcp/a/80"})), "False")):
        written = statuses.listener_set(status, delivered, Told({}, NOW))
        assert programmed(written)[0] == programmed(written["listeners"][0])[0] == expected
    assert statuses.gateway(GatewayStatus((), (), (), 2), Delivered(), Told({}, NOW))["attachedListenerSets"] == 2


def test_a_gateway_and_a_listener_set_of_one_name_are_two_parents() -> None:
    asked = (ParentReference(name="gw"), ParentReference(name="gw", kind="ListenerSet"))
    two = [ParentStatus("shop", "gw", None, None, (said("Accepted", status),), kind) for kind, status in
           (("Gateway", "True"), ("ListenerSet", "False"))]  # fmt: skip
    parents = route({}, *two, asked=asked)
    found = {each["parentRef"]["kind"]: each["conditions"][0]["status"] for each in parents}
    assert found == {"Gateway": "True", "ListenerSet": "False"}


def route(before: dict[str, Any], *parents: ParentStatus, asked: tuple[ParentReference, ...] = ()) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = statuses.route(RouteStatus(parents), "shop", asked, Told(before, NOW))["parents"]
    return parts


def test_parents_of_other_controllers_stay_as_and_where_they_are() -> None:
    mine = {"parentRef": {"name": "gw"}, "controllerName": statuses.CONTROLLER, "conditions": [held("Accepted")]}
    parents = route({"parents": [mine, OTHER]}, ParentStatus("shop", "gw", None, None, (said("Accepted"),)))
    assert parents[1] is OTHER
    assert parents[0]["conditions"][0]["lastTransitionTime"] == THEN
    more = ParentStatus("infra", "big", "http", 80, (said("Accepted"),))
    parents = route({"parents": [OTHER, mine]}, more)
    assert [each["parentRef"]["name"] for each in parents] == ["gw", "big"]
    assert parents[1]["parentRef"]["namespace"] == "infra"
    assert parents[1]["conditions"][0]["lastTransitionTime"] == STAMP
    assert route({"parents": [OTHER, mine]}) == [OTHER]


def test_a_parent_is_named_as_the_route_names_it() -> None:
    same = ParentStatus("shop", "gw", None, None, ())
    assert route({}, same)[0]["parentRef"] == {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw"}
    asked = (ParentReference("gw", namespace="shop"),)
    assert route({}, same, asked=asked)[0]["parentRef"]["namespace"] == "shop"


def test_ancestors_leave_room_for_others() -> None:
    others = [{"ancestorRef": {"name": f"g{each}"}, "controllerName": "example.org/other", "conditions": []} for each in range(15)]
    made = statuses.ancestors((said("Accepted"),), [("a", "two"), ("a", "one")], Told({"ancestors": others}, NOW))["ancestors"]
    assert made[:15] == others
    assert [each["ancestorRef"]["name"] for each in made[15:]] == ["one"]


def test_an_xbackend_calls_its_gateways_parents() -> None:
    made = statuses.ancestors((said("Accepted"),), [("a", "one")], Told({}, NOW), statuses.LISTS["XBackend"])
    ((field, (entry,)),) = made.items()
    assert (field, entry["parentRef"]["name"], entry["conditions"][0]["type"]) == ("parents", "one", "Accepted")
    assert statuses.ancestors((said("Accepted"),), [("a", "one")], Told(made, NOW), statuses.LISTS["XBackend"]) == made


def test_written_again_it_is_the_same() -> None:
    first = gateway(Delivered(connected=1))
    assert gateway(Delivered(connected=1), first) == first
    once = statuses.route(RouteStatus((ParentStatus("infra", "big", None, None, (said("Accepted"),)),)), "shop", (), Told({}, NOW))
    again = statuses.route(RouteStatus((ParentStatus("infra", "big", None, None, (said("Accepted"),)),)), "shop", (), Told(once, NOW))
    assert again == once
