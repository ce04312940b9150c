"""Origins of the CORS filter as Envoy matches them (HTTPCORSFilter.allowOrigins)."""

import re

from flota.envoy.values import Fields

_PORTS = {"http": "80", "https": "443"}
_ANY_HOST = r"(?:\[[^\]]*\]|[^:/]+)"


def origin_pattern(origin: str) -> Fields:
    """envoy.type.matcher.v3.StringMatcher."""
    return {"safe_regex": {"regex": origin_expression(origin)}}


def origin_expression(origin: str) -> str:
    """RE2. The port that the scheme implies may be written or not; a wildcard in front takes any number of labels, at least one."""
    if origin == "*":
        return ".+"
    scheme, _, rest = origin.partition("://")
    host, _, port = rest.partition(":")
    if host == "*":
        expression = _ANY_HOST
    elif host.startswith("*."):
        expression = r"[^:/]+\." + _quoted(host[2:])
    else:
        expression = _quoted(host)
    implied = _PORTS[scheme]
    ending = f"(?::{implied})?" if port in ("", implied) else f":{port}"
    return f"(?i:{scheme}://{expression}{ending})"


def _quoted(text: str) -> str:
    return re.sub(r"([^A-Za-z0-9-])", r"\\\1", text)
