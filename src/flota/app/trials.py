"""The trials of all proxies: what is planned is what they take."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import msgspec

from flota.app.delivery import Deliveries
from flota.app.kept import KeptBad
from flota.app.trial import Bad, Kind, Route, RouteRef, Trial, routes_of
from flota.envoy.refusals import shortened
from flota.fleet.fleet import Fleet
from flota.fleet.problem import Problem
from flota.fleet.routes import GRPCRoute, HTTPRoute
from flota.plan import ObjectRef, Plan, RouteStatus
from flota.sources.memory import Remembered, SourceMemory

KINDS: tuple[Kind, ...] = ("HTTPRoute", "GRPCRoute")
Before = Mapping[tuple[str, RouteRef], Route | None]
"""(cluster, route) → the version before."""


class Trials:
    """One per cluster. `moved` is called when `serve` would answer differently; it must not block."""

    def __init__(self, moved: Callable[[], None], envoy: str) -> None:
        """`envoy`: the version that runs."""
        self._moved = moved
        self._envoy = envoy
        self._trials: dict[str, Trial] = {}
        self._fleet: tuple[Fleet, Fleet] | None = None

    def begin(self, before: Before, kept: Iterable[KeptBad], fleet: Fleet) -> None:
        """Go on from the last Flota: `before` are the routes that it served (None: not admitted any more), where they are other ones
        than those of `fleet`; `kept` those that proxies did not take."""
        for name, cluster in fleet.clusters.items():
            routes = [(RouteRef(kind, *key), one) for kind in KINDS for key, one in routes_of(cluster, kind).items()]
            known = {ref: before.get((name, ref), one) for ref, one in routes}
            self._trials[name] = trial = Trial({ref: one for ref, one in known.items() if one is not None})
            for each in kept:
                if each.cluster == name:
                    _restore(trial, each, dict(routes), same=each.envoy == self._envoy)

    def bad(self) -> tuple[KeptBad, ...]:
        """What the next Flota has to know of routes that proxies do not take."""
        return tuple(
            KeptBad(cluster, *ref, self._envoy, bad.message, _packed(bad.route), _packed(trial.accepted.get(ref)))
            for cluster, trial in self._trials.items()
            for ref, bad in trial.bad.items()
        )

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


def _restore(trial: Trial, kept: KeptBad, routes: Mapping[RouteRef, Route], *, same: bool) -> None:
    ref = RouteRef(kept.kind, kept.namespace, kept.name)
    trial.accepted.pop(ref, None)
    try:
        if kept.accepted:
            trial.accepted[ref] = _unpacked(kept.accepted, ref.kind)
        if same and ref in routes and _unpacked(kept.refused, ref.kind) == routes[ref]:
            trial.bad[ref] = Bad(routes[ref], kept.message)
    except msgspec.DecodeError:
        return  # of another version of Flota: the proxy is asked again


def _packed(route: Route | None) -> bytes:
    return b"" if route is None else msgspec.msgpack.encode(route)


def _unpacked(body: bytes, kind: Kind) -> Route:
    return msgspec.msgpack.decode(body, type=HTTPRoute) if kind == "HTTPRoute" else msgspec.msgpack.decode(body, type=GRPCRoute)


def _words(message: str, *, kept: bool) -> str:
    stays = "its last accepted version stays in effect" if kept else "it has no effect"
    return f"the proxy does not take it, and {stays}: {shortened(message)}"


def _places(plan: Plan, deliveries: Deliveries, cluster: str, ref: RouteRef, route: Route) -> tuple[str, ...]:
    status = plan.statuses.get(ObjectRef(cluster, *ref))
    if not isinstance(status, RouteStatus) or cluster not in plan.proxies:
        return ()
    found = [deliveries.places(cluster, table, route.spec.hostnames) for table in status.tables]
    return tuple(sorted(frozenset().union(*found)))


def routes_before(old: SourceMemory, new: SourceMemory, restored: Callable[[Remembered], object]) -> Before:
    """Routes that are others now than when the last Flota ran, as they were then."""
    known = {(each.cluster, each.kind, each.namespace, each.name): each for each in old.objects}
    found: dict[tuple[str, RouteRef], Route | None] = {}
    for each in new.objects:
        was = known.get((each.cluster, each.kind, each.namespace, each.name))
        if each.kind in KINDS and (was is None or was.text != each.text):
            thing = None if was is None else restored(was)
            ref = RouteRef("HTTPRoute" if each.kind == "HTTPRoute" else "GRPCRoute", each.namespace, each.name)
            found[each.cluster, ref] = thing if isinstance(thing, HTTPRoute | GRPCRoute) else None
    return found
