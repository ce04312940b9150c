"""Commands that ask a question or change a drain: the report, printed, and the exit code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from flota.cli import client
from flota.cli.failure import Failure
from flota.cli.options import Contexts, Output
from flota.cli.output import emit, write
from flota.cli.read import ask, view_of
from flota.cli.whatif_table import check_text, drain_text, undrain_text, whatif_text
from flota.report.check import CheckReport, check
from flota.report.whatif import DrainReport, UndrainReport, WhatIfReport, drain_report, what_if


def what_would(folder: Path | Contexts, lose: Sequence[str], drain: Sequence[str], output: Output) -> int:
    """`flota whatif`."""
    body, _ = ask(folder, "/v1/whatif", {"lose": lose, "drain": drain}, lambda view: what_if(view, lose, drain))
    emit(body, WhatIfReport, output, whatif_text)
    return 0


def check_place(place: Path | Contexts, output: Output) -> int:
    """`flota check`: what files or clusters say now, whatever runs. 1 = something would be refused, or could not be read."""
    report = check(view_of(place))
    emit(msgspec.json.encode(report), CheckReport, output, check_text)
    return 0 if report.ok else 1


def drain(folder: Path, target: str, seconds: float, output: Output, *, dry_run: bool, force: bool) -> int:
    """`flota drain`: 1 = refused. A dry run says what would happen, and is 0."""
    try:
        body = client.post(folder, "/v1/drain", {"target": target, "forS": seconds, "dryRun": dry_run, "force": force}).body
    except client.NotRunning:
        body = _drain_of_files(folder, target, seconds, dry_run=dry_run, force=force)
    report = msgspec.json.decode(body, type=DrainReport)
    emit(body, DrainReport, output, drain_text)
    return 0 if report.applied or dry_run else 1


def undrain(folder: Path, target: str, output: Output) -> int:
    """`flota undrain`: 1 = there is no such drain."""
    try:
        body = client.post(folder, "/v1/undrain", {"target": target}).body
    except client.NotRunning:
        raise Failure(f"Flota does not run in {folder}, so nothing is drained; start it with `flota up`") from None
    emit(body, UndrainReport, output, undrain_text)
    return 0


def render(folder: Path, cluster: str | None, what: Literal["envoy", "objects"], output: Output) -> int:
    """`flota render`: what the files come to, whatever runs."""
    from flota.cli.output import as_yaml
    from flota.cli.render import documents

    found = documents(folder, what, cluster)
    if output is Output.JSON:
        items = found[0] if len(found) == 1 else {"apiVersion": "v1", "kind": "List", "items": found}
        write(msgspec.json.format(msgspec.json.encode(items), indent=2).decode())
    else:
        write("---\n".join(as_yaml(each) for each in found))
    return 0


def _drain_of_files(folder: Path, target: str, seconds: float, *, dry_run: bool, force: bool) -> bytes:
    if not dry_run:
        raise Failure(f"Flota does not run in {folder}, so there is no traffic to drain; see what would happen with --dry-run")
    from datetime import timedelta

    from flota.app.folder import view_of_folder
    from flota.report.failed import Failed

    view = view_of_folder(folder)
    report = drain_report(view, target, view.now + timedelta(seconds=seconds), dry_run=True, force=force)
    if isinstance(report, Failed):
        raise Failure(report.message, report.code)
    return msgspec.json.encode(report)
