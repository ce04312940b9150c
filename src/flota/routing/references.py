"""The backends of a rule: shares, header changes, and what does not resolve (HTTPRouteRule.backendRefs)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import msgspec
from msgspec import Struct

from flota.fleet.meta import Key
from flota.fleet.policy import ReferenceGrant
from flota.fleet.references import GATEWAY_GROUP, BackendObjectReference, BackendRef
from flota.fleet.routes import GRPCBackendRef, HTTPBackendRef
from flota.plan import ExternalAuth, Mirror, Session, WeightedBackend
from flota.routing.asks import Answer, Ask, Hint
from flota.routing.filters import Arrival, Effects, effects, mirrored, redirect
from flota.routing.grants import Reference, permitted
from flota.routing.keys import BackendKey, RouteKey
from flota.routing.listeners import Fault
from flota.routing.sessions import of_rule, of_share

RouteKind = Literal["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"]
AnyRef = HTTPBackendRef | GRPCBackendRef | BackendRef | BackendObjectReference


class Scope(Struct, frozen=True):
    """Where a route stands when it refers to something."""

    kind: RouteKind
    namespace: str
    name: str
    grants: Mapping[Key, ReferenceGrant]
    answer: Callable[[Ask], Answer]
    certificate: str | None = None
    """Name of the `Secret` that the Gateway shows to backends."""


class Backends(Struct, frozen=True):
    """The backends of one rule. `answers`: those that resolve and have a weight; `faults`: of those that don't resolve."""

    weighted: tuple[WeightedBackend, ...]
    answers: tuple[Answer, ...]
    faults: tuple[Fault, ...]
    unsupported: tuple[str, ...] = ()
    """Filters of a backend that can't be done."""


class Wishes(Struct, frozen=True):
    """What a rule wants of all its backends. `session`: the rule's own; `owner`: the rule, by what stays the same of it; `arrival`: for
    redirects of one backend."""

    rule: str | None
    hint: Hint
    arrival: Arrival = Arrival()
    session: Session | None = None
    owner: tuple[object, ...] = ()


def backends(scope: Scope, refs: Iterable[AnyRef], wishes: Wishes) -> Backends:
    """Resolve all references of a rule. One that fails keeps its share and costs the others nothing."""
    weighted: list[WeightedBackend] = []
    answers: list[Answer] = []
    faults: list[Fault] = []
    unsupported: list[str] = []
    for at, ref in enumerate(refs):
        found = look_up(scope, ref, wishes.rule, wishes.hint)
        changes = effects(getattr(ref, "filters", ()))
        unsupported += changes.unsupported
        if found.backend is None:
            faults.append(Fault(found.reason, found.message))
        weight: int = getattr(ref, "weight", 1)
        one, more = _weighted(scope, found, changes, weight, wishes)
        faults += more
        if one.backend is not None and (held := _session(scope, ref, at, found, wishes)):
            one = msgspec.structs.replace(one, session=held)
        if not weight and not one.session:
            continue
        if weight and one.backend is not None:
            answers.append(found)
        weighted.append(one)
    return Backends(tuple(weighted), tuple(answers), tuple(faults), tuple(unsupported))


def _weighted(
    scope: Scope, found: Answer, changes: Effects, weight: int, wishes: Wishes
) -> tuple[WeightedBackend, tuple[Fault, ...]]:
    """The share with what its filters do. A guard that can't be asked lets nobody in: then the share is answered 500."""
    if found.backend is None or changes.unsupported:
        return WeightedBackend(None, weight), ()
    auth, faults = guards(scope, changes, wishes.rule)
    if auth is None:
        return WeightedBackend(None, weight), faults
    copies, more = mirrors(scope, changes, wishes.rule, wishes.hint)
    one = WeightedBackend(
        found.backend,
        weight,
        changes.request_headers,
        changes.response_headers,
        rewrite=changes.rewrite,
        redirect=redirect(changes.redirect, wishes.arrival) if changes.redirect else None,
        mirrors=copies,
        cors=changes.cors,
        auth=auth,
    )
    return one, (*faults, *more)


def _session(scope: Scope, ref: AnyRef, at: int, found: Answer, wishes: Wishes) -> Session | None:
    """The session of a share: the rule's, or what a policy of the backend asks for (GEP-1619: the rule's comes first)."""
    target = (ref.group, ref.kind, ref.namespace or scope.namespace, ref.name, ref.port)
    if wishes.session:
        return of_share(wishes.session, at, target)
    if found.session is None or wishes.hint not in ("HTTP", "GRPC"):
        return None
    return of_share(of_rule(found.session, wishes.owner), at, target)


def guards(scope: Scope, changes: Effects, rule: str | None) -> tuple[tuple[ExternalAuth, ...] | None, tuple[Fault, ...]]:
    """Whom to ask before a request goes on, None if one of them can't be asked: then nothing may pass."""
    found: list[ExternalAuth] = []
    for each in changes.auths:
        answer = look_up(scope, each.backend_ref, rule, "GRPC" if each.protocol == "GRPC" else "HTTP")
        if answer.backend is None:
            return None, (Fault(answer.reason, f"external authorisation: {answer.message}; answered 500"),)
        http, grpc = each.http, each.grpc
        given = (http.allowed_headers if http else ()) or (grpc.allowed_headers if grpc else ())
        found.append(
            ExternalAuth(
                answer.backend,
                each.protocol,
                path=(http.path or "") if http else "",
                headers=tuple(dict.fromkeys(name.lower() for name in given)),
                answer_headers=tuple(dict.fromkeys(name.lower() for name in http.allowed_response_headers)) if http else (),
                body_bytes=(each.forward_body.max_size or 0) if each.forward_body else 0,
                hedge_ms=answer.per_try_ms,
            )
        )
    return tuple(found), ()


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
    return scope.answer(Ask(target, RouteKey(scope.kind, scope.namespace, scope.name, rule), hint, scope.certificate))
