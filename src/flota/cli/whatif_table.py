"""`flota whatif`, `flota drain` and `flota check` for people."""

from collections.abc import Iterable, Mapping

from flota.cli.output import paint, table
from flota.cli.status_table import problem_lines
from flota.report.check import CheckReport
from flota.report.whatif import DrainReport, OutlookRow, UndrainReport, WhatIfReport


def whatif_text(report: WhatIfReport, wide: bool) -> str:
    """A row for each service and place it is asked from."""
    if not report.services:
        return "No route uses a service, so nothing would change."
    return outlook_table(report.services)


def outlook_table(services: Iterable[OutlookRow]) -> str:
    """Shares before and after."""
    rows = [
        (
            f"{each.kind} {each.namespace}/{each.name}",
            each.source,
            _shares(each.before),
            _shares(each.after),
            "yes" if each.left else "no",
            each.why,
        )
        for each in services
    ]
    colours = {"no": "red"}
    return table(
        ("SERVICE", "ASKED FROM", "BEFORE", "AFTER", "LEFT", "WHY"), rows, lambda column, text: colours.get(text) if column == 4 else None
    )


def drain_text(report: DrainReport, wide: bool) -> str:
    """What is done, and what happens to each service."""
    until = report.until.isoformat(timespec="seconds")
    if report.applied:
        head = f"{report.target} is drained until {until}; take it back with `flota undrain {report.target}`"
    elif report.dry_run and (report.forced or not report.refusals):
        head = f"{report.target} would be drained until {until}; nothing was changed"
    else:
        head = f"{report.target} {'would not be' if report.dry_run else 'is not'} drained:"
    refusals = [f"  {each}" for each in report.refusals]
    return "\n".join([head, *refusals, *([outlook_table(report.services)] if report.services else [])])


def undrain_text(report: UndrainReport, wide: bool) -> str:
    """One line."""
    return f"{report.target} gets its traffic again"


def check_text(report: CheckReport, wide: bool) -> str:
    """Every problem, then the verdict."""
    refused = sum(each.refused for each in report.problems)
    rest = len(report.problems) - refused
    ignored = [f"{count} of {group or 'core'}" for group, count in sorted(report.ignored.items())]
    lines = [problem_lines(report.problems)] if report.problems else []
    if refused:
        lines.append(paint(f"{refused} would be refused" + (f", {rest} would not resolve" if rest else ""), "red"))
    elif rest:
        lines.append(paint(f"Nothing would be refused; {rest} would not resolve", "yellow"))
    else:
        lines.append(paint("No problems.", "green"))
    if wide and ignored:
        lines.append(f"Ignored, as Flota has no use for them: {', '.join(ignored)}")
    return "\n".join(lines)


def _shares(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{cluster} {share:.0%}" for cluster, share in sorted(shares.items(), key=lambda each: -each[1])) or "nothing"
