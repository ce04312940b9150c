"""The backends of a rule: shares, header changes, and what does not resolve (HTTPRouteRule.backendRefs)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from msgspec import Struct

from flota.fleet.meta import Key
from flota.fleet.policy import ReferenceGrant
from flota.fleet.references import GATEWAY_GROUP, BackendObjectReference, BackendRef
from flota.fleet.routes import GRPCBackendRef, HTTPBackendRef
from flota.plan import Mirror, WeightedBackend
from flota.routing.asks import Answer, Ask, Hint
from flota.routing.filters import Effects, backend_effects, mirrored
from flota.routing.grants import Reference, permitted
from flota.routing.keys import BackendKey, RouteKey
from flota.routing.listeners import Fault

RouteKind = Literal["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"]
AnyRef = HTTPBackendRef | GRPCBackendRef | BackendRef | BackendObjectReference


class Scope(Struct, frozen=True):
    """Where a route stands when it refers to something."""

    kind: RouteKind
    namespace: str
    name: str
    grants: Mapping[Key, ReferenceGrant]
    answer: Callable[[Ask], Answer]


class Backends(Struct, frozen=True):
    """The backends of one rule. `answers`: those that resolve and have a weight; `faults`: of those that don't resolve."""

    weighted: tuple[WeightedBackend, ...]
    answers: tuple[Answer, ...]
    faults: tuple[Fault, ...]
    unsupported: tuple[str, ...] = ()
    """Filters of a backend that can't be done."""


def backends(scope: Scope, refs: Iterable[AnyRef], rule: str | None, hint: Hint) -> Backends:
    """Resolve all references of a rule. One that fails keeps its share and costs the others nothing."""
    weighted: list[WeightedBackend] = []
    answers: list[Answer] = []
    faults: list[Fault] = []
    unsupported: list[str] = []
    for ref in refs:
        found = look_up(scope, ref, rule, hint)
        changes = backend_effects(getattr(ref, "filters", ()))
        unsupported += changes.unsupported
        if found.backend is None:
            faults.append(Fault(found.reason, found.message))
        weight: int = getattr(ref, "weight", 1)
        if not weight:
            continue
        if found.backend is not None and not changes.unsupported:
            answers.append(found)
        weighted.append(_weighted(found, changes, weight))
    return Backends(tuple(weighted), tuple(answers), tuple(faults), tuple(unsupported))


def mirrors(scope: Scope, changes: Effects, rule: str | None, hint: Hint) -> tuple[tuple[Mirror, ...], tuple[Fault, ...]]:
    """Where copies go. A mirror that does not resolve is left out, the request itself goes on."""
    good: list[Mirror] = []
    faults: list[Fault] = []
    for each in changes.mirrors:
        found = look_up(scope, each.backend_ref, rule, hint)
        numerator, denominator = mirrored(each)
        if found.backend is None:
            faults.append(Fault(found.reason, f"mirror: {found.message}"))
        elif numerator:
            good.append(Mirror(found.backend, numerator, denominator))
    return tuple(good), tuple(faults)


def look_up(scope: Scope, ref: AnyRef, rule: str | None, hint: Hint) -> Answer:
    """What a reference leads to, if it may be used at all. The permission is asked first: who may not refer to
    another namespace is not told what exists there."""
    namespace = ref.namespace or scope.namespace
    target = BackendKey(ref.group, ref.kind, namespace, ref.name, ref.port)
    reference = Reference(GATEWAY_GROUP, scope.kind, scope.namespace, *target[:4])
    if not permitted(scope.grants, reference):
        text = f"{ref.kind} {namespace}/{ref.name} is in another namespace, and no ReferenceGrant there allows it"
        return Answer(None, reason="RefNotPermitted", message=text)
    return scope.answer(Ask(target, RouteKey(scope.kind, scope.namespace, scope.name, rule), hint))


def _weighted(found: Answer, changes: Effects, weight: int) -> WeightedBackend:
    if found.backend is None or changes.unsupported:
        return WeightedBackend(None, weight)
    return WeightedBackend(found.backend, weight, changes.request_headers, changes.response_headers)
