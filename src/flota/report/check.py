"""`flota check`: every problem, and whether any object would be refused."""

from typing import Literal

from msgspec.structs import asdict

from flota.report.problems import ProblemRow, problem_rows, row_of
from flota.report.shape import API_VERSION, ApiVersion, Row
from flota.report.view import View


class CheckedRow(ProblemRow, frozen=True, kw_only=True):
    """A problem. `refused`: the object or file would not be taken; else it is in effect, with a bad condition."""

    refused: bool = False


class CheckReport(Row, frozen=True, kw_only=True):
    """`ok`: nothing would be refused, and everything could be read (`unseen`: what could not).

    `ignored`: objects of kinds that Flota has no use for, counted by group.
    """

    api_version: ApiVersion = API_VERSION
    kind: Literal["CheckReport"] = "CheckReport"
    ok: bool
    problems: tuple[CheckedRow, ...]
    unseen: tuple[str, ...]
    ignored: dict[str, int]


def check(view: View) -> CheckReport:
    """Nothing but what the files say: nothing has to run."""
    refused = {row_of(view, each) for each in view.refusals}
    rows = problem_rows(view)
    return CheckReport(
        ok=not refused and not view.unseen(),
        problems=tuple(CheckedRow(**asdict(each), refused=each in refused) for each in rows),
        unseen=view.unseen(),
        ignored=dict(view.ignored),
    )
