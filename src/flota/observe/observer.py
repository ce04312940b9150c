"""Reads every proxy's figures while it has traffic, hears of attempts that wait, and publishes what that means as `Signals`."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec

from flota.clock import Clock
from flota.fleet.signals import Attempt, Signals
from flota.latest import Latest
from flota.observe.hangs import HangWatch
from flota.observe.judge import PATIENT_S, PROBE_S, Judge, Place, Suspect, Where, places
from flota.observe.learner import Learner
from flota.observe.opaque import OpaqueProbes
from flota.observe.samples import COUNTERS, HOSTS, HostSample, counters, hosts
from flota.plan import Plan, ProxyPlan
from flota.settings import Settings

Fetch = Callable[[str, str], Awaitable[bytes]]
"""(cluster, admin target) → body. Raises ConnectionError when the proxy does not answer."""

QUIET_S = 15.0
"""Figures that did not move for this long: nothing is under way that could be learnt from."""
QUIET_EVERY_S = 1.0
COST_SHARE = 20
"""A look that took t seconds is followed by a pause of at least 20 t, so that reading many backends cannot eat a core."""
WAITS_EVERY_S = 0.1


class ProxyWatch:
    """What was learnt of one proxy. Feed it with its admin answers and with what it tells."""

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

    def limits(self) -> dict[str, int]:
        """Learnt limits of an attempt, in ms by label."""
        return {label: learner.per_try_ms for label, learner in self.learners.items() if learner.per_try_ms is not None}

    def newly_ejected(self, samples: Iterable[HostSample]) -> set[tuple[str, str]]:
        """(label, address) of endpoints that the proxy left out since the last look."""
        before, self._ejected = self._ejected, {(sample.label, sample.address) for sample in samples if sample.ejected}
        return self._ejected - before


class Observer:
    """One loop per proxy of the plan, one for attempts that wait, one for endpoints believed dead."""

    def __init__(self, fetch: Fetch, plan: Latest[Plan], signals: Latest[Signals], clock: Clock, settings: Settings) -> None:
        self._fetch = fetch
        self._plan = plan
        self._signals = signals
        self._clock = clock
        self._every = settings.learn_every_ms / 1000
        self._proxies: dict[str, ProxyWatch] = {}
        self._where: dict[str, tuple[ProxyPlan, Where]] = {}
        self._heard = asyncio.Event()
        self._judge = Judge(clock, plan.get, self._publish, self._answered)
        self._opaque = OpaqueProbes(clock, plan, self._judge)

    async def run(self) -> None:
        """Until cancelled."""
        self._restore(self._signals.get())
        async with asyncio.TaskGroup() as tasks:
            running: dict[str, asyncio.Task[None]] = {}
            tasks.create_task(self._judge.run(), name="judge endpoints")
            tasks.create_task(self._watch_waits(), name="observe attempts")
            tasks.create_task(self._opaque.run(), name="observe opaque endpoints")
            async for plan in self._plan.follow():
                for cluster in plan.proxies.keys() - running.keys():
                    running[cluster] = tasks.create_task(self._watch(cluster), name=f"observe {cluster}")
                for cluster in running.keys() - plan.proxies.keys():
                    running.pop(cluster).cancel()
                    self._proxies.pop(cluster, None)
                    self._where.pop(cluster, None)

    def hear(self, cluster: str, attempts: Sequence[Attempt]) -> None:
        """What the proxy of a cluster tells of attempts that wait or waited."""
        watch, plan = self._proxies.get(cluster), self._plan.get().proxies.get(cluster)
        if watch is None or plan is None:
            return
        now = self._clock.monotonic()
        for attempt in attempts:
            if (backend := plan.backends.get(attempt.backend)) is not None:
                watch.hang_watch.take(now, backend.label, attempt)
        if watch.hang_watch.busy:
            self._heard.set()

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
            await asyncio.sleep(max(self._every if busy else QUIET_EVERY_S, COST_SHARE * (looked - began)))

    async def _look(self, watch: ProxyWatch) -> bool:
        try:
            busy = watch.take_counters(self._clock.monotonic(), await self._fetch(watch.cluster, COUNTERS))
            if busy:
                samples = list(hosts(await self._fetch(watch.cluster, HOSTS)))
                watch.hang_watch.look(self._clock.monotonic(), samples)
                self._suspect(watch.cluster, dict.fromkeys(watch.newly_ejected(samples), (True, PROBE_S)))
        except (ConnectionError, msgspec.DecodeError):
            return False  # a proxy that does not answer is its runner's business; the next look tells
        self._publish()
        return busy

    async def _watch_waits(self) -> None:
        """Wakes up only while something waits."""
        while True:
            await self._heard.wait()
            self._heard.clear()
            busy = True
            while busy:
                await asyncio.sleep(WAITS_EVERY_S)
                now = self._clock.monotonic()
                for watch in self._proxies.values():
                    found = watch.hang_watch.step(now, watch.limits())
                    self._suspect(watch.cluster, {each.key: (False, PROBE_S if each.known else PATIENT_S) for each in found})
                self._publish()
                busy = any(watch.hang_watch.busy for watch in self._proxies.values())

    def _suspect(self, cluster: str, found: dict[tuple[str, str], tuple[bool, float]]) -> None:
        """`found`: (label, address) → whether its proxy left it out, and how long a probe may take.

        A proxy's ejections end by the clock: too early while the fault lasts, too late when the other region is the next to
        fall. Probes know better; without them the clock remains.
        """
        if found:
            where = self._places(cluster)
            self._judge.ask([
                Suspect((where[key][1], key[1]), where[key][0], *how) for key, how in sorted(found.items()) if key in where
            ])

    def _places(self, cluster: str) -> Where:
        """`places`, made once per plan."""
        plan = self._plan.get().proxies.get(cluster)
        if plan is None:
            return {}
        known = self._where.get(cluster)
        if known is None or known[0] is not plan:
            known = self._where[cluster] = plan, places(plan)
        return known[1]

    def _answered(self, place: Place, since: float) -> bool:
        labels = {label for cluster in self._proxies for (label, host), (_, owner) in self._places(cluster).items()
                  if (owner, host) == place}
        return any(watch.hang_watch.answered_since((label, place[1]), since) for watch in self._proxies.values() for label in labels)

    def _publish(self) -> None:
        learners = [(watch.cluster, label, learner) for watch in self._proxies.values() for label, learner in watch.learners.items()]
        now = self._signals.get()
        signals = Signals(
            per_try={(cluster, label): learner.per_try_ms for cluster, label, learner in learners if learner.per_try_ms is not None},
            sick=frozenset((cluster, label) for cluster, label, learner in learners if learner.sick),
            dead=self._stuck() | {place: dead.reason for place, dead in self._judge.dead.items()},
            suspect=now.suspect,
        )
        if signals != now:
            self._signals.set(signals)

    def _stuck(self) -> dict[Place, str]:
        """Endpoints that are of no use, though their process lives: (cluster, address) → why."""
        found: dict[Place, str] = {}
        for watch in self._proxies.values():
            if stuck := watch.hang_watch.stuck:
                where = self._places(watch.cluster)
                found |= {(where[key][1], key[1]): f"takes {requests} and answers none" for key, requests in stuck.items() if key in where}
        return found
