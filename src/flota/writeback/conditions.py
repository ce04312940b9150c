"""Conditions as the API server holds them: dated, and `Programmed` by what proxies have acknowledged. Pure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, field, structs

from flota.fleet.meta import Condition

Json = dict[str, Any]


class Delivered(Struct, frozen=True):
    """What the proxies of a Gateway have of what was planned for it. One that has a thing is enough: the others follow."""

    connected: int = 0
    """Proxies that follow us."""
    pending: frozenset[str] = frozenset()
    """Sockets of the plan that no proxy has acknowledged."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Sockets that proxies refused, and their words."""
    behind: tuple[str, ...] = ()
    """Proxies that lack something which another one has."""


def dated(wanted: Iterable[Condition], held: object, now: datetime) -> list[Json]:
    """Conditions to write: each keeps its time while its status is the one in `held` (a list of conditions as JSON)."""
    known = {each.get("type"): each for each in held if isinstance(each, dict)} if isinstance(held, list) else {}
    return [_dated(each, known.get(each.type), now) for each in wanted]


def acknowledged(wanted: tuple[Condition, ...], sockets: Iterable[str], delivered: Delivered, held: object) -> tuple[Condition, ...]:
    """The conditions with `Programmed` as true as it is. `held`: the conditions at the API server.

    Without any proxy that follows us nothing is known: what was true for this generation stays true, as proxies keep what they have.
    """
    return tuple(_acknowledged(each, frozenset(sockets), delivered, held) if _promised(each) else each for each in wanted)


def _promised(condition: Condition) -> bool:
    return condition.type == "Programmed" and condition.status == "True"


def _acknowledged(wanted: Condition, sockets: frozenset[str], delivered: Delivered, held: object) -> Condition:
    for name in sorted(sockets & delivered.refused.keys()):
        return _not_yet(wanted, "Invalid", f"the proxy refused {name}: {delivered.refused[name]}")
    if not delivered.connected:
        return wanted if _was_true(wanted, held) else _not_yet(wanted, "Pending", "no proxy of it follows Flota yet")
    missing = sorted(sockets & delivered.pending)
    if missing:
        return _not_yet(wanted, "Pending", f"no proxy of it has acknowledged {missing[0]} yet")
    if delivered.behind:
        return structs.replace(wanted, message=f"not everything has arrived at {', '.join(delivered.behind)} yet")
    return wanted


def _not_yet(wanted: Condition, reason: str, message: str) -> Condition:
    return structs.replace(wanted, status="False", reason=reason, message=message)


def _was_true(wanted: Condition, held: object) -> bool:
    known = held if isinstance(held, list) else []
    return any(
        isinstance(each, dict)
        and (each.get("type"), each.get("status"), each.get("observedGeneration")) == (wanted.type, "True", wanted.observed_generation)
        for each in known
    )


def _dated(condition: Condition, known: Json | None, now: datetime) -> Json:
    same = known is not None and known.get("status") == condition.status
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": condition.observed_generation,
        "lastTransitionTime": known["lastTransitionTime"] if same and known and "lastTransitionTime" in known else stamp(now),
    }


def stamp(moment: datetime) -> str:
    """meta/v1 Time: RFC 3339 in whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
