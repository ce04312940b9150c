"""Conditions as they hold now: the planned ones, `Programmed` by what the proxy acknowledged, and since when."""

from collections.abc import Mapping

from msgspec import structs

from flota.fleet.meta import Condition
from flota.plan import GatewayStatus, ListenerSetStatus, ObjectRef, ParentStatus, RouteStatus
from flota.plan.plan import Status
from flota.report.listening import gateway_conditions
from flota.report.view import Since, View

Parts = tuple[tuple[str, tuple[Condition, ...]], ...]
"""(what the conditions are about, the conditions): the object itself is "", a listener `listener/<name>`, a parent `parent/…`."""


def parts(status: Status) -> Parts:
    """All conditions of a status, as planned."""
    if isinstance(status, RouteStatus):
        return tuple((parent_part(each), each.conditions) for each in status.parents)
    if isinstance(status, GatewayStatus | ListenerSetStatus):
        return (("", status.conditions), *((f"listener/{each.name}", each.conditions) for each in status.listeners))
    return (("", status.conditions),)


def parent_part(parent: ParentStatus) -> str:
    """`parent/<namespace>/<name>[/<listener>][:<port>]`; of a ListenerSet `parent/ListenerSet/…`."""
    section = f"/{parent.section_name}" if parent.section_name else ""
    port = f":{parent.port}" if parent.port else ""
    kind = "" if parent.kind == "Gateway" else f"{parent.kind}/"
    return f"parent/{kind}{parent.namespace}/{parent.name}{section}{port}"


def effective(view: View, ref: ObjectRef, status: Status) -> Parts:
    """The conditions of an object as they hold now, with `lastTransitionTime` where it is known."""
    held = parts(status)
    if isinstance(status, GatewayStatus | ListenerSetStatus):
        own, listeners = gateway_conditions(view, ref.cluster, status)
        held = (("", own), *((f"listener/{name}", conditions) for name, conditions in listeners.items()))
    since = view.since.get(ref, {})
    return tuple((part, tuple(_dated(since, part, each) for each in conditions)) for part, conditions in held)


def find(conditions: tuple[Condition, ...], type_: str) -> Condition | None:
    """The condition of that type."""
    return next((each for each in conditions if each.type == type_), None)


def advance(before: View | None, view: View) -> Mapping[ObjectRef, Since]:
    """When each condition took its status, as of `view.now`; hand it to the next view as `since`. `before` is the last view.

    A condition seen for the first time took its status now. Work for an object whose planned status is the identical one is a look-up;
    Gateways are looked at each time, as what their proxy acknowledged changes without the plan.
    """
    old = before.plan.statuses if before is not None else {}
    known = before.since if before is not None else {}
    dated: dict[ObjectRef, Since] = {}
    for ref, status in view.plan.statuses.items():
        same = old.get(ref) is status and not isinstance(status, GatewayStatus | ListenerSetStatus)
        last = known.get(ref)
        dated[ref] = last if same and last is not None else _since(view, ref, status, last or {})
    return dated


def _since(view: View, ref: ObjectRef, status: Status, last: Since) -> Since:
    # The status is part of the key, so a change of it is a new key, dated now.
    return {
        (part, each.type, each.status): last.get((part, each.type, each.status), view.now)
        for part, conditions in effective(view, ref, status)
        for each in conditions
    }


def _dated(since: Since, part: str, condition: Condition) -> Condition:
    moment = since.get((part, condition.type, condition.status))
    return condition if moment is None else structs.replace(condition, last_transition_time=moment)
