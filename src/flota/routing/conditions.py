"""Conditions as the Gateway API writes them, and what people read of the bad ones."""

from collections.abc import Iterable

from flota.fleet.meta import Condition
from flota.fleet.problem import Problem
from flota.plan import ObjectRef

_BAD_WHEN_TRUE = frozenset({"Conflict", "Conflicted", "PartiallyInvalid", "OverlappingTLSConfig", "InsecureFrontendValidationMode"})
"""Conditions of negative polarity."""


def true(kind: str, generation: int, reason: str | None = None, message: str = "") -> Condition:
    """`kind` holds; the reason is the condition's own name unless told otherwise."""
    return Condition(
        type=kind, status="True", reason=reason or kind, message=message, observed_generation=generation
    )


def false(kind: str, generation: int, reason: str, message: str = "") -> Condition:
    """`kind` does not hold, and why."""
    return Condition(type=kind, status="False", reason=reason, message=message, observed_generation=generation)


def is_bad(condition: Condition) -> bool:
    """Whether people should look at it. What they asked for, or what is only worth knowing, is nothing wrong."""
    if condition.type in ("OverlappingTLSConfig", "InsecureFrontendValidationMode"):
        return False
    return condition.status == ("True" if condition.type in _BAD_WHEN_TRUE else "False")


def problem(ref: ObjectRef, reason: str, message: str) -> Problem:
    """A problem of the object."""
    return Problem(
        cluster=ref.cluster or None,
        kind=ref.kind,
        namespace=ref.namespace,
        name=ref.name,
        reason=reason,
        message=message,
    )


def problems(ref: ObjectRef, conditions: Iterable[Condition], where: str = "") -> tuple[Problem, ...]:
    """One problem for each thing that is wrong: of several conditions with one message the first tells it."""
    seen: dict[str, Problem] = {}
    for condition in conditions:
        if is_bad(condition):
            text = condition.message or f"{condition.type} is {condition.status}"
            seen.setdefault(text, problem(ref, condition.reason, f"{where}{text}"))
    return tuple(seen.values())
