"""How many endpoints the proxy of a cluster has to keep an eye on."""

from collections.abc import Collection, Mapping

from flota.routing.keys import BackendKey, Target
from flota.routing.member import Member


class Load:
    """Endpoints behind all that the routes of one cluster refer to, counted by difference."""

    def __init__(self) -> None:
        self._ports: dict[Target, set[BackendKey]] = {}
        self._counts: dict[Target, int] = {}

    def refresh(
        self, member: Member, members: Mapping[str, Member], changed: Collection[Target] | None, references: set[BackendKey]
    ) -> set[Target]:
        """Count again what changed (None = everything). Answers the targets to which no route refers any more."""
        affected = {self._note(member, each) for each in references}
        affected |= self._ports.keys() if changed is None else self._ports.keys() & set(changed)
        for target in affected:
            ports = len(self._ports.get(target, ()))
            self._counts[target] = ports and ports * count(member, members, target)
        gone = {each for each in affected if not self._ports.get(each)}
        for target in gone:
            self._ports.pop(target, None)
            del self._counts[target]
        return gone

    @property
    def total(self) -> int:
        """Endpoints, each once per port that is referred to."""
        return sum(self._counts.values())

    def _note(self, member: Member, backend: BackendKey) -> Target:
        target = Target(backend.kind, backend.namespace, backend.name)
        ports = self._ports.setdefault(target, set())
        if member.refers(backend):
            ports.add(backend)
        else:
            ports.discard(backend)
        return target


def count(member: Member, members: Mapping[str, Member], target: Target) -> int:
    """How many endpoints the slices of a target hold, ready or not, as `member` sees them."""
    key = (target.namespace, target.name)
    if target.kind == "Service":
        return sum(len(each.endpoints) for each in member.slices.get(key))
    if target.kind == "XBackend":
        return 0  # not checked
    exporters = (each for each in members.values() if key in each.cluster.service_exports)
    return sum(len(piece.endpoints) for each in exporters for piece in each.slices.get(key))
