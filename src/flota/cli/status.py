"""`flota status`, once or live."""

import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from flota.cli import client, place
from flota.cli.live import Screen, changes
from flota.cli.options import Contexts, Output
from flota.cli.output import emit, note, write
from flota.cli.read import ask
from flota.cli.status_table import status_table
from flota.report.status import FleetStatus
from flota.report.status import status as report

_WATCH_S = 0.5
_READ_S = 5.0
"""Clusters are read anew so often."""
_EPOCH = datetime.fromtimestamp(0, UTC)


def show_status(folder: Path | Contexts, output: Output) -> int:
    """Print it once; 1 when nothing runs, so that scripts can tell. Of clusters: 1 when not all of them could be read."""
    body, running = ask(folder, "/v1/status", {}, report)
    emit(body, FleetStatus, output, status_table)
    if isinstance(folder, Contexts):
        return 1 if msgspec.json.decode(body, type=FleetStatus).unseen else 0
    if not running:
        note(_not_running(folder))
    return 0 if running else 1


def watch_status(folder: Path | Contexts, output: Output) -> int:
    """Until interrupted: a table redrawn in place; without a terminal lines of what changed; JSON: a document a line per change."""
    screen, last = Screen(), b""
    before: FleetStatus | None = None
    while True:
        try:
            body = _now(folder)
        except client.NotRunning as gone:
            note(str(gone))
            return 1
        now = msgspec.json.decode(body, type=FleetStatus)
        if output in (Output.JSON, Output.YAML):
            last = _print_new(body, msgspec.json.encode(msgspec.structs.replace(now, time=_EPOCH)), last)
        elif screen.live:
            screen.show(status_table(now, output is Output.WIDE))
        else:
            for line in changes(before, now):
                write(f"{now.time:%H:%M:%S} {line}")
        before = now
        time.sleep(_READ_S if isinstance(folder, Contexts) else _WATCH_S)


def _now(place: Path | Contexts) -> bytes:
    """Raises NotRunning, with what to do about it."""
    if isinstance(place, Contexts):
        return ask(place, "/v1/status", {}, report)[0]
    try:
        return client.get(place, "/v1/status").body
    except client.NotRunning:
        raise client.NotRunning(_not_running(place)) from None


def _print_new(body: bytes, content: bytes, last: bytes) -> bytes:
    if content != last:
        write(body.decode())
    return content


def _not_running(folder: Path) -> str:
    pid = place.holder(folder)
    if pid is not None:
        return f"Flota (pid {pid}) is starting or stopping in {folder}"
    return f"Flota does not run in {folder}; start it with `flota up` (what a killed one left keeps serving until `flota down`)"
