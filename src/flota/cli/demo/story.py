"""What happens in the demo, when, and what is said about it."""

import os
import signal
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from flota.report.status import FleetStatus

CLUSTER, REGION = "us", "us-east"
"""What is lost and comes back."""
Act = Literal["kill", "revive", "hang", "wake"]


class Phase(NamedTuple):
    """A part of the demo: from which share of its time on, what is done then, and what is said."""

    begins: float
    act: Act | None
    title: str


PHASES = (
    Phase(0.0, None, "Two regions serve. Each request goes to the region nearest to its client."),
    Phase(0.30, "kill", f"kill -9 of every pod of {REGION}, and what restarts can't serve: the region is lost."),
    Phase(0.45, "revive", f"The pods of {REGION} may serve again."),
    Phase(0.60, "hang", f"SIGSTOP of every pod of {REGION}: they still accept connections, and never answer."),
    Phase(0.78, "wake", f"SIGCONT: the pods of {REGION} go on."),
)
"""The hang comes late enough that Flota has learnt by then how long an answer takes."""


def perform(act: Act, folder: Path, status: FleetStatus) -> None:
    """Do it to the pods of the cluster."""
    outage = folder / f"outage.{REGION}"
    if act == "kill":
        outage.touch()
        _signal(pids(status), signal.SIGKILL)
    elif act == "revive":
        outage.unlink(missing_ok=True)
    else:
        _signal(pids(status), signal.SIGSTOP if act == "hang" else signal.SIGCONT)


def pids(status: FleetStatus) -> tuple[int, ...]:
    """Processes of the cluster's pods."""
    return tuple(pid for pod in status.pods if pod.cluster == CLUSTER for pid in pod.pids)


def reasons(status: FleetStatus, why: Sequence[str]) -> tuple[str, ...]:
    """What Flota itself says of the moment: the state of the cluster, and where a request from there goes, and why."""
    cluster = next((each for each in status.clusters if each.name == CLUSTER), None)
    said = (f"cluster {CLUSTER} is {cluster.state or 'not known yet'}: {cluster.reason}",) if cluster is not None else ()
    return (*said, *(f"a request from {CLUSTER}: {each}" for each in why if each.startswith(("it goes to", "the proxy finds"))))


def _signal(processes: Iterable[int], number: signal.Signals, kill: Callable[[int, int], None] = os.kill) -> None:
    for pid in processes:
        try:
            kill(pid, number)
        except ProcessLookupError:
            continue  # it ended by itself meanwhile
