"""`flota status`, once or live."""

import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from flota.cli import client, place
from flota.cli.live import Screen, changes
from flota.cli.options import Output
from flota.cli.output import emit, note, write
from flota.cli.read import ask
from flota.cli.status_table import status_table
from flota.report.status import FleetStatus
from flota.report.status import status as report

_WATCH_S = 0.5
_EPOCH = datetime.fromtimestamp(0, UTC)


def show_status(folder: Path, output: Output) -> int:
    """Print it once; 1 when nothing runs, so that scripts can tell."""
    body, running = ask(folder, "/v1/status", {}, report)
    emit(body, FleetStatus, output, status_table)
    if not running:
        note(_not_running(folder))
    return 0 if running else 1


def watch_status(folder: Path, output: Output) -> int:
    """Until interrupted: a table redrawn in place; without a terminal lines of what changed; JSON: a document a line per change."""
    screen, last = Screen(), b""
    before: FleetStatus | None = None
    while True:
        try:
            body = client.get(folder, "/v1/status").body
        except client.NotRunning:
            note(_not_running(folder))
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
        time.sleep(_WATCH_S)


def _print_new(body: bytes, content: bytes, last: bytes) -> bytes:
    if content != last:
        write(body.decode())
    return content


def _not_running(folder: Path) -> str:
    pid = place.holder(folder)
    if pid is not None:
        return f"Flota (pid {pid}) is starting or stopping in {folder}"
    return f"Flota does not run in {folder}; start it with `flota up` (what a killed one left keeps serving until `flota down`)"
