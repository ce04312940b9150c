"""Hooks of containers (core/v1 Lifecycle): what is done right after the start and before the end."""

import asyncio

from flota.fleet.pods import LifecycleHandler
from flota.local.probes import Target, http_get, run_command


async def run_hook(handler: LifecycleHandler, target: Target) -> str | None:
    """Do it once, however long it takes: None when it succeeded, else why not. `tcpSocket` has no effect, as in Kubernetes."""
    try:
        if handler.exec is not None:
            return await run_command(handler.exec, target)
        if handler.http_get is not None:
            return await http_get(handler.http_get, target)
        if handler.sleep is not None:
            await asyncio.sleep(handler.sleep.seconds)
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        return str(error) or type(error).__name__
    return None
