"""Which folder a command is about, and where the Flota of that folder is found. Looks only; makes nothing."""

import hashlib
import os
from pathlib import Path

from flota.cli.failure import Failure
from flota.local.state import StateFolder

SOCKET_NAME = "flota.sock"
"""The running Flota listens here, in the socket folder of its state."""


def fleet_folder(folder: Path) -> Path:
    """The folder, resolved. Raises Failure when there is no fleet in it, nor one that runs although its fleet.yaml is gone."""
    resolved = folder.resolve()
    if not resolved.is_dir():
        raise Failure(f"there is no folder {folder}; name the fleet's folder with -C DIR, or make one with `flota init {folder}`")
    if not (resolved / "fleet.yaml").exists() and holder(resolved) is None:
        raise Failure(f"there is no fleet.yaml in {resolved}; name the fleet's folder with -C DIR, or make one with `flota init DIR`")
    return resolved


def states(folder: Path) -> tuple[StateFolder, ...]:
    """The state of a fleet folder, as it is if its sockets fit into it and as it is if they don't (`local.state.socket_folder`)."""
    folder = folder.resolve()
    root = folder / ".flota"
    identity = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    short = Path("/tmp") / f"flota-{os.getuid()}" / identity  # noqa: S108 - 0700 and checked by whoever made it
    return tuple(StateFolder(folder, root, identity, sockets) for sockets in (root / "run", short))


def sockets(folder: Path) -> tuple[Path, ...]:
    """Where the socket of the folder's Flota may be, the likelier place first."""
    return tuple(each.sockets / SOCKET_NAME for each in states(folder))


def holder(folder: Path) -> int | None:
    """The pid of the Flota that runs the folder, None when none does."""
    return states(folder)[0].holder()
