"""Endpoints under suspicion are probed, and those believed dead are kept out until a probe says otherwise.

A suspicion costs a probe, never an endpoint. Where it is known how long answers usually take, a short silence is enough. Before that, a
process that serves one request after the other may be busy with an honest two seconds, so it gets longer, and any good answer clears it.
"""

import asyncio
import itertools
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from flota.clock import Clock
from flota.observe import probe
from flota.observe.samples import address
from flota.plan import Backend, Plan, ProxyPlan

PROBE_S = 0.25
PATIENT_S = 2.5
AGAIN_S = 1.0
"""An endpoint that was cleared is not probed again before."""
AT_ONCE = 100
"""So many may be under probe at a time; the others stay under suspicion."""
SICK_S = 6.0
"""A probe that is answered by 503 keeps an ejected endpoint out for so long; then requests decide, as it may answer all probes so."""
BELIEVED_S = 300.0
"""An opaque server without a sign of life for so long may be another program that does not end connections: requests decide again."""
HOLD_S = 4.0
"""An ejected endpoint that answers probes shows that probes don't meet what fails: it stays out for so long, then requests decide."""

Place = tuple[str, str]
"""(cluster of the endpoint, address)."""
Where = Mapping[tuple[str, str], tuple[Backend, str]]
"""(label, address) → the backend and the cluster of that endpoint."""


class Suspect(NamedTuple):
    """An endpoint to look at. `ejected`: its proxy left it out, as requests failed. `patience_s`: how long it may be silent."""

    place: Place
    backend: Backend
    ejected: bool = False
    patience_s: float = PROBE_S


class Dead(Struct, frozen=True):
    """An endpoint that is kept out until a probe says otherwise."""

    backend: Backend
    reason: str
    since: float
    probes_tell: bool = True
    """False: it answered probes while it failed requests."""
    opaque: bool = False
    """It speaks an unknown protocol: whether it ends what its client ends is all that can be asked."""
    well_since: float | None = None
    """When it began to answer again; it has to do so for the backend's fail-back time."""


