"""Reads every proxy's figures while it has traffic and publishes what they mean as `Signals`."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from flota.clock import Clock
from flota.fleet.signals import Signals
from flota.latest import Latest
from flota.observe import probe
from flota.observe.hangs import HangWatch
from flota.observe.learner import Learner
from flota.observe.samples import COUNTERS, HOSTS, HostSample, address, counters, hosts
from flota.plan import Backend, Plan
from flota.settings import Settings

Fetch = Callable[[str, str], Awaitable[bytes]]
"""(cluster, admin target) → body. Raises ConnectionError when the proxy does not answer."""

QUIET_S = 15.0
"""Figures that did not move for this long: nothing is under way that could hang."""
QUIET_EVERY_S = 1.0
COST_SHARE = 20
"""A look that took t seconds is followed by a pause of at least 20 t, so that reading many backends cannot eat a core."""
PROBE_S = 0.25
SICK_S = 6.0
"""A probe that is answered by 503 keeps an ejected endpoint out for so long; then requests decide, as it may answer all probes so."""
HOLD_S = 4.0
"""An ejected endpoint that answers probes shows that probes don't meet what fails: it stays out for so long, then requests decide."""


class _Dead(Struct, frozen=True):
    """An endpoint that is kept out until a probe says otherwise."""

    backend: Backend
    reason: str
    since: float
    probes_tell: bool = True
    """False: it answered probes while it failed requests."""
    well_since: float | None = None
    """When it began to answer again; it has to do so for the backend's fail-back time."""


class ProxyWatch:
    """What was learnt of one proxy. Feed it with its admin answers."""

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster
        self.learners: dict[str, Learner] = {}
        self.hang_watch = HangWatch()
        self._last = b""
        self._moved_at = 0.0
        self._ejected: set[tuple[str, str]] = set()

    def take_counters(self, now: float, body: bytes) -> bool:
        """True when the proxy had traffic lately, so that its endpoints deserve a look."""
        if body != self._last:
            self._last, self._moved_at = body, now
        elif now - self._moved_at >= QUIET_S:
            return False  # longer than any judgement waits for: nothing to learn, and reading the figures is what idling costs
        for label, sample in counters(body.decode()).items():
            self.learners.setdefault(label, Learner()).step(now, sample)
        return now - self._moved_at < QUIET_S

    def take_hosts(self, now: float, samples: Iterable[HostSample]) -> set[tuple[str, str]]:
        """(label, address) of endpoints that seem to hang."""
        limits = {label: learner.per_try_ms for label, learner in self.learners.items() if learner.per_try_ms is not None}
        return self.hang_watch.step(now, samples, limits)

    def newly_ejected(self, samples: Iterable[HostSample]) -> set[tuple[str, str]]:
        """(label, address) of endpoints that the proxy left out since the last look."""
        before, self._ejected = self._ejected, {(sample.label, sample.address) for sample in samples if sample.ejected}
        return self._ejected - before


