"""How pods are: what the engine says and endpoints are made from."""

from typing import Literal

from msgspec import Struct

from flota.fleet.pods import ContainerPort

Phase = Literal["Pending", "Running", "Succeeded", "Failed"]


class PodState(Struct, frozen=True):
    """One pod as it is now."""

    cluster: str
    namespace: str
    name: str
    owner: tuple[str, str]
    """(kind, name) of the workload it is made from; a bare Pod is its own."""
    labels: dict[str, str]
    ip: str
    """Empty while it has none."""
    phase: Phase = "Pending"
    ready: bool = False
    """As its probes say; a terminating pod may still be ready (that is `serving` in an EndpointSlice)."""
    reason: str = ""
    """Why it is not as it should be: CrashLoopBackOff, Unhealthy, …; empty when all is well."""
    message: str = ""
    restarts: int = 0
    pids: tuple[int, ...] = ()
    terminating: bool = False
    ports: tuple[ContainerPort, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        return self.cluster, self.namespace, self.name
