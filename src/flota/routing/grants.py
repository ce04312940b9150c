"""ReferenceGrant: may an object of one namespace refer to one of another (GEP-709)."""

from collections.abc import Mapping

from msgspec import Struct

from flota.fleet.meta import Key
from flota.fleet.policy import ReferenceGrant


class Reference(Struct, frozen=True):
    """Who refers (group, kind, namespace) to what (group, kind, namespace, name)."""

    from_group: str
    from_kind: str
    from_namespace: str
    group: str
    kind: str
    namespace: str
    name: str


def permitted(grants: Mapping[Key, ReferenceGrant], reference: Reference) -> bool:
    """Whether the reference stays in its namespace, or a grant of the target's namespace allows it."""
    if reference.from_namespace == reference.namespace:
        return True
    return any(
        _allows(grant, reference) for grant in grants.values() if grant.metadata.namespace == reference.namespace
    )


def _allows(grant: ReferenceGrant, reference: Reference) -> bool:
    source = (reference.from_group, reference.from_kind, reference.from_namespace)
    return any((each.group, each.kind, each.namespace) == source for each in grant.spec.from_) and any(
        (each.group, each.kind) == (reference.group, reference.kind) and each.name in (None, "", reference.name)
        for each in grant.spec.to
    )
