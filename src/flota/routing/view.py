"""The fleet as each of its clusters sees it, and what changed there since the last look."""

from collections.abc import Mapping

from flota.fleet.fleet import Cluster, Fleet
from flota.fleet.meta import Key
from flota.fleet.policy import TrafficPolicy
from flota.fleet.signals import ClusterAddress
from flota.routing.index import Index
from flota.routing.keys import BackendKey, PolicyKey, RouteKey, Target
from flota.routing.load import Load
from flota.routing.member import Member, Touched, policy_targets
from flota.routing.memo import Memo
from flota.routing.probes import interval_ms

__all__ = ["BackendKey", "ClusterView", "PolicyKey", "RouteKey", "Target", "Views"]


class ClusterView:
    """A cluster as seen from itself. Good until the next `Views.refresh`.

    `changed`: targets (Services, ServiceImports, and routes of which a rule has a TrafficPolicy) for which `resolve` and
    `policy_for` may answer differently than at the refresh before; None = any.
    `load`: endpoints behind all that routes of the cluster refer to: what its proxy has to check.
    """

    def __init__(self, views: "Views", member: Member, changed: frozenset[Target] | None, memo: Memo, load: int) -> None:
        self.fleet: Fleet = views.fleet
        self.cluster: Cluster = member.cluster
        self.member = member
        self.members: Mapping[str, Member] = views.members
        self.fleet_policies: Index[TrafficPolicy, PolicyKey] = views.policies
        self.changed = changed
        self.memo = memo
        self.load = load

    def get(self, field: str, key: Key) -> object | None:
        """The object of that key in a mapping of the cluster (`services`, `secrets`, …), or None."""
        found: object | None = getattr(self.cluster, field).get(key)
        return found


class Views:
    """All clusters seen from themselves. It lives as long as its planner, so that a refresh costs what changed."""

    def __init__(self) -> None:
        self.fleet = Fleet(name="")
        self.members: dict[str, Member] = {}
        self.policies: Index[TrafficPolicy, PolicyKey] = Index(policy_targets)
        self._memos: dict[str, Memo] = {}
        self._loads: dict[str, Load] = {}
        self._views: dict[str, ClusterView] = {}

    def refresh(self, fleet: Fleet) -> Mapping[str, ClusterView]:
        """The views of a newer fleet, by cluster. For the same fleet the same views."""
        old, self.fleet = self.fleet, fleet
        if fleet is old:
            return self._views
        touched = self._refresh_members(fleet)
        everywhere = {Target(*each[:3]) for each in self.policies.refresh(fleet.policies)}
        for name, address in _revised(old.signals.dead, fleet.signals.dead):
            if name in touched:
                touched[name].services |= _behind(self.members[name], address)
        everywhere |= {Target("ServiceImport", *each) for one in touched.values() for each in one.services}
        anything = _world(old) != _world(fleet)
        self._views = {name: self._view(name, each, everywhere, anything) for name, each in touched.items()}
        return self._views

    def _refresh_members(self, fleet: Fleet) -> dict[str, Touched]:
        for gone in self.members.keys() - fleet.clusters.keys():
            del self.members[gone], self._memos[gone], self._loads[gone]
        for name, cluster in fleet.clusters.items():
            if name not in self.members:
                self.members[name], self._memos[name], self._loads[name] = Member(cluster), Memo(), Load()
        return {name: self.members[name].refresh(cluster) for name, cluster in fleet.clusters.items()}

    def _view(self, name: str, touched: Touched, everywhere: set[Target], anything: bool) -> ClusterView:
        member, memo, load = self.members[name], self._memos[name], self._loads[name]
        own = touched.targets | {Target("Service", *each) for each in touched.services}
        changed = None if anything else everywhere | own
        before = load.total
        for unused in load.refresh(member, self.members, changed, touched.references):
            memo.forget(unused)
        if interval_ms(before) != interval_ms(load.total):
            changed = None
        memo.expire(changed)
        return ClusterView(self, member, None if changed is None else frozenset(changed), memo, load.total)


def _world(fleet: Fleet) -> object:
    """What every decision depends on."""
    places = tuple((each.name, each.region, each.zone) for each in fleet.clusters.values())
    return places, fleet.distances, fleet.drains, fleet.signals.suspect


def _revised(old: Mapping[ClusterAddress, str], new: Mapping[ClusterAddress, str]) -> set[ClusterAddress]:
    """Endpoints of which something else is known than before."""
    if old is new:
        return set()
    return {each for each in old.keys() | new.keys() if old.get(each) != new.get(each)}


def _behind(member: Member, address: str) -> set[Key]:
    """Services with an endpoint at `address:port`."""
    host = address.rpartition(":")[0].strip("[]")
    return {
        (piece.metadata.namespace, piece.service)
        for piece in member.cluster.endpoint_slices.values()
        if any(host in each.addresses for each in piece.endpoints)
    }
