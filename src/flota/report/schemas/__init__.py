"""JSON Schemas of the reports: generated from the types, kept beside this file, compared by a test."""

from collections.abc import Mapping

import msgspec

from flota.report.check import CheckReport
from flota.report.explain_object import ObjectExplanation
from flota.report.explain_request import RequestExplanation
from flota.report.failed import Failed
from flota.report.status import FleetStatus
from flota.report.version import Version
from flota.report.whatif import DrainReport, UndrainReport, WhatIfReport

REPORTS: Mapping[str, type[msgspec.Struct]] = {
    "FleetStatus": FleetStatus,
    "RequestExplanation": RequestExplanation,
    "ObjectExplanation": ObjectExplanation,
    "WhatIf": WhatIfReport,
    "Drain": DrainReport,
    "Undrain": UndrainReport,
    "CheckReport": CheckReport,
    "Version": Version,
    "Failed": Failed,
}
"""By the `kind` of the report."""


def schema_of(report: type[msgspec.Struct]) -> dict[str, object]:
    """JSON Schema (draft 2020-12) of what is printed: every field is always there."""
    found: dict[str, object] = msgspec.json.schema(report)
    definitions: dict[str, dict[str, object]] = found["$defs"]  # type: ignore[assignment]  # msgspec always makes it
    for each in definitions.values():
        if each.get("type") == "object" and "properties" in each:
            each["required"] = list(each["properties"])  # type: ignore[call-overload]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
