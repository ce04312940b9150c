"""The Flota of this very process: in front with a live table, or quiet in the background."""

import asyncio
import os
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from flota.cli import client
from flota.cli.failure import Failure
from flota.cli.live import Screen, changes
from flota.cli.output import write
from flota.cli.status_table import status_table
from flota.report.status import FleetStatus

if TYPE_CHECKING:
    from flota.app.engine import Engine

_REDRAW_S = 0.5


def run_in_front(folder: Path) -> int:
    """Until interrupted; then everything it started is stopped."""
    ended = threading.Event()
    # A thread that asks as any other command does: drawing never delays the fleet, and the fleet needs to know nothing of tables.
    table = threading.Thread(target=_show, args=(folder, ended), name="table", daemon=True)
    table.start()
    try:
        return run_quiet(folder)
    finally:
        ended.set()
        table.join(timeout=2)


def run_quiet(folder: Path, *, tell: bool = False) -> int:
    """Until told to stop; with `tell` the log begins with who runs what. Raises Failure when it can't start."""
    from flota.settings import read

    try:
        settings = read()
    except msgspec.ValidationError as error:
        raise Failure(f"a setting in the environment (FLOTA_…) is wrong: {error}", 2) from error
    from flota.app.run import run_fleet

    problem = asyncio.run(run_fleet(folder, settings, _tell if tell else lambda _: None))
    if problem is not None:
        raise Failure(problem.message)
    return 0


def _tell(engine: "Engine") -> None:
    taken = ", ".join(engine.proxies.adopted())
    over = f"; took over the proxies of {taken}" if taken else ""
    when = engine.started.isoformat(timespec="milliseconds")
    write(f"{when} Flota {version('flota')} (pid {os.getpid()}) runs {engine.state.folder}{over}")
    sys.stdout.flush()


def _show(folder: Path, ended: threading.Event) -> None:
    screen = Screen()
    before: FleetStatus | None = None
    while not ended.wait(_REDRAW_S if before is not None else 0.1):
        try:
            now = msgspec.json.decode(client.get(folder, "/v1/status").body, type=FleetStatus)
        except (client.NotRunning, Failure):
            continue  # it is starting or stopping
        if screen.live:
            screen.show(f"{status_table(now, wide=False)}\n\nCtrl-C stops the fleet.")
        else:
            for line in changes(before, now):
                write(f"{now.time.isoformat(timespec='milliseconds')} {line}")
            sys.stdout.flush()
        before = now
