"""Where objects stand in files, and which problems refuse one."""

from collections.abc import Callable, Iterable

from flota.fleet.problem import Problem
from flota.plan import ObjectRef
from flota.report.view import Origin

Where = Callable[[str, str, str, str], tuple[str, int] | None]
"""(cluster, kind, namespace, name) → file and line."""

_IN_EFFECT = frozenset({"NoService", "InvalidServiceType", "NotSupportedYet"})
"""Reasons of the sources that refuse nothing: the object is admitted and has no or another effect. Conflicts are told apart by name."""


def origins(where: Where) -> Callable[[ObjectRef], Origin | None]:
    """The look-up that reports use. Kinds without namespace stand under an empty one."""

    def origin(ref: ObjectRef) -> Origin | None:
        found = where(ref.cluster, ref.kind, ref.namespace, ref.name) or where(ref.cluster, ref.kind, "", ref.name)
        return None if found is None else Origin(*found)

    return origin


def refusals(problems: Iterable[Problem]) -> frozenset[Problem]:
    """Those that refuse an object or a file."""
    return frozenset(problem for problem in problems if problem.reason not in _IN_EFFECT and not problem.reason.endswith("Conflict"))
