"""`python -m flota.report.schemas`: write the schemas beside this file anew, orphans removed."""

from pathlib import Path

import msgspec

from flota.report.schemas import REPORTS, schema_of

if __name__ == "__main__":
    folder = Path(__file__).parent
    for old in folder.glob("*.json"):
        old.unlink()
    for name, report in REPORTS.items():
        (folder / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(schema_of(report)), indent=2) + b"\n")
