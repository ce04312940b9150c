"""Which TrafficPolicy holds for a backend, and what it says (design section 6.1)."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from msgspec import Struct

from flota.fleet.policy import Places, TrafficPolicy, TrafficPolicySpec
from flota.routing.keys import PolicyKey, RouteKey, Target
from flota.routing.seniority import seniority
from flota.routing.view import ClusterView

DEFAULT_OVERPROVISIONING = 143
"""Percent; the next tier takes its share when less than 70 % of a tier is healthy."""
ALL_OR_NOTHING = 1_000_000
"""Percent; one healthy endpoint is a healthy tier (`spill.below: 0%`)."""


class Effective(Struct, frozen=True):
    """The TrafficPolicy that holds for a backend; `policy` None = the defaults: nearest first, everything else a reserve."""

    policy: TrafficPolicy | None = None
    attached: Literal["rule", "service", "none"] = "none"
    """To a rule of the route, or to the backend."""
    scope: Literal["cluster", "fleet"] = "cluster"
    """Of the cluster itself, or from the top of the folder."""

    @property
    def name(self) -> str:
        """`namespace/name`, as people call it; empty for the defaults."""
        return "" if self.policy is None else f"{self.policy.metadata.namespace}/{self.policy.metadata.name}"

    @property
    def spec(self) -> TrafficPolicySpec | None:
        """What it says."""
        return None if self.policy is None else self.policy.spec

    @property
    def replay(self) -> Literal["Idempotent", "All", "None"]:
        """What may be sent again after bytes were sent."""
        return "Idempotent" if self.policy is None else self.policy.spec.replay

    @property
    def strict(self) -> bool:
        """No tier but the first ever serves (`spill: Never`)."""
        return self.policy is not None and self.policy.spec.spill_below is None

    @property
    def overprovisioning(self) -> int:
        """Envoy's overprovisioning factor in percent: healthy% x this / 100 < 100 spills."""
        below = None if self.policy is None else self.policy.spec.spill_below
        if below is None:
            return DEFAULT_OVERPROVISIONING
        return round(100 / below) if below else ALL_OR_NOTHING

    def permits(self, cluster: str, region: str) -> bool:
        """Whether traffic may go there at all (`allow`, `forbid`)."""
        if self.policy is None:
            return True
        allow, forbid = self.policy.spec.allow, self.policy.spec.forbid
        return (allow is None or _inside(allow, cluster, region)) and not (forbid and _inside(forbid, cluster, region))


NO_POLICY = Effective()


def _inside(places: Places, cluster: str, region: str) -> bool:
    return cluster in places.clusters or region in places.regions


class _Level(NamedTuple):
    key: PolicyKey
    attached: Literal["rule", "service"]


def policy_for(view: ClusterView, target: Target, route: RouteKey | None = None) -> Effective:
    """The policy of `target` (kind Service or ServiceImport) when a rule of `route` sends there.

    The most specific wins, whole: rule, then backend; there the cluster's own before one from the top of the folder.
    """
    levels = [_Level(PolicyKey(target.kind, target.namespace, target.name, None), "service")]
    if route is not None:
        whole = _Level(PolicyKey(route.kind, route.namespace, route.name, None), "rule")
        levels.insert(0, whole)
        if route.rule is not None:
            levels.insert(0, _Level(PolicyKey(route.kind, route.namespace, route.name, route.rule), "rule"))
    for level in levels:
        own = oldest(view.member.policies.get(level.key))
        if own is not None:
            return Effective(own, level.attached, "cluster")
        shared = oldest(view.fleet_policies.get(level.key))
        if shared is not None:
            return Effective(shared, level.attached, "fleet")
    return NO_POLICY


def oldest(policies: Iterable[TrafficPolicy]) -> TrafficPolicy | None:
    """The one that holds where several have the same target: the one first seen, then by name (GEP-713)."""
    return min(policies, key=seniority, default=None)
