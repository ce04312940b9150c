"""The demo from an empty temporary folder to nothing left."""

import asyncio
import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from flota.cli import client, place, up
from flota.cli.demo.figures import shift
from flota.cli.demo.load import Load, Target
from flota.cli.demo.show import Show
from flota.cli.demo.story import PHASES, REGION, perform, reasons
from flota.cli.failure import Failure
from flota.cli.init import REGIONS, write_example
from flota.cli.output import note, write
from flota.report.status import FleetStatus

RATE = 200.0
"""Requests per second of the clients near each region."""
SHORTEST_S = 20.0
_START_S = 60.0
_EXPLAIN_AFTER_S = 2.0
_PORT = 8080


def demo(seconds: float) -> int:
    """Run it all; 0 only if no request failed and traffic moved each time. Whatever happens, nothing is left."""
    with _interruptible():
        root = Path(tempfile.mkdtemp(prefix="flota-demo-"))
        folder = root / "shop"
        started: list[subprocess.Popen[bytes]] = []
        lines: tuple[str, ...] = ()
        try:
            code, lines = _demo(folder, max(seconds, SHORTEST_S), started)
        except KeyboardInterrupt:
            note("interrupted: stopping everything")
            code = 130
        finally:
            cleaned = _clean(root, folder, started)
    for line in lines:
        write(line)
    return code if cleaned else max(code, 1)


def _demo(folder: Path, seconds: float, started: list[subprocess.Popen[bytes]]) -> tuple[int, tuple[str, ...]]:
    write(f"A fleet of two regions, {' and '.join(REGIONS.values())}, each with two pods, in {folder}.")
    write_example(folder)
    started.append(up.start(folder))
    status, settled = up.wait(folder, started[0], _START_S, note)
    if status is None or not settled:
        waiting = "; ".join(each.message for each in status.waiting) if status is not None else "no answer"
        raise Failure(f"the fleet is not up after {_START_S:g} s: {waiting}")
    load = Load({REGIONS[each.cluster]: Target(each.addresses[0], _PORT) for each in status.gateways}, RATE)
    begun = asyncio.run(_play(folder, load, seconds))
    return _sum_up(load, begun, seconds)


async def _play(folder: Path, load: Load, seconds: float) -> tuple[float, ...]:
    """Load and story together. Returns when each phase began."""
    show = Show(load, RATE)
    async with asyncio.TaskGroup() as tasks:
        table = tasks.create_task(show.run(), name="table")
        story = tasks.create_task(_tell(folder, show, seconds), name="story")
        await load.run(seconds)
        begun = await story
        table.cancel()
    show.last()
    return begun


async def _tell(folder: Path, show: Show, seconds: float) -> tuple[float, ...]:
    start, begun = time.monotonic(), []
    for phase in PHASES:
        await asyncio.sleep(max(0.0, start + phase.begins * seconds - time.monotonic()))
        if phase.act is not None:
            status = await asyncio.to_thread(_status, folder)
            begun.append(time.monotonic())
            perform(phase.act, folder, status)
        else:
            begun.append(time.monotonic())
        show.phase(phase.title)
        await asyncio.sleep(_EXPLAIN_AFTER_S)
        show.why(await asyncio.to_thread(_why, folder))
    return tuple(begun)


def _status(folder: Path) -> FleetStatus:
    return msgspec.json.decode(client.get(folder, "/v1/status").body, type=FleetStatus)


def _why(folder: Path) -> tuple[str, ...]:
    status = _status(folder)
    address = next(each.addresses[0] for each in status.gateways if REGIONS[each.cluster] == REGION)
    query = {"url": f"http://{address}:{_PORT}/", "from": next(name for name, region in REGIONS.items() if region == REGION)}
    explained = msgspec.json.decode(client.get(folder, "/v1/explain/request", query).body)
    return reasons(status, explained["why"])


def _sum_up(load: Load, begun: tuple[float, ...], seconds: float) -> tuple[int, tuple[str, ...]]:
    """Exit code, and the figures as lines, the verdict last."""
    lines, moves = [], []
    for phase, start, end in zip(PHASES, begun, (*begun[1:], begun[0] + seconds), strict=True):
        if phase.act is None:
            continue
        away = phase.act in ("kill", "hang")
        took = shift(load.samples, REGION, start, end, away=away)
        what = "all requests were served elsewhere" if away else f"{REGION} served its own again"
        lines.append(
            f"  {phase.act}: {what} after {took:.2f} s" if took is not None else f"  {phase.act}: not until the next phase: {what}"
        )
        moves += [took] if away else []
    failed = sum(each.failed for each in load.samples)
    known = [each for each in moves if each is not None]
    moved = len(known) == len(moves)
    lines.append(f"{failed} of {len(load.samples)} requests failed, shift {f'{max(known):.2f} s' if moved else 'not complete'}")
    return 0 if failed == 0 and moved else 1, tuple(lines)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and a closed terminal end the demo as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        # Through SIGINT, which asyncio turns into a cancellation; an exception out of a handler would hit any task.
        signal.raise_signal(signal.SIGINT)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _clean(root: Path, folder: Path, started: list[subprocess.Popen[bytes]]) -> bool:
    """Stop and remove everything; whether that worked. A second Ctrl-C does not stop this: it would leave things running."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        if folder.is_dir():
            with contextlib.suppress(Failure, client.NotRunning):
                perform("wake", folder, _status(folder))
            for process in started:
                # Interrupted so early that it does not hold the folder yet: it must not take it after we looked.
                if place.holder(folder) is None and process.poll() is None:
                    process.terminate()
                    process.wait()
            up.down(folder, 30)
    except Failure as failure:
        note(f"error: {failure.message}; what is left is in {folder}")
        return False
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    shutil.rmtree(root, ignore_errors=True)
    return True
