"""Paths that change on the way: HTTPURLRewriteFilter and HTTPRequestRedirectFilter as Envoy's rewrite fields.

Source: Gateway API HTTPPathModifier; its table for ReplacePrefixMatch is our test. Envoy's own prefix rewrite joins strings, so a
prefix that becomes "/" would leave "//bar": those need a regular expression.
"""

import re

from flota.envoy.values import Fields
from flota.plan import PathMatch, Redirect, Rewrite

_DEFAULT_PORTS = {"http": 80, "https": 443}
_REDIRECT_CODES = {301: "MOVED_PERMANENTLY", 302: "FOUND", 303: "SEE_OTHER", 307: "TEMPORARY_REDIRECT", 308: "PERMANENT_REDIRECT"}


def rewritten_path(rewrite: Rewrite, matched: PathMatch) -> Fields:
    """RouteAction fields for the path the backend sees; the query stays."""
    if rewrite.full_path is not None:
        return _whole_path(rewrite.full_path)
    if rewrite.prefix is not None:
        return replaced_prefix(matched.value, rewrite.prefix)
    return {}


def replaced_prefix(prefix: str, replacement: str) -> Fields:
    """`prefix_rewrite` or `regex_rewrite` that replaces a matched prefix by whole path elements; trailing slashes of both say nothing."""
    old, new = prefix.rstrip("/"), replacement.rstrip("/")
    if new and not new.startswith("/"):
        new = "/" + new
    if not old:
        return {"prefix_rewrite": new + "/"} if new else {}
    if new:
        return {"prefix_rewrite": new}
    return {"regex_rewrite": {"pattern": {"regex": f"^{_quoted(old)}/*"}, "substitution": "/"}}


def _whole_path(path: str) -> Fields:
    return {"regex_rewrite": {"pattern": {"regex": "^/.*$"}, "substitution": _substitution(path)}}


def _substitution(text: str) -> str:
    return text.replace("\\", "\\\\")


def _quoted(text: str) -> str:
    """RE2 takes what Python escapes, but for "/" and other signs that need none."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


def redirect(action: Redirect, matched: PathMatch, domain: str) -> Fields:
    """envoy.config.route.v3.RedirectAction. `domain`: of the virtual host it is in."""
    fields: Fields = {"response_code": _REDIRECT_CODES[action.status]}
    if action.scheme is not None:
        fields["scheme_redirect"] = action.scheme
    fields.update(_authority(action, domain))
    if action.full_path is not None:
        fields["path_redirect"] = action.full_path
    elif action.prefix is not None:
        fields.update(replaced_prefix(matched.value, action.prefix))
    return fields


def _authority(action: Redirect, domain: str) -> Fields:
    """Host and port. Envoy keeps the request's port unless the host is set or a port is: to leave it out, one of both has to be."""
    fields: Fields = {}
    if action.host is not None:
        fields["host_redirect"] = action.host
    if action.port:
        fields["port_redirect"] = action.port
    elif action.port == 0 and action.host is None:
        if not domain.startswith("*"):
            fields["host_redirect"] = domain
        elif action.scheme in _DEFAULT_PORTS:
            # A wildcard's host is only known from the request: then the well-known port is written out.
            fields["port_redirect"] = _DEFAULT_PORTS[action.scheme]
    return fields
