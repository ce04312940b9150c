"""What a rule's matches mean, and which of several goes first (HTTPRouteRule.matches, GRPCRouteRule.matches)."""

import re2

from flota.fleet.expressions import fault
from flota.fleet.routes import (
    GRPCHeaderMatch,
    GRPCMethodMatch,
    GRPCRouteMatch,
    HTTPHeaderMatch,
    HTTPPathMatch,
    HTTPQueryParamMatch,
    HTTPRouteMatch,
)
from flota.plan import Match, PathMatch, ValueMatch

Precedence = tuple[int, ...]
"""Sorts ascending: what sorts first takes the request. Route age, name and order come after it."""

_KINDS = {"Exact": "Exact", "PathPrefix": "Prefix", "RegularExpression": "Regex"}
_PATH_RANK = {"Exact": 0, "Regex": 1, "Prefix": 2}
"""The API leaves regular expressions open; they go between, as "/" matches everything (docs/decisions/routing-rules.md)."""


def http_match(match: HTTPRouteMatch) -> Match:
    """The match in the plan's words: header names in lower case, of several with one name only the first counts."""
    return Match(path=_path(match.path), method=match.method, headers=_headers(match.headers), query=_query(match))


def grpc_match(match: GRPCRouteMatch) -> Match:
    """A service and method as the path `/service/method`, for requests of type application/grpc."""
    return Match(path=_grpc_path(match.method), headers=_headers(match.headers), grpc=True)


def http_precedence(match: Match) -> Precedence:
    """Exact path, then expressions, then the longest prefix; a method; the most headers; the most parameters."""
    path = match.path
    return (_PATH_RANK[path.kind], -len(path.value), match.method is None, -len(match.headers), -len(match.query))


def grpc_precedence(match: GRPCRouteMatch) -> Precedence:
    """The longest service, then the longest method, then the most headers."""
    method = match.method
    service, name = (len(method.service or ""), len(method.method or "")) if method else (0, 0)
    return (-service, -name, -len(_headers(match.headers)))


def expressions(match: Match) -> tuple[str, ...]:
    """All regular expressions in it."""
    values = (each for each in (*match.headers, *match.query) if each.kind == "Regex")
    return tuple(each.value for each in values) + ((match.path.value,) if match.path.kind == "Regex" else ())


def bad_expression(match: Match) -> str | None:
    """An expression that RE2 does not take, with its reason; None if all are good. One that fails would make Envoy
    refuse the host of everybody else."""
    faults = ((each, fault(each)) for each in expressions(match))
    return next((f"{each!r} is not a regular expression of RE2: {reason}" for each, reason in faults if reason is not None), None)


def takes_all(match: Match) -> bool:
    """Whether every request takes it, so that nothing behind it is ever reached."""
    return match == Match()


def _path(path: HTTPPathMatch) -> PathMatch:
    kind = _KINDS[path.type]
    if kind == "Prefix":
        return PathMatch("Prefix", path.value.rstrip("/") or "/")
    return PathMatch("Exact" if kind == "Exact" else "Regex", path.value)


def _headers(headers: tuple[HTTPHeaderMatch, ...] | tuple[GRPCHeaderMatch, ...]) -> tuple[ValueMatch, ...]:
    first: dict[str, ValueMatch] = {}
    for each in headers:
        name = each.name.lower()
        first.setdefault(name, ValueMatch(name, "Exact" if each.type == "Exact" else "Regex", each.value))
    return tuple(first.values())


def _query(match: HTTPRouteMatch) -> tuple[ValueMatch, ...]:
    first: dict[str, HTTPQueryParamMatch] = {}
    for each in match.query_params:
        first.setdefault(each.name, each)
    return tuple(
        ValueMatch(each.name, "Exact" if each.type == "Exact" else "Regex", each.value) for each in first.values()
    )


def _grpc_path(method: GRPCMethodMatch | None) -> PathMatch:
    service, name = (method.service or "", method.method or "") if method else ("", "")
    if method is None or not (service or name):
        return PathMatch("Prefix", "/")
    if method.type == "RegularExpression":
        return PathMatch("Regex", f"/({service or '[^/]+'})/({name or '[^/]+'})")
    if not name:
        return PathMatch("Prefix", f"/{service}")
    return PathMatch("Exact", f"/{service}/{name}") if service else PathMatch("Regex", f"/[^/]+/{re2.escape(name)}")
