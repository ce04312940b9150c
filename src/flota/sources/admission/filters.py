"""Rules of filters (Gateway API v1.6.1 httproute_types.go, grpcroute_types.go)."""

import re
from collections.abc import Sequence

from msgspec import Struct

from flota.fleet.filters import (
    GRPCRouteFilter,
    HTTPCORSFilter,
    HTTPExternalAuthFilter,
    HTTPHeaderFilter,
    HTTPPathModifier,
    HTTPRequestMirrorFilter,
    HTTPRouteFilter,
)
from flota.sources.admission.fault import Faults, Path, doubled, fault, quoted, text
from flota.sources.admission.references import backend

_FIELD_OF = {
    "RequestHeaderModifier": ("requestHeaderModifier", "request_header_modifier"),
    "ResponseHeaderModifier": ("responseHeaderModifier", "response_header_modifier"),
    "RequestMirror": ("requestMirror", "request_mirror"),
    "RequestRedirect": ("requestRedirect", "request_redirect"),
    "URLRewrite": ("urlRewrite", "url_rewrite"),
    "CORS": ("cors", "cors"),
    "ExternalAuth": ("externalAuth", "external_auth"),
    "ExtensionRef": ("extensionRef", "extension_ref"),
}
_ONCE = frozenset({"RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "CORS"})
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}\Z")
_PATH = re.compile(r"[!-~]*\Z")


def filters(given: Sequence[HTTPRouteFilter | GRPCRouteFilter], path: Path) -> Faults:
    """Rules of a list of filters: which may come twice or together, and each on its own."""
    seen: dict[str, int] = {}
    for index, each in enumerate(given):
        place = (*path, index)
        before = seen.setdefault(each.type, index)
        if before != index and each.type in _ONCE:
            said = f"{each.type} may come only once, and is already {text((*path, before))}; merge the two"
            yield fault((*place, "type"), "Duplicate", said)
        yield from _union(each, place)
        yield from _content(each, place)
    if "RequestRedirect" in seen and "URLRewrite" in seen:
        later = max(seen["RequestRedirect"], seen["URLRewrite"])
        yield fault((*path, later), "Forbidden", "RequestRedirect and URLRewrite may not come together; remove one of them")


def _union(given: HTTPRouteFilter | GRPCRouteFilter, path: Path) -> Faults:
    """The field that `type` names is set, and no other."""
    for type_, (name, attribute) in _FIELD_OF.items():
        held = getattr(given, attribute, None) is not None
        if held and type_ != given.type:
            yield fault((*path, name), "Forbidden", f"belongs to type {type_}, but type is {given.type}; change one of them")
        elif not held and type_ == given.type:
            yield fault((*path, name), "Required", f"is required for type {type_}; add it")


def _content(given: HTTPRouteFilter | GRPCRouteFilter, path: Path) -> Faults:
    if given.request_header_modifier:
        yield from _headers(given.request_header_modifier, (*path, "requestHeaderModifier"))
    if given.response_header_modifier:
        yield from _headers(given.response_header_modifier, (*path, "responseHeaderModifier"))
    if given.request_mirror:
        yield from _mirror(given.request_mirror, (*path, "requestMirror"))
    if isinstance(given, HTTPRouteFilter):
        yield from _http_content(given, path)


def _http_content(given: HTTPRouteFilter, path: Path) -> Faults:
    if given.request_redirect and given.request_redirect.path:
        yield from _path_modifier(given.request_redirect.path, (*path, "requestRedirect", "path"))
    if given.url_rewrite and given.url_rewrite.path:
        yield from _path_modifier(given.url_rewrite.path, (*path, "urlRewrite", "path"))
    if given.cors:
        yield from _cors(given.cors, (*path, "cors"))
    if given.external_auth:
        yield from _external_auth(given.external_auth, (*path, "externalAuth"))


def _headers(given: HTTPHeaderFilter, path: Path) -> Faults:
    """Names are map keys of the lists, as written; equal names in another case are left to the first-wins rule."""
    yield from doubled((*path, "set"), given.set, lambda each: each.name, "name", "the header is already set")
    yield from doubled((*path, "add"), given.add, lambda each: each.name, "name", "the header is already added")
    yield from doubled((*path, "remove"), given.remove, lambda name: name, "", "the header is already removed")
    for index, name in enumerate(given.remove):
        if not _TOKEN.match(name):
            said = f"{quoted(name)} is not a header name; letters, digits and any of !#$%&'*+-.^_`|~ are allowed"
            yield fault((*path, "remove", index), "Invalid", said)


def _mirror(given: HTTPRequestMirrorFilter, path: Path) -> Faults:
    yield from backend(given.backend_ref, (*path, "backendRef"))
    if given.percent is not None and given.fraction is not None:
        yield fault((*path, "fraction"), "Forbidden", "percent and fraction may not come together; remove one of them")
    if given.fraction and given.fraction.numerator > given.fraction.denominator:
        said = f"{given.fraction.numerator} is more than the denominator {given.fraction.denominator}; at most all can be mirrored"
        yield fault((*path, "fraction", "numerator"), "Invalid", said)


def _path_modifier(given: HTTPPathModifier, path: Path) -> Faults:
    values = {
        "ReplaceFullPath": ("replaceFullPath", given.replace_full_path),
        "ReplacePrefixMatch": ("replacePrefixMatch", given.replace_prefix_match),
    }
    for type_, (name, value) in values.items():
        if value is None and type_ == given.type:
            yield fault((*path, name), "Required", f"is required for type {type_}; add it")
        elif value is not None and type_ != given.type:
            yield fault((*path, name), "Forbidden", f"belongs to type {type_}, but type is {given.type}; change one of them")
        if value and not _PATH.match(value):
            said = f"{quoted(value)} is not a path; blanks and characters beyond ASCII must be written as %XX"
            yield fault((*path, name), "Invalid", said)


def _cors(given: HTTPCORSFilter, path: Path) -> Faults:
    lists: dict[str, Sequence[str]] = {
        "allowOrigins": given.allow_origins,
        "allowMethods": given.allow_methods,
        "allowHeaders": given.allow_headers,
        "exposeHeaders": given.expose_headers,
    }
    for name, values in lists.items():
        yield from doubled((*path, name), values, lambda value: value, "", "is already in the list")
        if name != "exposeHeaders" and "*" in values and len(values) > 1:
            yield fault((*path, name), "Invalid", "* stands for all and must be alone; remove the others, or *")


def _external_auth(given: HTTPExternalAuthFilter, path: Path) -> Faults:
    yield from backend(given.backend_ref, (*path, "backendRef"))
    settings: dict[str, Struct | None] = {"GRPC": given.grpc, "HTTP": given.http}
    for protocol, value in settings.items():
        if value is None and given.protocol == protocol:
            yield fault((*path, protocol.lower()), "Required", f"is required for protocol {protocol}; add it")
        elif value is not None and given.protocol != protocol:
            said = f"belongs to protocol {protocol}, but protocol is {given.protocol}; change one of them"
            yield fault((*path, protocol.lower()), "Forbidden", said)
    if given.grpc:
        yield from _allowed(given.grpc.allowed_headers, (*path, "grpc", "allowedHeaders"))
    if given.http:
        yield from _allowed(given.http.allowed_headers, (*path, "http", "allowedHeaders"))
        yield from _allowed(given.http.allowed_response_headers, (*path, "http", "allowedResponseHeaders"))


def _allowed(names: Sequence[str], path: Path) -> Faults:
    yield from doubled(path, names, lambda name: name, "", "is already in the list")
