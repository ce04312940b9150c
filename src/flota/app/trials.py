"""The trials of all proxies: what is planned is what they take."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import msgspec

from flota.app.delivery import Deliveries
from flota.app.trial import Route, RouteRef, Trial
from flota.fleet.fleet import Fleet
from flota.fleet.problem import Problem
from flota.plan import ObjectRef, Plan, RouteStatus


class Trials:
    """One per cluster. `moved` is called when `serve` would answer differently; it must not block."""

    def __init__(self, moved: Callable[[], None]) -> None:
        self._moved = moved
        self._trials: dict[str, Trial] = {}
        self._fleet: tuple[Fleet, Fleet] | None = None

    def serve(self, wanted: Fleet) -> Fleet:
        """The fleet to plan: the very same unless a proxy does not take a route of it."""
        for gone in self._trials.keys() - wanted.clusters.keys():
            del self._trials[gone]
        served = {name: self._trial(name).serve(cluster) for name, cluster in wanted.clusters.items()}
        if all(served[name] is cluster for name, cluster in wanted.clusters.items()):
            return wanted
        last = self._fleet
        if last is None or last[0] is not wanted or any(last[1].clusters[name] is not each for name, each in served.items()):
            last = self._fleet = wanted, msgspec.structs.replace(wanted, clusters=served)
        return last[1]

    def published(self, plan: Plan, deliveries: Deliveries) -> None:
        """The plan for the fleet that was last served is on its way to the proxies."""
        for cluster, trial in self._trials.items():
            trial.place(partial(_places, plan, deliveries, cluster), partial(deliveries.version_of_routes, cluster))
            self.heard(cluster, {}, deliveries)

    def heard(self, cluster: str, took: Mapping[str, str], deliveries: Deliveries) -> None:
        """The proxy took these versions of RouteConfigurations, or refused some."""
        trial = self._trials.get(cluster)
        if trial is None:
            return
        refused = deliveries.refused_routes(cluster)
        if trial.hear(took, refused, partial(deliveries.has_routes, cluster)):
            self._moved()

    def looking_into(self, cluster: str) -> Iterable[str]:
        """RouteConfigurations of which parts are held back for a moment."""
        return self._trial(cluster).looking_into

    def problems(self) -> tuple[Problem, ...]:
        """Every route that its proxy does not take."""
        return tuple(
            Problem(cluster, *ref, "ProxyRefused", _words(bad.message, kept=ref in trial.accepted))
            for cluster, trial in self._trials.items()
            for ref, bad in trial.bad.items()
        )

    def _trial(self, cluster: str) -> Trial:
        return self._trials.setdefault(cluster, Trial())


def _words(message: str, *, kept: bool) -> str:
    stays = "its last accepted version stays in effect" if kept else "it has no effect"
    return f"the proxy does not take it, and {stays}: {message}"


def _places(plan: Plan, deliveries: Deliveries, cluster: str, ref: RouteRef, route: Route) -> tuple[str, ...]:
    status = plan.statuses.get(ObjectRef(cluster, *ref))
    if not isinstance(status, RouteStatus) or cluster not in plan.proxies:
        return ()
    found = [deliveries.places(cluster, table, route.spec.hostnames) for table in status.tables]
    return tuple(sorted(frozenset().union(*found)))
