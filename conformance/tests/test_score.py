"""The score on streams of events made by hand."""

from collections.abc import Mapping
from typing import Any

import pytest

from conformance.score import Catalogue, Profile, Score, SuiteTest, Tally, disagreements, score

CATALOGUE = Catalogue(
    (
        SuiteTest("Simple", ("Gateway", "HTTPRoute")),
        SuiteTest("Fancy", ("Gateway", "HTTPRoute", "Retry")),
        SuiteTest("Shared", ("Gateway",)),
        SuiteTest("Nowhere", ("Gateway", "Strange")),
        SuiteTest("InMesh", ("Mesh", "HTTPRoute")),
    ),
    (
        Profile("GATEWAY-HTTP", frozenset({"Gateway", "HTTPRoute"}), frozenset({"Retry"})),
        Profile("GATEWAY-GRPC", frozenset({"Gateway", "GRPCRoute"}), frozenset()),
        Profile("MESH-HTTP", frozenset({"Mesh", "HTTPRoute"}), frozenset()),
    ),
)
ALL = ("Simple", "Fancy", "Shared", "Nowhere")


def end(name: str, action: str = "pass", elapsed: float = 1.0) -> Mapping[str, Any]:
    return {"Action": action, "Test": f"TestGateway/{name}" if name else "TestGateway", "Elapsed": elapsed}


def of(*events: Mapping[str, Any]) -> Score:
    return score(events, CATALOGUE)


def test_all_passed():
    found = of(*map(end, ALL), end(""))
    assert found.line == "4 of 4 results, 4 of 4 tests passed"
    assert found.whole


def test_a_test_counts_for_each_profile_that_has_its_features():
    found = of(end("Simple", "fail"), end("Fancy"), end("Shared"), end("Nowhere"), end("", "fail"))
    assert found.profiles["GATEWAY-HTTP"] == {"core": Tally(1, 1, 0, 0), "extended": Tally(1, 0, 0, 0)}
    assert found.profiles["GATEWAY-GRPC"]["core"] == Tally(1, 0, 0, 0)
    assert "MESH-HTTP" not in found.profiles
    assert "InMesh" not in found.tests
    assert found.line == "3 of 4 results, 3 of 4 tests passed"
    assert not found.whole


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([end("Simple", "skip")], "skipped"),
        ([], "missing"),
        ([{"Action": "run", "Test": "TestGateway/Simple"}], "missing"),
        ([{"Action": "output", "Test": "TestGateway/Simple", "Output": "--- PASS: TestGateway/Simple"}], "missing"),
        ([end("Simple"), end("Simple", "fail")], "failed"),
        ([end("Simple", "fail"), end("Simple")], "failed"),
        ([end("Simple/a_part", "skip"), end("Simple")], "skipped"),
        ([end("Simple/a_part"), end("Simple")], "passed"),
        ([end("Simple/a_part")], "missing"),
        ([{"Action": "pass", "Test": "TestOther/Simple"}], "missing"),
        ([{"Action": "pass"}], "missing"),
    ],
)
def test_only_the_end_of_the_test_itself_counts(events: list[Mapping[str, Any]], outcome: str):
    assert of(*events).tests["Simple"] == outcome


@pytest.mark.parametrize("last", [(), (end("", "fail"),), (end("", "skip"),)])
def test_a_run_that_did_not_pass_as_a_whole_is_not_whole(last: tuple[Mapping[str, Any], ...]):
    found = of(*map(end, ALL), *last)
    assert found.passed == 4
    assert not found.whole


def test_nothing_is_not_whole():
    assert not score([end("")], Catalogue((), ())).whole


def test_the_report_is_held_against_the_events():
    found = of(end("Simple", "fail"), end("Fancy"), end("Shared"), end("Nowhere"), end("", "fail"))
    http = {"name": "GATEWAY-HTTP", "core": {"statistics": {"Passed": 1, "Failed": 1}}, "extended": {"statistics": {"Passed": 1}}}
    grpc = {"name": "GATEWAY-GRPC", "core": {"statistics": {"Passed": 1}}}
    assert disagreements(found, {"profiles": [http, grpc]}) == []
    lying = {**http, "core": {"statistics": {"Passed": 2, "Failed": 0}}}
    assert disagreements(found, {"profiles": [lying, grpc]}) == [
        "GATEWAY-HTTP core: the report says 2 passed and 0 failed, the events say 1 passed and 1 failed"
    ]
    assert disagreements(found, {"profiles": [http]}) == [
        "GATEWAY-GRPC core: the report says 0 passed and 0 failed, the events say 1 passed and 0 failed"
    ]
    assert disagreements(found, {"profiles": [http, grpc, {"name": "MESH-HTTP"}]}) == ["MESH-HTTP: in the report, but not scored"]
