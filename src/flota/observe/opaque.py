"""Servers whose protocol is unknown (TCPRoute, TLS passed through): do they still end what their clients end?

The kernel accepts connections for a process that hangs, so neither a proxy's check nor a connection tells. What most servers do, whatever
they speak, is to close a connection whose client has closed its side. Who did so several times and then doesn't, twice, is taken for hung.
Who never did is not judged.
"""

import asyncio
from collections.abc import Collection

from msgspec import Struct

from flota.clock import Clock
from flota.latest import Latest
from flota.observe import probe
from flota.observe.judge import PROBE_S, Dead, Judge, Place
from flota.observe.samples import address
from flota.plan import Backend, Plan

EVERY_S = 0.4
MOST_PER_S = 100
"""Probes of the whole fleet: of many such endpoints each is looked at more rarely."""
KNOWN = 3
SILENT = 2
REASON = "does not end connections that its client has ended, as it did before: it seems to hang"


class _Seen(Struct, frozen=True):
    answers: int = 0
    silences: int = 0


class OpaqueWatch:
    """What is known of such endpoints. Pure."""

    def __init__(self) -> None:
        self._seen: dict[Place, _Seen] = {}

    def note(self, place: Place, answered: bool) -> bool:
        """Take the outcome of a probe; whether the endpoint now has to be taken for hung."""
        seen = self._seen.get(place, _Seen())
        if answered:
            self._seen[place] = _Seen(min(KNOWN, seen.answers + 1))
        elif seen.answers < KNOWN:
            self._seen[place] = _Seen()
        else:
            self._seen[place] = _Seen(KNOWN, seen.silences + 1)
        return self._seen[place].silences >= SILENT

    def doubtful(self, place: Place) -> bool:
        """Whether it was silent once: the next look should not wait."""
        return 0 < self._seen.get(place, _Seen()).silences < SILENT

    def keep(self, places: Collection[Place]) -> None:
        """Forget all others, so that their habits have to be seen anew."""
        self._seen = {place: seen for place, seen in self._seen.items() if place in places}


class OpaqueProbes:
    """Looks at all such endpoints of the fleet, one round after the other."""

    def __init__(self, clock: Clock, plan: Latest[Plan], judge: Judge) -> None:
        self._clock = clock
        self._plan = plan
        self._judge = judge
        self._watch = OpaqueWatch()

    async def run(self) -> None:
        """Until cancelled."""
        of = self._plan.get()
        endpoints = opaque_endpoints(of)
        while True:
            if (plan := self._plan.get()) is not of:
                of, endpoints = plan, opaque_endpoints(plan)
            if not endpoints:
                await self._plan.changed()
                continue
            await asyncio.sleep(max(EVERY_S, len(endpoints) / MOST_PER_S))
            alive = [place for place in endpoints if place not in self._judge.dead]
            self._watch.keep(alive)
            await self._round(endpoints, alive)
            await self._round(endpoints, [place for place in alive if self._watch.doubtful(place)])

    async def _round(self, endpoints: dict[Place, Backend], several: list[Place]) -> None:
        verdicts = await asyncio.gather(*(_ends(place[1]) for place in several))
        now = self._clock.monotonic()
        for place, answered in zip(several, verdicts, strict=True):
            if self._watch.note(place, answered):
                self._judge.declare(place, Dead(endpoints[place], REASON, now, opaque=True))


async def _ends(host: str) -> bool:
    ip, _, port = host.rpartition(":")
    return await probe.look(ip.strip("[]"), int(port), "TCP", PROBE_S) == "Answers"


def opaque_endpoints(plan: Plan) -> dict[Place, Backend]:
    """Endpoints of which nothing else can be asked. TCP backends alone: what speaks HTTP is asked as such."""
    return {
        (locality.cluster, address(endpoint.address, endpoint.port)): backend
        for proxy in plan.proxies.values()
        for backend in proxy.backends.values()
        if backend.protocol == "TCP"
        for tier in proxy.endpoints[backend.endpoints].tiers
        for locality in tier.localities
        for endpoint in locality.endpoints
    }
