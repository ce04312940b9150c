"""Values with a meaning: durations, shares, selectors, kinds."""

import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flota.fleet.fleet import Cluster, Fleet
from flota.fleet.kinds import KINDS
from flota.fleet.meta import LabelSelector, LabelSelectorRequirement
from flota.fleet.policy import Spill, TrafficPolicySpec
from flota.fleet.values import Duration, HeaderText, milliseconds, share

_PART = st.tuples(st.integers(0, 99999), st.sampled_from(("h", "m", "s", "ms")))
_FACTOR = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


@given(st.lists(_PART, min_size=1, max_size=4))
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    written = "".join(f"{number}{unit}" for number, unit in parts)
    assert msgspec.convert(written, Duration) == written
    assert milliseconds(written) == sum(number * _FACTOR[unit] for number, unit in parts)


@pytest.mark.parametrize("wrong", ["", "5", "1.5s", "-1s", "1d", "123456s", "1s2s3s4s5s", "1s\n", " 1s"])
def test_what_is_no_duration(wrong: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Duration)


def test_a_hostile_header_value_is_refused_at_once() -> None:
    with pytest.raises(msgspec.ValidationError):  # the CRD's own pattern would take longer than the universe has
        msgspec.convert("a" * 4000 + "\x01", HeaderText)


def test_shares() -> None:
    assert share("70%") == 0.7
    spec = TrafficPolicySpec(target_refs=())
    assert (spec.spill_below, spec.fail_back_ms) == (0.7, 2000)
    for never in ("Never", Spill("Never")):
        assert msgspec.structs.replace(spec, spill=never).spill_below is None


@pytest.mark.parametrize(
    ("operator", "values", "labels", "result"),
    [
        ("In", ("a", "b"), {"k": "a"}, True),
        ("In", ("a",), {"k": "c"}, False),
        ("In", ("a",), {}, False),
        ("NotIn", ("a",), {"k": "b"}, True),
        ("NotIn", ("a",), {"k": "a"}, False),
        ("NotIn", ("a",), {}, True),
        ("Exists", (), {"k": ""}, True),
        ("Exists", (), {}, False),
        ("DoesNotExist", (), {}, True),
        ("DoesNotExist", (), {"k": ""}, False),
    ],
)
def test_selectors(operator: typing.Any, values: tuple[str, ...], labels: dict[str, str], result: bool) -> None:
    assert LabelSelector(match_expressions=(LabelSelectorRequirement("k", operator, values),)).matches(labels) is result
    assert LabelSelector().matches(labels)
    assert LabelSelector({"k": "a"}).matches(labels) is (labels.get("k") == "a")


def test_every_kind_has_its_place_in_a_cluster() -> None:
    fields = {field.name for field in msgspec.structs.fields(Cluster)} - {"name", "region", "zone"}
    assert {kind.collection for kind in KINDS if kind.collection} == fields
    for kind in KINDS:
        if kind.struct:
            defaults = {field.name: field.default for field in msgspec.structs.fields(kind.struct)}
            assert (defaults["api_version"], defaults["kind"]) == (kind.api_version, kind.kind)


def test_an_empty_fleet_is_a_fleet() -> None:
    assert Fleet("shop") == Fleet("shop", {}, {}, {}, ())
    with pytest.raises(AttributeError):
        Fleet("shop").name = "x"  # type: ignore[misc]
