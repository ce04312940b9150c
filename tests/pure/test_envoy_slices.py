"""Slices: each owner has exactly what its listeners reach, whatever changed before."""

from hypothesis import given, settings
from hypothesis import strategies as st

from flota.envoy.slices import Slices
from flota.envoy.wire import CDS, EDS, LDS, RDS, SDS, SRDS, Ref, Resource, Snapshot, resource

TYPES = (LDS, SRDS, RDS, CDS, EDS, SDS)
NAMES = "abc"


def reached(whole: Snapshot, roots: dict[str, str], owner: str) -> dict[str, dict[str, Resource]]:
    """By walking: the plain meaning of a slice."""
    waiting: list[Ref] = [(LDS, name) for name, each in roots.items() if each == owner]
    found: dict[str, dict[str, Resource]] = {}
    while waiting:
        type_url, name = waiting.pop()
        one = whole.get(type_url, {}).get(name)
        if one is not None and name not in found.get(type_url, {}):
            found.setdefault(type_url, {})[name] = one
            waiting += one.needs
    return found


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    whole: dict[str, dict[str, Resource]] = {}
    for at, type_url in enumerate(TYPES):
        lower = [(other, name) for other in TYPES[at + 1 :] for name in NAMES if {type_url, other} != {EDS, SDS}]
        for name in draw(st.sets(st.sampled_from(NAMES))):
            needs = draw(st.sets(st.sampled_from(lower), max_size=4)) if lower and type_url not in (EDS, SDS) else set()
            whole.setdefault(type_url, {})[name] = resource(type_url, name, draw(st.binary(max_size=1)), needs)
    return whole


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(snapshots(), st.dictionaries(st.sampled_from(NAMES), st.sampled_from("xy"))), min_size=1, max_size=5))
def test_a_slice_is_what_its_listeners_reach(steps: list[tuple[Snapshot, dict[str, str]]]) -> None:
    slices = Slices()
    for whole, roots in steps:
        before = {owner: slices.get(owner) for owner in "xy"}
        changed = slices.update(whole, roots)
        for owner in "xy":
            now = slices.get(owner)
            assert {type_url: dict(those) for type_url, those in now.items() if those} == reached(whole, roots, owner)
            if owner not in changed:
                assert now == before[owner]


def test_what_did_not_change_is_the_same_object() -> None:
    shared = resource(CDS, "shared", b"1")
    listeners = {name: resource(LDS, name, name.encode(), {(CDS, "shared")}) for name in ("one", "two")}
    slices = Slices()
    slices.update({LDS: listeners, CDS: {"shared": shared}}, {"one": "x", "two": "y"})
    before = slices.get("x")
    assert slices.get("x")[CDS]["shared"] is slices.get("y")[CDS]["shared"] is shared
    other = {**listeners, "two": resource(LDS, "two", b"other", {(CDS, "shared")})}
    assert slices.update({LDS: other, CDS: {"shared": shared}}, {"one": "x", "two": "y"}) == {"y"}
    assert slices.get("x") is before
    assert slices.update({LDS: other, CDS: {"shared": shared}}, {"one": "x"}) == {"y"}
    assert slices.get("y") == {}
