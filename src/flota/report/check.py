"""`flota check`: every problem, and whether any object would be refused."""

from typing import Literal

from flota.report.problems import ProblemRow, problem_rows, row_of
from flota.report.shape import API_VERSION, ApiVersion, Row
from flota.report.view import View


class CheckReport(Row, frozen=True):
    """`refused`: objects and files that would not be taken. `unresolved`: admitted, in effect, and with a bad condition.

    `ignored`: objects of kinds that Flota has no use for, counted by group.
    """

    api_version: ApiVersion = API_VERSION
    kind: Literal["CheckReport"] = "CheckReport"
    ok: bool
    refused: tuple[ProblemRow, ...]
    unresolved: tuple[ProblemRow, ...]
    ignored: dict[str, int]


def check(view: View) -> CheckReport:
    """Nothing but what the files say: nothing has to run."""
    refused = {row_of(view, each) for each in view.refusals}
    rows = problem_rows(view)
    return CheckReport(
        ok=not refused,
        refused=tuple(each for each in rows if each in refused),
        unresolved=tuple(each for each in rows if each not in refused),
        ignored=dict(view.ignored),
    )
