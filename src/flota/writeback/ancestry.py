"""Which Gateways a BackendTLSPolicy has to do with: those whose routes send to what it is about (GEP-713, ancestors). Pure."""

from collections.abc import Iterator, Mapping

from flota.fleet.fleet import Cluster
from flota.fleet.meta import Key
from flota.fleet.policy import BackendTLSPolicy
from flota.plan import ObjectRef, Plan, RouteStatus
from flota.writeback.picture import ROUTE_FIELDS


def gateways_of(policy: BackendTLSPolicy, cluster: Cluster, plan: Plan) -> set[Key]:
    """(namespace, name) of each Gateway with a route, attached or not, that refers to a target of the policy."""
    namespace = policy.metadata.namespace
    targets = {(each.group, each.kind, namespace, each.name) for each in policy.spec.target_refs}
    found: set[Key] = set()
    for kind, field in ROUTE_FIELDS.items():
        routes: Mapping[Key, object] = getattr(cluster, field)
        for key, route in routes.items():
            if targets.isdisjoint(_backends(route, key[0])):
                continue
            status = plan.statuses.get(ObjectRef(cluster.name, kind, *key))
            if isinstance(status, RouteStatus):
                found |= {(each.namespace, each.name) for each in status.parents}
    return found


def _backends(route: object, namespace: str) -> Iterator[tuple[str, str, str, str]]:
    for rule in getattr(getattr(route, "spec", None), "rules", ()):
        for ref in getattr(rule, "backend_refs", ()):
            yield ref.group, ref.kind, ref.namespace or namespace, ref.name
        for each in getattr(rule, "filters", ()):
            mirror = getattr(each, "request_mirror", None)
            if mirror is not None:
                ref = mirror.backend_ref
                yield ref.group, ref.kind, ref.namespace or namespace, ref.name
