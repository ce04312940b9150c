"""Real reports fit their JSON Schema."""

import json

import jsonschema
import msgspec
import pytest
from report_views import NOW, fleet, pod, view

from flota.cli.version import versions
from flota.fleet.drain import Drain
from flota.report.check import check
from flota.report.explain_object import explain_object
from flota.report.explain_request import AskedRequest, explain_request
from flota.report.named import Asked
from flota.report.schemas import REPORTS, schema_of
from flota.report.status import status
from flota.report.whatif import drain_report, undrain_report, what_if

VIEW = view(fleet(drains=(Drain("eu", NOW.replace(hour=13)),)), pods=(pod("shop-1"),))
MADE = (
    status(VIEW),
    status(msgspec.structs.replace(VIEW, running=None, proxies={})),
    explain_request(VIEW, AskedRequest("http://127.0.0.10:8080/", "us")),
    explain_object(VIEW, Asked("gateway", "gw")),
    what_if(VIEW, ["us"], []),
    drain_report(VIEW, "us", NOW, dry_run=True, force=False),
    undrain_report(VIEW, "eu"),
    check(VIEW),
    what_if(VIEW, [], []),
    versions(),
)


@pytest.mark.parametrize("made", MADE, ids=lambda made: type(made).__name__)
def test_reports_fit(made: msgspec.Struct) -> None:
    document = json.loads(msgspec.json.encode(made))
    assert REPORTS[document["kind"]] is type(made)
    assert document["apiVersion"] == "flota.dev/v1alpha1"
    jsonschema.validate(document, schema_of(type(made)))


def test_every_report_is_tried() -> None:
    assert {type(each) for each in MADE} == set(REPORTS.values())


def test_a_missing_field_does_not_fit() -> None:
    document = json.loads(msgspec.json.encode(status(VIEW)))
    del document["clusters"][0]["reason"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema_of(type(status(VIEW))))


def test_times_are_rfc_3339() -> None:
    document = json.loads(msgspec.json.encode(status(VIEW)))
    assert document["drains"][0]["until"] == "2026-03-01T13:00:00Z"
