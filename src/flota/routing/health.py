"""In which state an endpoint is, and from what cause (design section 3)."""

from typing import NamedTuple

import msgspec

from flota.fleet.drain import Drain
from flota.fleet.fleet import Cluster, Fleet
from flota.plan.backends import Endpoint, Locality, State

SERVING = frozenset({"Healthy", "Suspect", "Unknown"})
"""States in which an endpoint gets traffic."""
ANSWERING = SERVING | {"Draining"}
"""States in which it answers: what drains serves where nothing else does."""


class Verdict(NamedTuple):
    """A state with the sentence that explains it."""

    state: State
    cause: str


def socket_name(address: str, port: int) -> str:
    """`address:port` as Envoy writes it, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def judge(fleet: Fleet, cluster: Cluster, address: str, port: int) -> Verdict:
    """State of a ready endpoint of `cluster`, from what was observed. Drains and leaving pods are judged elsewhere."""
    reason = fleet.signals.dead.get((cluster.name, socket_name(address, port)))
    if reason is not None:
        return Verdict("Dead", reason)
    silence = fleet.signals.suspect.get(cluster.name)
    if silence is not None:
        return Verdict("Suspect", f"cluster {cluster.name} is silent ({silence}), but its data path works")
    return Verdict("Healthy", "")


def drained(drains: tuple[Drain, ...], cluster: str, region: str, zone: str) -> str | None:
    """Why a place is being drained, or None. A drain's target is a cluster, a region or a zone."""
    for drain in drains:
        kind = next((kind for kind, name in (("cluster", cluster), ("region", region), ("zone", zone)) if name == drain.target), None)
        if kind is not None:
            return f"{kind} {drain.target} is drained until {drain.until.isoformat(timespec='seconds').replace('+00:00', 'Z')}"
    return None


def keep_the_last(localities: tuple[Locality, ...]) -> tuple[Locality, ...]:
    """Never empty the fleet: where no endpoint would be left to serve, the dead ones stay in use, as Unknown."""
    states = {endpoint.state for locality in localities for endpoint in locality.endpoints}
    if "Dead" not in states or states & SERVING:
        return localities
    return tuple(
        msgspec.structs.replace(locality, endpoints=tuple(_revive(each) for each in locality.endpoints)) for locality in localities
    )


def _revive(endpoint: Endpoint) -> Endpoint:
    if endpoint.state != "Dead":
        return endpoint
    return msgspec.structs.replace(endpoint, state="Unknown", cause=f"kept, as nothing else is left: {endpoint.cause}")
