"""A fleet's folder with nothing started: read once, planned once, nothing written."""

import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from flota.app.kept import Kept
from flota.app.origins import origins, refusals
from flota.fleet.fleet import Fleet
from flota.fleet.problem import Problem
from flota.local.addresses import candidate
from flota.local.state import StateFolder
from flota.report.view import View
from flota.routing.planner import Planner
from flota.sources.assemble import Given
from flota.sources.folder import load_folder


def view_of_folder(folder: Path) -> View:
    """What would be, were it started now."""
    state = _state(folder)
    kept = state.load("kept", Kept)
    if not isinstance(kept, Kept):
        kept = Kept()
    now = datetime.now(UTC)
    drains = tuple(drain for drain in kept.drains if drain.until > now)
    loaded = load_folder(state.folder, kept.memory, now, Given(drains=drains, signals=kept.signals()))
    addresses = _addresses(state, loaded.fleet)
    fleet, problems = loaded.folder.fleet(Given(drains=drains, signals=kept.signals(), addresses=addresses))
    return View(
        fleet=fleet,
        plan=Planner().plan(fleet),
        now=now,
        problems=problems,
        refusals=refusals(problems),
        origin=origins(loaded.folder.table.where),
        ignored=loaded.ignored,
    )


def _state(folder: Path) -> StateFolder:
    """The state folder, looked at and not made."""
    folder = folder.resolve()
    root = folder / ".flota"
    return StateFolder(folder, root, hashlib.sha256(os.fsencode(folder)).hexdigest()[:16], root / "run")


def _addresses(state: StateFolder, fleet: Fleet) -> Mapping[tuple[str, str, str], tuple[str, ...]]:
    """The addresses Gateways have, or would most likely get."""
    kept = state.load("addresses", dict[str, str])
    given = {} if kept is None or isinstance(kept, Problem) else kept
    found = {}
    for cluster in fleet.clusters.values():
        for (namespace, name), gateway in cluster.gateways.items():
            if not gateway.spec.addresses:
                owner = f"gateway/{cluster.name}/{namespace}/{name}"
                found[cluster.name, namespace, name] = (given.get(owner) or candidate(state.identity, owner, 0),)
    return found
