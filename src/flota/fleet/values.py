"""Strings and numbers with a shape, as the API server checks them, and what they mean in plain numbers.

Patterns end in `\\Z`: Python's `$` would let a trailing newline through, RE2's (which the API server uses) does not.
"""

import re
from typing import Annotated, Literal

from msgspec import Meta

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_FIELD_NAME = r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+"

Group = Annotated[
    str,
    Meta(pattern=rf"^(|{_SUBDOMAIN})\Z", max_length=253, description="an API group such as gateway.networking.k8s.io, or nothing for core"),
]
"""API group; empty = core."""
KindName = Annotated[
    str,
    Meta(
        pattern=r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?\Z",
        min_length=1,
        max_length=63,
        description="a kind such as Service: letters, digits and dashes",
    ),
]
ObjectName = Annotated[str, Meta(min_length=1, max_length=253)]
NamespaceName = Annotated[
    str,
    Meta(
        pattern=rf"^{_LABEL}\Z",
        min_length=1,
        max_length=63,
        description="lower-case letters, digits and dashes, with a letter or digit at both ends",
    ),
]
SectionName = Annotated[
    str,
    Meta(
        pattern=rf"^{_SUBDOMAIN}\Z",
        min_length=1,
        max_length=253,
        description="lower-case letters, digits, dashes and dots, with a letter or digit at both ends",
    ),
]
Hostname = Annotated[
    str,
    Meta(
        pattern=rf"^(\*\.)?{_SUBDOMAIN}\Z",
        min_length=1,
        max_length=253,
        description="a host name in lower case, whose first label may be *, such as *.example.com",
    ),
]
"""RFC 1123 name, whose first label may be `*`."""
PreciseHostname = Annotated[
    str,
    Meta(
        pattern=rf"^{_SUBDOMAIN}\Z",
        min_length=1,
        max_length=253,
        description="a host name in lower case without wildcards, such as www.example.com",
    ),
]
PortNumber = Annotated[int, Meta(ge=1, le=65535)]
ControllerName = Annotated[
    str,
    Meta(
        pattern=rf"^{_SUBDOMAIN}/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+\Z",
        min_length=1,
        max_length=253,
        description="a domain and a path, such as flota.dev/gateway-controller",
    ),
]
HeaderName = Annotated[
    str,
    Meta(
        pattern=rf"^{_FIELD_NAME}\Z", min_length=1, max_length=256, description="a header name: letters, digits and any of !#$%&'*+-.^_`|~"
    ),
]
"""RFC 9110 token."""
HeaderText = Annotated[
    str,
    Meta(
        pattern=r"^[!-~]+([\t ][!-~]+)*\Z",
        min_length=1,
        max_length=4096,
        description="printable ASCII without blanks at its ends or two blanks in a row",
    ),
]
"""RFC 9110 field value: printable ASCII, single blanks inside. (The CRD's pattern backtracks without bound in Python.)"""
LabelText = Annotated[
    str,
    Meta(
        pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z",
        max_length=63,
        description="letters, digits, dashes, underscores and dots, with a letter or digit at both ends",
    ),
]
OptionText = Annotated[str, Meta(max_length=4096)]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Natural = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Protocol = Literal["TCP", "UDP", "SCTP"]
IPFamily = Literal["IPv4", "IPv6"]
IntOrString = int | str
Opaque = object
"""A field that Kubernetes has and Flota does not look into."""
Weight = Annotated[int, Meta(ge=0, le=1_000_000)]

Duration = Annotated[
    str,
    Meta(
        pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}\Z",
        description="a duration such as 500ms, 2s or 1m30s: up to four numbers of up to five digits, each with h, m, s or ms",
    ),
]
"""GEP-2257: one to four of hours, minutes, seconds, milliseconds, as in `1m30s`. See `milliseconds`."""
Percent = Annotated[str, Meta(pattern=r"^(100|[0-9]{1,2})%\Z", description="a whole percentage from 0% to 100%")]
"""0% to 100%, whole. See `share`."""

_UNIT_MS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_PART = re.compile(r"([0-9]+)(ms|h|m|s)")


def milliseconds(duration: str) -> int:
    """How long a GEP-2257 duration is, in milliseconds. `duration` must already match `Duration`."""
    return sum(int(number) * _UNIT_MS[unit] for number, unit in _PART.findall(duration))


def share(percent: str) -> float:
    """What part of the whole a `Percent` means, 0.0 to 1.0."""
    return int(percent.removesuffix("%")) / 100
