"""`flota up` and `flota down`: the Flota of a folder, in front or in the background."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from flota.cli import client, place
from flota.cli.failure import Failure
from flota.cli.output import note, write
from flota.cli.status_table import problem_lines
from flota.report.status import FleetStatus

_POLL_S = 0.05
_FINAL_GRACE_S = 2.0
"""How long things that can't become good may stand alone before `up -d` gives up: a file may just be on its way."""
LOG = Path(".flota/logs/flota.log")


def refuse_second(folder: Path) -> None:
    """Raises Failure when a Flota runs the folder already."""
    pid = place.holder(folder)
    if pid is not None:
        raise Failure(f"Flota runs {folder} already (pid {pid}): see `flota status`, or stop it with `flota down`")


def start(folder: Path) -> "subprocess.Popen[bytes]":
    """Start the Flota of a folder in the background; it outlives us. Raises Failure."""
    log = folder / LOG
    try:
        for each in (folder / ".flota", log.parent):
            each.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failure(f"cannot write {error.filename or log}: {error.strerror}; Flota keeps its state there") from error
    with os.fdopen(descriptor, "wb") as out:
        argv = [sys.executable, "-m", "flota.cli", "run", "-C", str(folder)]
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd=folder)


def wait(folder: Path, process: "subprocess.Popen[bytes]", timeout: float, tell: Callable[[str], None]) -> tuple[FleetStatus | None, bool]:
    """Until the fleet is settled. Returns the last status and whether it is. Raises Failure when Flota ends before that."""
    started = time.monotonic()
    deadline = started + timeout
    final_since: float | None = None
    status: FleetStatus | None = None
    told = started
    while time.monotonic() < deadline:
        if process.poll() is not None:
            code = 2 if process.returncode == 2 else 1  # 2: it was asked for something that can't be, such as by a setting
            raise Failure(f"Flota ended at once (exit code {process.returncode}): {_last_lines(folder)}", code)
        status = _status(folder) or status
        if status is not None and status.settled:
            return status, True
        only_final = status is not None and bool(status.waiting) and all(each.final for each in status.waiting)
        final_since = (final_since or time.monotonic()) if only_final else None
        if final_since is not None and time.monotonic() - final_since > _FINAL_GRACE_S:
            return status, False
        if time.monotonic() - told > 1:
            told = time.monotonic()
            tell(_progress(status, told - started))
        time.sleep(_POLL_S)
    return status, False


def up_detached(folder: Path, timeout: float) -> int:
    """Start in the background and wait; 0 when everything admitted is in effect, 1 if not in time. Problems are printed either way."""
    status, settled = wait(folder, start(folder), timeout, note)
    if status is None:
        raise Failure(f"Flota does not answer within {timeout:g} s; see `flota logs flota`")
    if status.problems:
        note(problem_lines(status.problems))
    if not settled:
        why = "\n".join(f"  {each.message}" for each in status.waiting)
        raise Failure(f"not everything is in effect within {timeout:g} s; Flota goes on trying in the background:\n{why}")
    serving = [each for each in status.gateways if each.programmed]
    addresses = ", ".join(f"{each.cluster} {each.namespace}/{each.name} {','.join(each.addresses)}" for each in serving)
    write(f"{status.name} is up ({addresses or ('no Gateway serves' if status.gateways else 'no Gateways')})")
    return 0


def down(folder: Path, timeout: float) -> tuple[str, ...]:
    """Stop everything that was started for a folder. Returns what was stopped, empty when nothing ran. Raises Failure."""
    pid = place.holder(folder)
    if pid is None:
        return _stop_leftovers(folder)
    try:
        client.post(folder, "/v1/stop")
    except client.NotRunning as error:
        raise Failure(f"Flota (pid {pid}) runs but does not listen yet, or is stopping; try again") from error
    started = told = time.monotonic()
    # The lock goes with the last breath of the process, which a moment later is no more.
    while place.holder(folder) is not None or _lives(pid):
        now = time.monotonic()
        if now - started > timeout:
            raise Failure(f"Flota (pid {pid}) has not stopped within {timeout:g} s; see `flota logs flota`")
        if now - told > 1:
            told = now
            note(f"stopping ({now - started:.0f} s): proxies finish their requests, then pods end")
        time.sleep(_POLL_S)
    return (f"Flota (pid {pid})",)


def _lives(pid: int) -> bool:
    """Whether the process is there and not merely waiting to be reaped, as our own child is (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _stop_leftovers(folder: Path) -> tuple[str, ...]:
    """Proxies and pods outlive a Flota that was killed."""
    left = asyncio.run(_left_running(folder))
    if not left:
        return ()
    from flota.app.run import stop_fleet
    from flota.settings import read

    problem = asyncio.run(stop_fleet(folder, read()))
    if problem is not None:
        raise Failure(problem.message)
    return (f"what an earlier Flota had left running ({left} processes)",)


async def _left_running(folder: Path) -> int:
    from flota.local.process import Runner

    state = place.states(folder)[0]
    living, _ = Runner(state.processes, state.identity).adopt()
    return len(living)


def _status(folder: Path) -> FleetStatus | None:
    try:
        answer = client.get(folder, "/v1/status", timeout=5)
    except client.NotRunning:
        return None
    except Failure:
        return None  # it is still starting; the deadline decides
    return msgspec.json.decode(answer.body, type=FleetStatus)


def _progress(status: FleetStatus | None, seconds: float) -> str:
    if status is None:
        return f"starting ({seconds:.0f} s)"
    first = status.waiting[0].message if status.waiting else "…"
    more = f" (and {len(status.waiting) - 1} more)" if len(status.waiting) > 1 else ""
    return f"waiting ({seconds:.0f} s): {first}{more}"


def _last_lines(folder: Path) -> str:
    from flota.local.logs import tail

    return " | ".join(tail(folder / LOG)[-3:]) or f"see {folder / LOG}"
