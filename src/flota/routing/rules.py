"""Rules of HTTPRoutes and GRPCRoutes → entries of a route table."""

from collections.abc import Iterable, Iterator
from functools import partial

import msgspec
from msgspec import Struct

from flota.fleet.routes import GRPCRoute, GRPCRouteMatch, GRPCRouteRule, HTTPRoute, HTTPRouteRule
from flota.fleet.values import milliseconds
from flota.plan import ExternalAuth, Forward, Match, PathMatch, Redirect, Replay, Respond, Retry, RouteEntry, RouteSource, ValueMatch
from flota.plan.filters import MOST_GUARDS
from flota.plan.routes import COLD_MS
from flota.routing.asks import Answer, Hint
from flota.routing.filters import Arrival, Effects, effects, host_without_effect, redirect
from flota.routing.listeners import Fault
from flota.routing.matches import (
    Precedence,
    bad_expression,
    grpc_match,
    grpc_precedence,
    http_match,
    http_precedence,
)
from flota.routing.references import Backends, Scope, Wishes, backends, guards, mirrors
from flota.routing.sessions import cookie_path, session, shortcomings

SESSION_PATIENCE_MS = 5_000
"""A second attempt beside the first reaches an endpoint that has never heard of the session, and its answer may be the one that is taken:
so it starts when little is left to lose. Where an endpoint hangs, new requests have long been elsewhere by then."""
HEDGE_SHARE = 80
"""Percent of the request's time limit; a second attempt that starts later would have no time left."""

_RankedMatch = tuple[tuple[bool, Precedence], Match, int]
"""Where it comes in the order, and its index in the rule."""


class Ranked(Struct, frozen=True):
    """An entry and its precedence within one hostname; what sorts first takes the request. gRPC calls come before other
    requests: their entries only take calls."""

    precedence: tuple[bool, Precedence]
    entry: RouteEntry


class Rules(Struct, frozen=True):
    """All rules of a route for one listener's scheme and port.

    `dropped`: what is wrong with rules that can't be done, by index. `faults`: references that don't resolve.
    """

    entries: tuple[Ranked, ...]
    dropped: dict[int, str]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...] = ()
    """Fields without effect."""


def depends_on_arrival(route: HTTPRoute | GRPCRoute) -> bool:
    """Whether entries differ by listener: redirects name its port, and cookies are for TLS where it speaks that."""
    return any(rule.session_persistence and rule.session_persistence.type == "Cookie" for rule in route.spec.rules) or any(
        each.type == "RequestRedirect"
        for rule in route.spec.rules
        for filters in (rule.filters, *(ref.filters for ref in rule.backend_refs))
        for each in filters
    )


def plan_rules(scope: Scope, route: HTTPRoute | GRPCRoute, arrival: Arrival) -> Rules:
    """The entries of all rules, in the order of the rules."""
    entries: list[Ranked] = []
    dropped: dict[int, str] = {}
    faults: list[Fault] = []
    notes: list[str] = []
    rules: tuple[HTTPRouteRule | GRPCRouteRule, ...] = route.spec.rules or (GRPCRouteRule(),)
    for index, rule in enumerate(rules):
        changes = effects(rule.filters)
        ranked, wrong = _matches(rule)
        held = backends(scope, rule.backend_refs, _wishes(scope, rule, ranked, arrival))
        auth, unguarded = guards(scope, changes, rule.name)
        faults += (*held.faults, *unguarded)
        unsupported = [*changes.unsupported, *held.unsupported]
        if len(auth or ()) + max((len(each.auth) for each in held.weighted), default=0) > MOST_GUARDS:
            unsupported.append(f"more than {MOST_GUARDS} times ExternalAuth")
        if unsupported:
            wrong = f"filters that are not supported: {', '.join(dict.fromkeys(unsupported))}; answered 500"
        # What guards the backends can't be left out: without it nothing may pass, not even to a wider rule.
        action: Forward | Redirect | Respond = Respond(500)
        if not unsupported and auth is not None:
            action, more = _action(scope, rule, changes, held, arrival)
            faults += more
        if wrong:
            dropped[index] = wrong
        notes += (f"rules[{index}]: {each}" for each in _without_effect(rule, changes, held))
        make = partial(_entry, scope, rule, index, changes, action, auth or ())
        if changes.cors or any(each.cors for each in held.weighted):
            ranked += tuple(_preflights(ranked))
        entries += [Ranked(precedence, make(match, at)) for precedence, match, at in ranked]
    return Rules(tuple(entries), dropped, tuple(dict.fromkeys(faults)), tuple(notes))


def _wishes(scope: Scope, rule: HTTPRouteRule | GRPCRouteRule, ranked: tuple[_RankedMatch, ...], arrival: Arrival) -> Wishes:
    hint: Hint = "HTTP" if isinstance(rule, HTTPRouteRule) else "GRPC"
    asked = rule.session_persistence
    owner = (scope.kind, scope.namespace, scope.name, rule.name or tuple(match for _, match, _ in ranked))
    own = session(asked, owner, secure=arrival.scheme == "https") if asked else None
    return Wishes(rule.name, hint, arrival, own, owner)


