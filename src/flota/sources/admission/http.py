"""Rules of HTTPRoute and GRPCRoute (Gateway API v1.6.1)."""

import re
from collections.abc import Sequence

from flota.fleet.filters import GRPCRouteFilter, HTTPRouteFilter
from flota.fleet.routes import (
    GRPCMethodMatch,
    GRPCRoute,
    GRPCRouteRule,
    HTTPPathMatch,
    HTTPRoute,
    HTTPRouteMatch,
    HTTPRouteRetry,
    HTTPRouteRule,
    HTTPRouteTimeouts,
    SessionPersistence,
)
from flota.fleet.values import milliseconds
from flota.sources.admission.expressions import expression
from flota.sources.admission.fault import Faults, Path, doubled, fault, quoted
from flota.sources.admission.filters import filters
from flota.sources.admission.references import backend, hostnames, parents, rule_names

_MAX_MATCHES = 128
_PATH = re.compile(r"([-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+\Z")
_NOT_IN_PATH = ("//", "/./", "/../", "%2f", "%2F", "#")
_NOT_AT_END = ("/..", "/.")
_SERVICE = re.compile(r"\.?[A-Za-z_][A-Za-z_0-9]*(\.[A-Za-z_][A-Za-z_0-9]*)*\Z")
_METHOD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*\Z")


def http_route(route: HTTPRoute) -> Faults:
    """All rules of an HTTPRoute."""
    spec = route.spec
    yield from parents(spec.parent_refs)
    yield from hostnames(spec.hostnames)
    yield from rule_names(spec.rules)
    yield from _match_count(sum(len(rule.matches) for rule in spec.rules))
    for index, rule in enumerate(spec.rules):
        yield from _http_rule(rule, ("spec", "rules", index))


def _http_rule(rule: HTTPRouteRule, path: Path) -> Faults:
    for index, match in enumerate(rule.matches):
        yield from _http_match(match, (*path, "matches", index))
    if rule.filters:
        yield from filters(rule.filters, (*path, "filters"))
        yield from _prefix_needs_match(rule.filters, rule, (*path, "filters"))
        if rule.backend_refs and any(each.request_redirect for each in rule.filters):
            said = "a rule that redirects has no backends; remove them, or the RequestRedirect filter"
            yield fault((*path, "backendRefs"), "Forbidden", said)
    for index, ref in enumerate(rule.backend_refs):
        place = (*path, "backendRefs", index)
        yield from backend(ref, place)
        if ref.filters:
            yield from filters(ref.filters, (*place, "filters"))
            yield from _prefix_needs_match(ref.filters, rule, (*place, "filters"))
    if rule.timeouts:
        yield from _timeouts(rule.timeouts, (*path, "timeouts"))
    if rule.retry:
        yield from _retry(rule.retry, (*path, "retry"))
    if rule.session_persistence:
        yield from session(rule.session_persistence, (*path, "sessionPersistence"))


def _http_match(match: HTTPRouteMatch, path: Path) -> Faults:
    yield from _path_match(match.path, (*path, "path"))
    if match.headers:
        place = (*path, "headers")
        yield from doubled(place, match.headers, lambda each: each.name, "name", "the header is already matched")
        for index, header in enumerate(match.headers):
            if header.type == "RegularExpression":
                yield from expression((*place, index, "value"), header.value)
    if match.query_params:
        place = (*path, "queryParams")
        yield from doubled(place, match.query_params, lambda each: each.name, "name", "the parameter is already matched")
        for index, param in enumerate(match.query_params):
            if param.type == "RegularExpression":
                yield from expression((*place, index, "value"), param.value)


def _path_match(match: HTTPPathMatch, path: Path) -> Faults:
    value, place = match.value, (*path, "value")
    if match.type == "RegularExpression":
        yield from expression(place, value)
        return
    if not value.startswith("/"):
        yield fault(place, "Invalid", f"{quoted(value)} is not absolute; start it with /")
    elif not _PATH.match(value) and "#" not in value:
        said = f"{quoted(value)} has characters that a path cannot have; write them as %XX"
        yield fault(place, "Invalid", said)
    for part in _NOT_IN_PATH:
        if part in value:
            yield fault(place, "Invalid", f"{quoted(value)} contains {part}, which no path that is matched has; remove it")
    for part in _NOT_AT_END:
        if value.endswith(part):
            yield fault(place, "Invalid", f"{quoted(value)} ends with {part}, which no path that is matched does; remove it")


