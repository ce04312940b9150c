"""`flota schema KIND`: JSON Schema of manifests and of what commands print."""

from typing import Any

import msgspec

from flota.cli.failure import Failure
from flota.fleet.kinds import KINDS
from flota.report.named import kind_named
from flota.report.schemas import REPORTS, schema_of


def schema(kind: str) -> dict[str, object]:
    """The schema of a kind. Raises Failure when there is none."""
    report = next((type_ for name, type_ in REPORTS.items() if name.lower() == kind.lower()), None)
    if report is not None:
        return schema_of(report)
    known = kind_named(kind)
    if known is not None and known.struct is not None:
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_closed(msgspec.json.schema(known.struct))}
    names = [each.kind for each in KINDS if each.struct is not None]
    raise Failure(f"there is no schema of {kind}; manifests: {', '.join(names)}; reports: {', '.join(REPORTS)}", 2)


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """With no fields but those that it names, as admission has it."""
    for each in schema["$defs"].values():
        if "properties" in each:
            each["additionalProperties"] = False
    return schema
