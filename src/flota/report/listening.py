"""Conditions of a Gateway or ListenerSet and its listeners as its proxy makes them: planned, then acknowledged or refused.

Source: Gateway API v1.6.1, Gateway and Listener conditions. A listener whose socket the machine does not give (another process has the
port, it needs root) is refused like one that can't be planned, and the others of its Gateway serve.
"""

from msgspec import structs

from flota.fleet.meta import Condition
from flota.plan import GatewayStatus, ListenerSetStatus, ListenerStatus
from flota.report.delivery import Delivery, delivery
from flota.report.view import View

Conditions = tuple[Condition, ...]


def gateway_conditions(view: View, cluster: str, status: GatewayStatus | ListenerSetStatus) -> tuple[Conditions, dict[str, Conditions]]:
    """Those of the Gateway or ListenerSet, and those of each listener by its name."""
    served = {each.name: delivery(view, cluster, [each.socket]) for each in status.listeners if each.socket is not None}
    refused = {name: found for name, found in served.items() if found.state == "Refused"}
    listeners = {each.name: _listener(each, served.get(each.name)) for each in status.listeners}
    if served and len(refused) == len(served):
        return _none_is_served(status, next(iter(refused.values()))), listeners
    others = [each.socket for each in status.listeners if each.socket is not None and each.name not in refused]
    found = delivery(view, cluster, others)
    return tuple(_some_are_refused(_programmed(each, found), refused) for each in status.conditions), listeners


def _listener(listener: ListenerStatus, found: Delivery | None) -> Conditions:
    if found is None:
        return listener.conditions
    if found.state != "Refused":
        return tuple(_programmed(each, found) for each in listener.conditions)
    turned = {"Programmed": "Invalid"} | ({"Accepted": found.reason} if found.reason == "PortUnavailable" else {})
    return tuple(_false(each, turned[each.type], found.message) if each.type in turned else each for each in listener.conditions)


def _none_is_served(status: GatewayStatus | ListenerSetStatus, found: Delivery) -> Conditions:
    programmed = found.reason if found.reason == "AddressNotUsable" else "Invalid"
    turned = {"Programmed": programmed} | ({"Accepted": "ListenersNotValid"} if found.reason == "PortUnavailable" else {})
    return tuple(_false(each, turned[each.type], found.message) if each.type in turned else each for each in status.conditions)


def _some_are_refused(condition: Condition, refused: dict[str, Delivery]) -> Condition:
    if not refused or condition.type != "Accepted" or condition.status != "True":
        return condition
    text = "; ".join(f"listener {name}: {found.message}" for name, found in refused.items())
    return structs.replace(condition, reason="ListenersNotValid", message=text)


def _programmed(condition: Condition, found: Delivery) -> Condition:
    """Planned to be programmed: it is once the proxy has acknowledged."""
    if condition.type != "Programmed" or condition.status != "True" or found.state == "Acknowledged":
        return condition
    status = "Unknown" if found.state == "Unknown" else "False"
    return structs.replace(condition, status=status, reason=found.reason, message=found.message)


def _false(condition: Condition, reason: str, message: str) -> Condition:
    return condition if condition.status == "False" else structs.replace(condition, status="False", reason=reason, message=message)
