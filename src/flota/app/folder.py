"""A fleet's folder with nothing started: read once, planned once, nothing written."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from flota.app.addresses import leaves_open
from flota.app.kept import Kept
from flota.app.origins import origins, refusals
from flota.fleet.core import EndpointSlice
from flota.fleet.fleet import Fleet
from flota.fleet.meta import Key
from flota.fleet.problem import Problem
from flota.local.addresses import candidate
from flota.local.endpoints import endpoint_slices
from flota.local.podplan import Workload, pod_plan, workloads
from flota.local.podstate import PodState
from flota.local.state import StateFolder
from flota.report.view import View
from flota.routing.planner import Planner
from flota.sources.assemble import Given, Slices
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
    slices, unfit = _pods(loaded.fleet, state.identity)
    given = Given(slices, drains, kept.signals(), _addresses(state, loaded.fleet))
    fleet, problems = loaded.folder.fleet(given)
    return View(
        fleet=fleet,
        plan=Planner().plan(fleet),
        now=now,
        problems=(*problems, *(loaded.folder.located(problem) for problem in unfit)),
        refusals=refusals(problems),
        origin=origins(loaded.folder.table.where),
        ignored=loaded.ignored,
    )


def _ready(workload: Workload, identity: str) -> Iterator[PodState]:
    """The pods of a workload as they are when all is well. A Job's come and go."""
    count = 0 if workload.job else 1 if workload.deployment is None else workload.deployment.replicas
    for number in range(count):
        plan = pod_plan(workload, str(number))
        ports = tuple(port for container in plan.spec.containers for port in container.ports)
        owner = (plan.owner_kind, plan.owner_name)
        address = candidate(identity, "/".join(("pod", *plan.key)), 0)
        yield PodState(plan.cluster, plan.namespace, plan.name, owner, plan.labels, address, "Running", ready=True, ports=ports)


def _pods(fleet: Fleet, identity: str) -> tuple[Slices, tuple[Problem, ...]]:
    """The endpoints there would be with every pod ready, and the workloads that can't run here."""
    slices: dict[str, Mapping[Key, EndpointSlice]] = {}
    problems: list[Problem] = []
    for cluster in fleet.clusters.values():
        found, bad = workloads(cluster)
        slices[cluster.name] = endpoint_slices(cluster, [pod for workload in found for pod in _ready(workload, identity)])
        problems += bad
    return slices, tuple(problems)


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
            if leaves_open(gateway):
                owner = f"gateway/{cluster.name}/{namespace}/{name}"
                found[cluster.name, namespace, name] = (given.get(owner) or candidate(state.identity, owner, 0),)
    return found