def _at_path(action: Forward | Redirect | Respond, path: PathMatch) -> Forward | Redirect | Respond:
    """The action of one match: the cookie of the rule's own session is for its path."""
    if not isinstance(action, Forward) or not any(each.session for each in action.backends):
        return action
    where = cookie_path(path)
    backends = tuple(
        msgspec.structs.replace(each, session=msgspec.structs.replace(each.session, path=where)) if each.session else each
        for each in action.backends
    )
    return msgspec.structs.replace(action, backends=backends)


def _preflights(ranked: Iterable[_RankedMatch]) -> Iterator[_RankedMatch]:
    """Where a rule takes one method only: the question of a browser whether it may use that (Fetch standard, CORS-preflight)."""
    for _, match, at in ranked:
        if match.method is not None and match.method != "OPTIONS":
            asks = (ValueMatch("origin", "Regex", ".+"), ValueMatch("access-control-request-method", "Exact", match.method))
            asking = msgspec.structs.replace(match, method="OPTIONS", headers=(*match.headers, *asks))
            yield (True, http_precedence(asking)), asking, at


def _without_effect(rule: HTTPRouteRule | GRPCRouteRule, changes: Effects, held: Backends) -> Iterator[str]:
    """What a rule asks for and does not get, though the rest of it works."""
    if rule.session_persistence:
        yield from shortcomings(rule.session_persistence, len(held.weighted))
    pairs = ((each.request_headers, each.response_headers) for each in held.weighted)
    for request, response in ((changes.request_headers, changes.response_headers), *pairs):
        said = host_without_effect(request, response)
        if said:
            yield said


def _entry(
    scope: Scope,
    rule: HTTPRouteRule | GRPCRouteRule,
    index: int,
    changes: Effects,
    action: Forward | Redirect | Respond,
    auth: tuple[ExternalAuth, ...],
    match: Match,
    at: int,
) -> RouteEntry:
    source = RouteSource(scope.kind, scope.namespace, scope.name, index, at, rule.name)
    action = _at_path(action, match.path) if rule.session_persistence else action
    return RouteEntry(source, match, action, changes.request_headers, changes.response_headers, cors=changes.cors, auth=auth)


def _matches(rule: HTTPRouteRule | GRPCRouteRule) -> tuple[tuple[_RankedMatch, ...], str | None]:
    """(precedence, match, index) of every good match, and what is wrong with a bad one. A bad one drops the rule."""
    found: list[_RankedMatch] = []
    if isinstance(rule, HTTPRouteRule):
        for at, http in enumerate(rule.matches):
            match = http_match(http)
            found.append(((True, http_precedence(match)), match, at))
    else:
        for at, grpc in enumerate(rule.matches or (GRPCRouteMatch(),)):
            found.append(((False, grpc_precedence(grpc)), grpc_match(grpc), at))
    wrong = next(filter(None, (bad_expression(match) for _, match, _ in found)), None)
    return (() if wrong else tuple(found)), wrong


def _action(
    scope: Scope, rule: HTTPRouteRule | GRPCRouteRule, changes: Effects, held: Backends, arrival: Arrival
) -> tuple[Forward | Redirect | Respond, tuple[Fault, ...]]:
    if changes.redirect:
        return redirect(changes.redirect, arrival), ()
    grpc = isinstance(rule, GRPCRouteRule)
    if not held.answers:
        # No backends, none that resolves, or all of weight 0: 500, for gRPC UNAVAILABLE, which Envoy makes of a 503.
        return Respond(503 if grpc else 500), ()
    copies, faults = mirrors(scope, changes, rule.name, "GRPC" if grpc else "HTTP")
    timeouts = None if isinstance(rule, GRPCRouteRule) else rule.timeouts
    limit = milliseconds(timeouts.request) if timeouts and timeouts.request else None
    each_try = milliseconds(timeouts.backend_request) if timeouts and timeouts.backend_request else None
    forward = Forward(
        backends=held.weighted,
        timeout_ms=limit,
        try_timeout_ms=each_try,
        retry=None if isinstance(rule, GRPCRouteRule) else _retry(rule),
        replay=_replay(held.answers),
        hedge_ms=_hedge(held.answers, limit, patient=any(each.session for each in held.weighted)),
        sick=all(each.sick for each in held.answers),
        rewrite=changes.rewrite,
        mirrors=copies,
    )
    return forward, faults


def _retry(rule: HTTPRouteRule) -> Retry | None:
    asked = rule.retry
    if asked is None:
        return None
    return Retry(asked.codes, asked.attempts, milliseconds(asked.backoff) if asked.backoff else None)


def _replay(answers: Iterable[Answer]) -> Replay:
    """Which backend gets a request is drawn before anything is known of it: what one forbids none may do."""
    return min((each.replay for each in answers), key=("None", "Idempotent", "All").index)


def _hedge(answers: Iterable[Answer], limit_ms: int | None, *, patient: bool) -> int:
    """After how long a second attempt starts: not before the slowest backend's. `patient`: there are sessions."""
    slowest = max((each.per_try_ms for each in answers), default=COLD_MS)
    if patient:
        slowest = max(SESSION_PATIENCE_MS, slowest)
    return min(slowest, limit_ms * HEDGE_SHARE // 100) if limit_ms else slowest
