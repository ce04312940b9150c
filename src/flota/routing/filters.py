"""What the filters of a rule do, in the plan's words (HTTPRouteFilter, GRPCRouteFilter)."""

from collections.abc import Iterable

from msgspec import Struct

from flota.fleet.filters import (
    GRPCRouteFilter,
    HTTPCORSFilter,
    HTTPExternalAuthFilter,
    HTTPHeaderFilter,
    HTTPPathModifier,
    HTTPRequestMirrorFilter,
    HTTPRequestRedirectFilter,
    HTTPRouteFilter,
)
from flota.plan import CrossOrigin, HeaderChanges, Redirect, Rewrite

_WELL_KNOWN = {"http": 80, "https": 443}


class Arrival(Struct, frozen=True):
    """How requests come in: scheme and port of the listener."""

    scheme: str = "http"
    port: int = 80


class Effects(Struct, frozen=True):
    """All filters of one rule, or of one backend of a rule."""

    request_headers: HeaderChanges | None = None
    response_headers: HeaderChanges | None = None
    redirect: HTTPRequestRedirectFilter | None = None
    rewrite: Rewrite | None = None
    mirrors: tuple[HTTPRequestMirrorFilter, ...] = ()
    cors: CrossOrigin | None = None
    auths: tuple[HTTPExternalAuthFilter, ...] = ()
    unsupported: tuple[str, ...] = ()
    """Types of filters that can't be done (yet). They must not be skipped: what they guard would be open."""


def effects(filters: Iterable[HTTPRouteFilter | GRPCRouteFilter]) -> Effects:
    """What the filters of a rule do together."""
    found = Effects()
    changes: dict[str, object] = {}
    for each in filters:
        if each.request_header_modifier:
            changes["request_headers"] = header_changes(each.request_header_modifier)
        elif each.response_header_modifier:
            changes["response_headers"] = header_changes(each.response_header_modifier)
        elif each.request_mirror:
            changes["mirrors"] = (*changes.get("mirrors", ()), each.request_mirror)  # type: ignore[misc]
        elif isinstance(each, HTTPRouteFilter) and each.request_redirect:
            changes["redirect"] = each.request_redirect
        elif isinstance(each, HTTPRouteFilter) and each.url_rewrite:
            full, prefix = _path(each.url_rewrite.path)
            changes["rewrite"] = Rewrite(each.url_rewrite.hostname, full, prefix)
        elif isinstance(each, HTTPRouteFilter) and each.cors:
            changes["cors"] = cross_origin(each.cors)
        elif isinstance(each, HTTPRouteFilter) and each.external_auth:
            changes["auths"] = (*changes.get("auths", ()), each.external_auth)  # type: ignore[misc]
        else:
            changes["unsupported"] = (*changes.get("unsupported", ()), each.type)  # type: ignore[misc]
    return Effects(**changes) if changes else found  # type: ignore[arg-type]


def header_changes(changes: HTTPHeaderFilter) -> HeaderChanges:
    """Names in lower case; of several with one name only the first counts."""
    return HeaderChanges(
        set=_first((each.name, each.value) for each in changes.set),
        add=_first((each.name, each.value) for each in changes.add),
        remove=tuple(dict.fromkeys(name.lower() for name in changes.remove)),
    )


def host_without_effect(request: HeaderChanges | None, response: HeaderChanges | None) -> str | None:
    """What header changes ask for Host and can't get: a request has exactly one, and an answer has none (RFC 9110 section 7.2)."""
    if request and ("host" in request.remove or any(name == "host" for name, _ in request.add)):
        return "a request has exactly one Host header, which can't be added or removed; use set"
    if response and ("host" in response.remove or any(name == "host" for name, _ in (*response.set, *response.add))):
        return "a response has no Host header, so it is not changed there"
    return None


def redirect(asked: HTTPRequestRedirectFilter, arrival: Arrival) -> Redirect:
    """The redirect for requests that come in like that.

    Its port: the one asked for; else that of the scheme asked for; else the listener's. 0 where the scheme implies it.
    """
    full, prefix = _path(asked.path)
    target = asked.port or (_WELL_KNOWN[asked.scheme] if asked.scheme else arrival.port)
    implied = target == _WELL_KNOWN[asked.scheme or arrival.scheme]
    return Redirect(asked.status_code, asked.scheme, asked.hostname, 0 if implied else target, full, prefix)


def cross_origin(asked: HTTPCORSFilter) -> CrossOrigin:
    """Header names are compared without case, methods with it."""
    return CrossOrigin(
        origins=asked.allow_origins,
        credentials=bool(asked.allow_credentials),
        methods=asked.allow_methods,
        headers=asked.allow_headers,
        expose=asked.expose_headers,
        max_age=asked.max_age,
    )


def mirrored(mirror: HTTPRequestMirrorFilter) -> tuple[int, int]:
    """The share of requests that is copied, as numerator and denominator."""
    if mirror.fraction:
        return mirror.fraction.numerator, mirror.fraction.denominator
    return (100 if mirror.percent is None else mirror.percent), 100


def _path(path: HTTPPathModifier | None) -> tuple[str | None, str | None]:
    """(whole path, prefix) to put in place."""
    if path is None:
        return None, None
    if path.type == "ReplaceFullPath":
        return path.replace_full_path or "/", None
    return None, path.replace_prefix_match or ""


def _first(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name.lower(), value)
    return tuple(found.items())