class Observer:
    """One loop per proxy of the plan, one for endpoints believed dead."""

    def __init__(self, fetch: Fetch, plan: Latest[Plan], signals: Latest[Signals], clock: Clock, settings: Settings) -> None:
        self._fetch = fetch
        self._plan = plan
        self._signals = signals
        self._clock = clock
        self._every = settings.learn_every_ms / 1000
        self._proxies: dict[str, ProxyWatch] = {}
        self._dead: dict[tuple[str, str], _Dead] = {}

    async def run(self) -> None:
        """Until cancelled."""
        self._restore(self._signals.get())
        async with asyncio.TaskGroup() as tasks:
            running: dict[str, asyncio.Task[None]] = {}
            tasks.create_task(self._raise_the_dead(), name="observe dead endpoints")
            async for plan in self._plan.follow():
                for cluster in plan.proxies.keys() - running.keys():
                    running[cluster] = tasks.create_task(self._watch(cluster), name=f"observe {cluster}")
                for cluster in running.keys() - plan.proxies.keys():
                    running.pop(cluster).cancel()
                    self._proxies.pop(cluster, None)

    def _restore(self, signals: Signals) -> None:
        for (cluster, label), limit in signals.per_try.items():
            watch = self._proxies.setdefault(cluster, ProxyWatch(cluster))
            watch.learners.setdefault(label, Learner()).restore(limit)

    async def _watch(self, cluster: str) -> None:
        watch = self._proxies.setdefault(cluster, ProxyWatch(cluster))
        while True:
            began = self._clock.monotonic()
            busy = await self._look(watch)
            looked = self._clock.monotonic()
            pause = max(self._every if busy else QUIET_EVERY_S, COST_SHARE * (looked - began))
            if busy:  # hangs want a closer look than the learner, which counts in its own steps
                await asyncio.sleep(pause / 2)
                await self._look_at_hosts(watch)
            await asyncio.sleep(max(0.0, looked + pause - self._clock.monotonic()))

    async def _look(self, watch: ProxyWatch) -> bool:
        try:
            busy = watch.take_counters(self._clock.monotonic(), await self._fetch(watch.cluster, COUNTERS))
        except ConnectionError:
            return False  # a proxy that does not answer is its runner's business; the next look tells
        if busy:
            await self._look_at_hosts(watch)
        self._publish()
        return busy

    async def _look_at_hosts(self, watch: ProxyWatch) -> None:
        try:
            samples = list(hosts(await self._fetch(watch.cluster, HOSTS)))
        except (ConnectionError, msgspec.DecodeError):
            return
        hanging = watch.take_hosts(self._clock.monotonic(), samples)
        await self._judge(watch.cluster, hanging, watch.newly_ejected(samples))
        self._publish()

    async def _judge(self, cluster: str, hanging: set[tuple[str, str]], ejected: set[tuple[str, str]]) -> None:
        """Probe those under suspicion. Who does not answer is dead; who was ejected and answers 503 for now too.

        The proxy's own ejections end by the clock: too early while the fault lasts, too late when the other region is the next to
        fall. Probes know better; without them the clock remains.
        """
        places = _places(self._plan.get(), cluster)
        fresh = [(key, *places[key]) for key in sorted(hanging | ejected) if key in places and (places[key][1], key[1]) not in self._dead]
        verdicts = await asyncio.gather(*(self._probe(backend, key[1]) for key, backend, _ in fresh))
        now = self._clock.monotonic()
        for (key, backend, owner), verdict in zip(fresh, verdicts, strict=True):
            if verdict == "Silent":
                self._dead[owner, key[1]] = _Dead(backend, "takes requests and answers none, and did not answer a probe", now)
            elif verdict == "Answers" and key in ejected:
                self._dead[owner, key[1]] = _Dead(backend, "requests to it failed, though it answers probes", now, probes_tell=False)
            elif verdict == "Sick" and key in ejected:
                self._dead[owner, key[1]] = _Dead(backend, "requests to it failed, and it answers a probe with 50x", now)

    async def _raise_the_dead(self) -> None:
        """Probe dead endpoints until they answer or leave the plan."""
        while True:
            await asyncio.sleep(PROBE_S if self._dead else self._every)
            if not self._dead:
                continue
            several = dict(self._dead)
            verdicts = await asyncio.gather(*(self._probe(dead.backend, place[1]) for place, dead in several.items()))
            planned, now = _addresses(self._plan.get()), self._clock.monotonic()
            for (place, dead), verdict in zip(several.items(), verdicts, strict=True):
                after = _after_probe(dead, verdict, now)
                if after is None or place not in planned:
                    del self._dead[place]
                else:
                    self._dead[place] = after
            self._publish()

    async def _probe(self, backend: Backend, host: str) -> probe.Verdict:
        if backend.protocol in ("TCP", "UDP"):
            return "Answers"  # nothing is known of how such a server talks; the checks of the proxy judge it
        ip, _, port = host.rpartition(":")
        protocol: probe.Protocol = "TLS" if backend.tls else "HTTP2" if backend.protocol == "HTTP2" else "HTTP1"
        return await probe.look(ip.strip("[]"), int(port), protocol, PROBE_S)

    def _publish(self) -> None:
        learners = [(watch.cluster, label, learner) for watch in self._proxies.values() for label, learner in watch.learners.items()]
        now = self._signals.get()
        signals = Signals(
            per_try={(cluster, label): learner.per_try_ms for cluster, label, learner in learners if learner.per_try_ms is not None},
            sick=frozenset((cluster, label) for cluster, label, learner in learners if learner.sick),
            dead=self._stuck() | {place: dead.reason for place, dead in self._dead.items()},
            suspect=now.suspect,
        )
        if signals != now:
            self._signals.set(signals)

    def _stuck(self) -> dict[tuple[str, str], str]:
        """Endpoints that are of no use, though their process lives: (cluster, address) → why."""
        found: dict[tuple[str, str], str] = {}
        for watch in self._proxies.values():
            if stuck := watch.hang_watch.stuck:
                places = _places(self._plan.get(), watch.cluster)
                found |= {(places[key][1], key[1]): "takes requests and answers none of them" for key in stuck if key in places}
        return found


def _after_probe(dead: _Dead, verdict: probe.Verdict, now: float) -> _Dead | None:
    """None when requests may go there again."""
    if not dead.probes_tell:
        return None if now - dead.since >= HOLD_S else dead
    if verdict == "Sick" and now - dead.since >= SICK_S:
        return None
    if verdict != "Answers":
        return replace(dead, well_since=None)
    since = now if dead.well_since is None else dead.well_since
    return None if (now - since) * 1000 >= dead.backend.fail_back_ms else replace(dead, well_since=since)


def _places(plan: Plan, cluster: str) -> dict[tuple[str, str], tuple[Backend, str]]:
    """(label, address) → the backend and the cluster of that endpoint, as the proxy of `cluster` has them."""
    proxy = plan.proxies.get(cluster)
    if proxy is None:
        return {}
    return {
        (backend.label, address(endpoint.address, endpoint.port)): (backend, locality.cluster)
        for backend in proxy.backends.values()
        for tier in proxy.endpoints[backend.endpoints].tiers
        for locality in tier.localities
        for endpoint in locality.endpoints
    }


def _addresses(plan: Plan) -> set[tuple[str, str]]:
    tiers = itertools.chain.from_iterable(part.tiers for proxy in plan.proxies.values() for part in proxy.endpoints.values())
    return {
        (locality.cluster, address(endpoint.address, endpoint.port))
        for tier in tiers
        for locality in tier.localities
        for endpoint in locality.endpoints
    }