class Judge:
    """Probes of all endpoints of the fleet. `changed` is called when `dead` has changed; `answered(place, since)` tells whether a proxy
    got a good answer after that time."""

    def __init__(
        self, clock: Clock, plan: Callable[[], Plan], changed: Callable[[], None], answered: Callable[[Place, float], bool]
    ) -> None:
        self.dead: dict[Place, Dead] = {}
        self._clock = clock
        self._plan = plan
        self._changed = changed
        self._answered = answered
        self._asked: dict[Place, float] = {}
        """Under probe (infinite), or when it last was."""
        self._tasks: asyncio.TaskGroup | None = None
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled: carries out probes, and looks whether the dead got well."""
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                await self._wake.wait()
                await asyncio.sleep(PROBE_S)
                await self._raise_the_dead()
                if not self.dead:
                    self._wake.clear()

    def ask(self, suspects: Collection[Suspect]) -> None:
        """Probe them, if that is not being done. Who does not answer is dead; who was ejected and answers 50x for now too."""
        now = self._clock.monotonic()
        self._asked = {place: at for place, at in self._asked.items() if at + AGAIN_S > now}
        for suspect in suspects:
            known = suspect.place in self.dead or (suspect.place in self._asked and not suspect.ejected)
            if known or self._tasks is None or len(self._asked) >= AT_ONCE:
                continue
            self._asked[suspect.place] = float("inf")
            self._tasks.create_task(self._look_into(suspect), name=f"probe {suspect.place[1]}")

    def declare(self, place: Place, dead: Dead) -> None:
        """Keep it out from now on."""
        if place not in self.dead:
            self.dead[place] = dead
            self._wake.set()
            self._changed()

    async def _look_into(self, suspect: Suspect) -> None:
        began = self._clock.monotonic()
        verdict = await _probe(suspect.backend, suspect.place[1], suspect.patience_s)
        now = self._asked[suspect.place] = self._clock.monotonic()
        patient = suspect.patience_s > PROBE_S
        if verdict == "Silent" and patient and self._answered(suspect.place, began):
            return
        found = _judged(suspect, verdict, now)
        if found is not None:
            self.declare(suspect.place, found)
        if verdict == "Silent" and not suspect.ejected:
            self.ask(siblings(self._plan(), suspect))

    async def _raise_the_dead(self) -> None:
        several = dict(self.dead)
        verdicts = await asyncio.gather(*(_probe(dead.backend, place[1], PROBE_S, dead.opaque) for place, dead in several.items()))
        planned, now = _addresses(self._plan()), self._clock.monotonic()
        for (place, dead), verdict in zip(several.items(), verdicts, strict=True):
            after = after_probe(dead, verdict, now)
            if after is None or place not in planned:
                del self.dead[place]
            else:
                self.dead[place] = after
        self._changed()


def _judged(suspect: Suspect, verdict: probe.Verdict, now: float) -> Dead | None:
    if verdict == "Silent":
        return Dead(suspect.backend, "takes requests and answers none, and did not answer a probe", now)
    if not suspect.ejected:
        return None
    if verdict == "Answers":
        return Dead(suspect.backend, "requests to it failed, though it answers probes", now, probes_tell=False)
    return Dead(suspect.backend, "requests to it failed, and it answers a probe with 50x", now)


def after_probe(dead: Dead, verdict: probe.Verdict, now: float) -> Dead | None:
    """None when requests may go there again."""
    if not dead.probes_tell:
        return None if now - dead.since >= HOLD_S else dead
    if verdict == "Sick" and now - dead.since >= SICK_S:
        return None
    if dead.opaque and now - dead.since >= BELIEVED_S:
        return None
    if verdict != "Answers":
        return replace(dead, well_since=None)
    since = now if dead.well_since is None else dead.well_since
    return None if (now - since) * 1000 >= dead.backend.fail_back_ms else replace(dead, well_since=since)


async def _probe(backend: Backend, host: str, seconds: float, opaque: bool = False) -> probe.Verdict:
    if backend.protocol in ("TCP", "UDP") and not opaque:
        return "Answers"  # nothing is known of how such a server talks; `opaque` may find out
    ip, _, port = host.rpartition(":")
    protocol: probe.Protocol = "TCP" if opaque else "TLS" if backend.tls else "HTTP2" if backend.protocol == "HTTP2" else "HTTP1"
    return await probe.look(ip.strip("[]"), int(port), protocol, seconds)


def places(proxy: ProxyPlan) -> Where:
    """All endpoints that a proxy has."""
    return {
        (backend.label, address(endpoint.address, endpoint.port)): (backend, locality.cluster)
        for backend in proxy.backends.values()
        for tier in proxy.endpoints[backend.endpoints].tiers
        for locality in tier.localities
        for endpoint in locality.endpoints
    }


def siblings(plan: Plan, suspect: Suspect) -> list[Suspect]:
    """The other endpoints of the same backend in the same cluster: where one died, its neighbours may have died with it."""
    cluster = suspect.place[0]
    named = suspect.backend.name
    found = {
        address(endpoint.address, endpoint.port)
        for proxy in plan.proxies.values()
        if named in proxy.backends
        for tier in proxy.endpoints[proxy.backends[named].endpoints].tiers
        for locality in tier.localities
        if locality.cluster == cluster
        for endpoint in locality.endpoints
    }
    return [suspect._replace(place=(cluster, each)) for each in sorted(found - {suspect.place[1]})]


def _addresses(plan: Plan) -> set[Place]:
    tiers = itertools.chain.from_iterable(part.tiers for proxy in plan.proxies.values() for part in proxy.endpoints.values())
    return {
        (locality.cluster, address(endpoint.address, endpoint.port))
        for tier in tiers
        for locality in tier.localities
        for endpoint in locality.endpoints
    }
