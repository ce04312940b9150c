"""Fleet → plan: the routing of all clusters (design section 2)."""

from functools import partial

from flota.fleet.fleet import Fleet
from flota.fleet.problem import Problem
from flota.plan import ObjectRef, Plan, ProxyPlan
from flota.plan.plan import Status
from flota.routing.asks import Ask, Found, Missing
from flota.routing.backends import Resolved, resolve
from flota.routing.bookkeeping import Bookkeeping, Reached
from flota.routing.clusterplan import ClusterPlanner
from flota.routing.view import ClusterView, Views


class Planner:
    """Plans a fleet. It remembers, but only to save work: the plan depends on nothing but the fleet handed in, and every
    part of it that did not change is the very same object as before."""

    def __init__(self) -> None:
        self.clusters: dict[str, ClusterPlanner] = {}
        self._views = Views()
        self._around = Bookkeeping()
        self._plan = Plan({}, {}, ())
        self._parts: list[object] = []

    def plan(self, fleet: Fleet) -> Plan:
        """The plan for this fleet."""
        views = self._views.refresh(fleet)
        for gone in self.clusters.keys() - views.keys():
            del self.clusters[gone]
        for name, view in views.items():
            planner = self.clusters.get(name)
            if planner is None:
                planner = self.clusters[name] = ClusterPlanner(name)
            planner.plan(fleet, view.cluster, partial(_resolve, view), view.changed)
        self._around.refresh(views, {name: Reached(planner.reach, planner.reached) for name, planner in self.clusters.items()})
        return self._assemble(fleet)

    def _assemble(self, fleet: Fleet) -> Plan:
        planners = [self.clusters[name] for name in sorted(self.clusters)]
        parts: list[object] = [*sorted(self.clusters)]
        for each in planners:
            parts += (each.proxy, each.statuses, each.problems)
        parts += (self._around.statuses, self._around.problems)
        if len(parts) == len(self._parts) and all(map(_same, parts, self._parts)):
            return self._plan
        self._parts = parts
        proxies: dict[str, ProxyPlan] = {
            name: planner.proxy for name, planner in self.clusters.items() if planner.proxy is not None
        }
        statuses: dict[ObjectRef, Status] = {}
        problems: list[Problem] = []
        several: list[ClusterPlanner | Bookkeeping] = [*planners, self._around]
        for told in several:
            statuses.update(told.statuses)
            for ref in sorted(told.problems):
                problems += told.problems[ref]
        self._plan = Plan(proxies, statuses, tuple(problems))
        return self._plan


def _resolve(view: ClusterView, ask: Ask) -> Found | Missing:
    found = resolve(view, ask.backend, ask.route, ask.hint, ask.certificate)
    if not isinstance(found, Resolved):
        return Missing(found.reason, found.message)
    return Found(found.backend, found.endpoints, found.secrets, found.policy.replay, found.rtt_ms, found.session)


def _same(one: object, other: object) -> bool:
    return one is other or (isinstance(one, str) and one == other)
