"""What was decided about an object and why, in sentences."""

from collections.abc import Iterable

from flota.fleet.fleet import Fleet
from flota.fleet.meta import Condition
from flota.plan import GatewayStatus, ListenerSetStatus, ListenerStatus, ObjectRef, Plan, PolicyStatus, RouteStatus
from flota.routing.conditions import is_bad


def explain_object(fleet: Fleet, plan: Plan, ref: ObjectRef) -> tuple[str, ...]:
    """Sentences on the object, the most important first; none on one that nothing was decided about."""
    status = plan.statuses.get(ref)
    if isinstance(status, GatewayStatus):
        said = _gateway(status)
    elif isinstance(status, ListenerSetStatus):
        said = _listener_set(status)
    elif isinstance(status, RouteStatus):
        said = list(_route(status))
    elif ref.kind in ("Service", "ServiceImport"):
        said = _backend(plan, ref)
    elif ref.kind == "XBackend" and isinstance(status, PolicyStatus):
        said = [*_policy(ref, status), *_backend(plan, ref)]
    elif ref.kind in ("BackendTLSPolicy", "TrafficPolicy", "XBackendTrafficPolicy") and isinstance(status, PolicyStatus):
        said = list(_policy(ref, status))
    elif status is not None:
        said = [f"{each.type} is {each.status}: {each.message or each.reason}" for each in status.conditions]
    else:
        said = []
    problems = [each.message for each in plan.problems if _about(each.cluster, each.kind, each.namespace, each.name) == ref]
    return tuple(dict.fromkeys([*problems, *said]))


def _policy(ref: ObjectRef, status: PolicyStatus) -> Iterable[str]:
    yield from (f"{each.type} is {each.status}: {each.message or each.reason}" for each in status.conditions)
    if status.ancestors:
        yield f"It is about traffic from {', '.join(f'Gateway {namespace}/{name}' for namespace, name in status.ancestors)}."
    elif ref.cluster:
        yield "No route of a Gateway of Flota leads to what it is about."


def _about(cluster: str | None, kind: str, namespace: str, name: str) -> ObjectRef:
    return ObjectRef(cluster or "", kind, namespace, name)


def _gateway(status: GatewayStatus) -> Iterable[str]:
    where = ", ".join(status.addresses) or "no address"
    yield f"It listens on {where}."
    yield from _bad(status.conditions)
    if status.listener_sets:
        yield f"ListenerSets that take part in it: {status.listener_sets}."
    yield from _listeners(status.listeners)


def _listener_set(status: ListenerSetStatus) -> Iterable[str]:
    yield f"Its listeners are those of Gateway {status.gateway[0]}/{status.gateway[1]}."
    yield from _bad(status.conditions)
    yield from _listeners(status.listeners)


def _bad(conditions: Iterable[Condition]) -> Iterable[str]:
    for each in conditions:
        if is_bad(each):
            yield f"{each.type} is {each.status} ({each.reason}): {each.message}."


def _listeners(listeners: Iterable[ListenerStatus]) -> Iterable[str]:
    for listener in listeners:
        kinds = ", ".join(kind for _, kind in listener.supported_kinds) or "no routes"
        state = "served" if listener.socket else "not served"
        yield f"Listener {listener.name} is {state}, takes {kinds} and has {listener.attached_routes} attached."
        for each in listener.conditions:
            if is_bad(each):
                yield f"Listener {listener.name}: {each.type} is {each.status} ({each.reason}): {each.message}."


def _route(status: RouteStatus) -> Iterable[str]:
    if not status.parents:
        yield "It is attached to no Gateway of Flota."
    for parent in status.parents:
        where = f"{parent.kind} {parent.namespace}/{parent.name}"
        where += f" listener {parent.section_name}" if parent.section_name else ""
        where += f" port {parent.port}" if parent.port else ""
        bad = [each for each in parent.conditions if is_bad(each)]
        if not bad:
            yield f"{where} accepted it and all its references resolve."
        for each in bad:
            yield f"{where}: {each.type} is {each.status} ({each.reason}): {each.message}."
    if status.tables:
        yield f"It is part of {', '.join(status.tables)}."


def _backend(plan: Plan, ref: ObjectRef) -> Iterable[str]:
    proxy = plan.proxies.get(ref.cluster)
    found = [
        each
        for each in (proxy.backends.values() if proxy else ())
        if (each.kind, each.namespace, each.service) == (ref.kind, ref.namespace, ref.name)
    ]
    if not found:
        yield f"No route that is in effect in {ref.cluster} sends to it."
    for backend in sorted(found, key=lambda each: each.name):
        tiers = proxy.endpoints[backend.endpoints].tiers if proxy and backend.endpoints in proxy.endpoints else ()
        yield f"Port {backend.port} is spoken to in {backend.protocol}{' over TLS' if backend.tls else ''}."
        for at, tier in enumerate(tiers):
            for place in tier.localities:
                why = f": {place.why}" if place.why else ""
                yield f"Tier {at} has {len(place.endpoints)} endpoints in {place.cluster} ({place.region}){why}."
        if not tiers:
            yield "It has no endpoints: requests get 503."