def _prefix_needs_match(given: Sequence[HTTPRouteFilter], rule: HTTPRouteRule, path: Path) -> Faults:
    """A prefix can only be replaced where exactly one prefix matches."""
    if len(rule.matches) == 1 and rule.matches[0].path.type == "PathPrefix":
        return
    for index, each in enumerate(given):
        for name, part in (("requestRedirect", each.request_redirect), ("urlRewrite", each.url_rewrite)):
            if part and part.path and part.path.type == "ReplacePrefixMatch":
                said = "ReplacePrefixMatch needs exactly one match in the rule, of type PathPrefix; split the rule"
                yield fault((*path, index, name, "path"), "Invalid", said)


def _timeouts(timeouts: HTTPRouteTimeouts, path: Path) -> Faults:
    if timeouts.request is None or timeouts.backend_request is None:
        return
    whole, each = milliseconds(timeouts.request), milliseconds(timeouts.backend_request)
    if whole and each > whole:
        said = f"{timeouts.backend_request} is longer than request, {timeouts.request}; shorten it, or lengthen request"
        yield fault((*path, "backendRequest"), "Invalid", said)


def _retry(retry: HTTPRouteRetry, path: Path) -> Faults:
    yield from doubled((*path, "codes"), retry.codes, lambda code: code, "", "is already in the list")


def session(given: SessionPersistence, path: Path) -> Faults:
    """Rules of session persistence (GEP-1619)."""
    if given.cookie_config is None:
        return
    if given.type != "Cookie":
        yield fault((*path, "cookieConfig"), "Forbidden", f"belongs to type Cookie, but type is {given.type}; remove it")
    if given.cookie_config.lifetime_type == "Permanent" and given.absolute_timeout is None:
        yield fault((*path, "absoluteTimeout"), "Required", "is required for a Permanent cookie; add it")


def grpc_route(route: GRPCRoute) -> Faults:
    """All rules of a GRPCRoute."""
    spec = route.spec
    yield from parents(spec.parent_refs)
    yield from hostnames(spec.hostnames)
    yield from rule_names(spec.rules)
    yield from _match_count(sum(len(rule.matches) for rule in spec.rules))
    for index, rule in enumerate(spec.rules):
        yield from _grpc_rule(rule, ("spec", "rules", index))


def _grpc_rule(rule: GRPCRouteRule, path: Path) -> Faults:
    for index, match in enumerate(rule.matches):
        place = (*path, "matches", index)
        if match.method:
            yield from _grpc_method(match.method, (*place, "method"))
        yield from doubled((*place, "headers"), match.headers, lambda each: each.name, "name", "the header is already matched")
        for number, header in enumerate(match.headers):
            if header.type == "RegularExpression":
                yield from expression((*place, "headers", number, "value"), header.value)
    yield from _grpc_filters(rule.filters, (*path, "filters"))
    for index, ref in enumerate(rule.backend_refs):
        yield from backend(ref, (*path, "backendRefs", index))
        yield from _grpc_filters(ref.filters, (*path, "backendRefs", index, "filters"))
    if rule.session_persistence:
        yield from session(rule.session_persistence, (*path, "sessionPersistence"))


def _grpc_filters(given: Sequence[GRPCRouteFilter], path: Path) -> Faults:
    if given:
        yield from filters(given, path)


def _grpc_method(match: GRPCMethodMatch, path: Path) -> Faults:
    if match.service is None and match.method is None:
        yield fault(path, "Required", "needs service, method, or both")
    for name, value, allowed in (("service", match.service, _SERVICE), ("method", match.method, _METHOD)):
        if value is None:
            continue
        if match.type == "RegularExpression":
            yield from expression((*path, name), value)
        elif not allowed.match(value):
            said = f"{quoted(value)} is not allowed; must be a {name} name: letters, digits and _" + (
                ", with dots between parts" if name == "service" else ""
            )
            yield fault((*path, name), "Invalid", said)


def _match_count(count: int) -> Faults:
    if count > _MAX_MATCHES:
        said = f"have {count} matches; at most {_MAX_MATCHES} are allowed in one route; split the route"
        yield fault(("spec", "rules"), "TooMany", said)
