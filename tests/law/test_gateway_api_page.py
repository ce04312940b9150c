"""docs/gateway-api.md tells every kind that Flota knows, as it is supported, and every filter as the planner treats it."""

import re
from pathlib import Path
from typing import get_args, get_type_hints

from msgspec import convert

from flota.fleet.filters import HTTPRouteFilter
from flota.fleet.kinds import KINDS
from flota.routing.filters import effects

PAGE = (Path(__file__).parents[2] / "docs" / "gateway-api.md").read_text()
STATES = {"Used": "in effect", "NotYet": "later", "Ignored": "ignored"}
PARTS = {
    "RequestHeaderModifier": ("requestHeaderModifier", {}),
    "ResponseHeaderModifier": ("responseHeaderModifier", {}),
    "RequestMirror": ("requestMirror", {"backendRef": {"name": "a", "port": 1}}),
    "RequestRedirect": ("requestRedirect", {"port": 1}),
    "URLRewrite": ("urlRewrite", {"hostname": "a.example"}),
    "CORS": ("cors", {"allowOrigins": ["*"]}),
    "ExternalAuth": ("externalAuth", {"protocol": "HTTP", "backendRef": {"name": "a", "port": 1}, "http": {}}),
}


def rows(heading: str) -> list[list[str]]:
    """Cells of the table below a heading, without its first two rows."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_kind_is_told_as_it_is_supported():
    told = {kind: (group, re.split("[;:,]", state)[0]) for kind, group, state in rows("Kinds")}
    assert told == {each.kind: (each.group or "core", STATES[each.support]) for each in KINDS}


def test_every_filter_is_told_as_it_is_planned():
    told = {name: (rule.split(";")[0].split(",")[0], one.split(";")[0]) for name, rule, one in rows("Filters of HTTPRoute and GRPCRoute")}
    expected = {}
    for name in get_args(get_type_hints(HTTPRouteFilter)["type"]):
        field = dict([PARTS[name]]) if name in PARTS else {}
        given = (convert({"type": name, **field}, HTTPRouteFilter),)
        expected[name] = ("told" if effects(given).unsupported else "in effect",) * 2
    assert told == expected
