"""JSON Schemas in the repository are those of the report types. Rewrite them with `python -m flota.report.schemas`."""

import json
from importlib import resources

import msgspec
import pytest

from flota.report.schemas import REPORTS, schema_of


@pytest.mark.parametrize("name", REPORTS)
def test_committed_is_generated(name: str) -> None:
    kept = json.loads((resources.files("flota.report.schemas") / f"{name}.json").read_text())
    assert kept == json.loads(msgspec.json.encode(schema_of(REPORTS[name])))


def test_no_orphans() -> None:
    kept = {each.name.removesuffix(".json") for each in resources.files("flota.report.schemas").iterdir() if each.name.endswith(".json")}
    assert kept == set(REPORTS)
