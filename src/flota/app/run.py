"""From a folder to a running fleet and back: what `flota up`, `flota down` and the commands that start nothing do."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

from flota.app.control import Control
from flota.app.engine import Engine
from flota.app.reports import Reports
from flota.clock import Clock, SystemClock
from flota.fleet.problem import Problem
from flota.local.state import Lock, StateFolder, open_state
from flota.settings import Settings

SOCKET = "flota.sock"


def control_socket(state: StateFolder) -> Path:
    """Where the Flota of a folder answers."""
    return state.sockets / SOCKET


async def run_fleet(
    folder: Path,
    settings: Settings,
    started: Callable[[Engine], None] = lambda _: None,
    clock: Clock | None = None,
) -> Problem | None:
    """Run a fleet until `flota down`, Ctrl-C (both stop what was started) or SIGTERM (Flota goes, proxies and pods stay).

    Returns why it could not start, None after a good end.
    """
    held = _hold(folder)
    if isinstance(held, Problem):
        return held
    state, lock = held
    try:
        engine = Engine(state, settings, clock or SystemClock())
        started(engine)
        await _live(engine, Control(Reports(engine), control_socket(state), settings.metrics_address))
    finally:
        control_socket(state).unlink(missing_ok=True)
        lock.release()
    return None


async def stop_fleet(folder: Path, settings: Settings) -> Problem | None:
    """Stop what a Flota that died left running."""
    held = _hold(folder)
    if isinstance(held, Problem):
        return held
    state, lock = held
    try:
        engine = Engine(state, settings, SystemClock())
        async with asyncio.TaskGroup() as tasks:
            parts = [
                tasks.create_task(engine.proxies.run(), name="proxies"),
                tasks.create_task(engine.pods.run(), name="pods"),
            ]
            await engine.stop()
            for part in parts:
                part.cancel()
    finally:
        lock.release()
    return None


def _hold(folder: Path) -> tuple[StateFolder, Lock] | Problem:
    state = open_state(folder)
    if isinstance(state, Problem):
        return state
    lock = state.lock()
    return lock if isinstance(lock, Problem) else (state, lock)


async def _live(engine: Engine, control: Control) -> None:
    leave = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, control.stop.set)
    loop.add_signal_handler(signal.SIGTERM, leave.set)
    try:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(engine.run(), name="engine")
            serving = tasks.create_task(control.serve(), name="control")
            await _first(tasks, control.stop, leave)
            if control.stop.is_set():
                await engine.stop()
            engine.keep_now()
            serving.cancel()
            running.cancel()
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)


async def _first(tasks: asyncio.TaskGroup, *events: asyncio.Event) -> None:
    waits = [tasks.create_task(event.wait(), name="end") for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    for wait in waits:
        with contextlib.suppress(asyncio.CancelledError):
            await wait
