"""One entry of the plan as Envoy routes: the split by replay, retry policies, shares, scope keys."""

from typing import Any

import pytest
from encode_plans import backend, entry, forward, host
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from flota.envoy import scope_key
from flota.envoy.matches import one_after_other, share
from flota.envoy.protos import load
from flota.envoy.retries import IDEMPOTENT_REGEX, variants
from flota.envoy.routes import RouteBuilder, route_name
from flota.envoy.tables import scope_prefix, shard_count
from flota.plan import HeaderChanges, Match, PathMatch, Retry
from flota.settings import Settings

PROTOS = load()


def routes(one: Any, **settings: Any) -> list[dict[str, Any]]:
    made = RouteBuilder(PROTOS, Settings(**settings)).routes(one, "a.test")
    return [json_format.MessageToDict(each, preserving_proto_field_name=True, descriptor_pool=PROTOS._pool) for each in made]


def summary(match: Match, replay: Any, sick: bool = False, retries: bool = True) -> list[str]:
    found = variants(match, replay, sick, retries)
    return [f"{one.policy} {'some' if one.methods else 'all'} {one.percent or ''}".strip() for one in found]


@pytest.mark.parametrize(("method", "replay", "sick", "expected"), [
    (None, "Idempotent", False, ["FULL some", "SAFE all"]),
    (None, "Idempotent", True, ["FULL some 10", "SAFE some", "SAFE all"]),
    (None, "All", False, ["FULL all"]),
    (None, "All", True, ["FULL all 10", "SAFE all"]),
    (None, "None", False, ["SAFE all"]),
    (None, "None", True, ["SAFE all"]),
    ("GET", "Idempotent", False, ["FULL all"]),
    ("PUT", "Idempotent", False, ["FULL all"]),
    ("POST", "Idempotent", False, ["SAFE all"]),
    ("POST", "Idempotent", True, ["SAFE all"]),
    ("POST", "All", False, ["FULL all"]),
    ("GET", "None", False, ["SAFE all"]),
])
def test_split_by_replay(method: str | None, replay: Any, sick: bool, expected: list[str]) -> None:
    assert summary(Match(method=method), replay, sick) == expected
    assert summary(Match(method=method), replay, sick, retries=False) == ["OFF all"]


def test_what_each_policy_sends_again() -> None:
    full, safe = routes(entry(forward("a", hedge_ms=400, timeout_ms=9000)))
    assert full["match"]["headers"][0]["string_match"]["safe_regex"]["regex"] == IDEMPOTENT_REGEX
    policy = full["route"]["retry_policy"]
    assert policy["retry_on"] == "connect-failure,refused-stream,reset-before-request,reset,retriable-status-codes"
    assert policy["retriable_status_codes"] == [502, 503]
    assert (policy["num_retries"], policy["per_try_timeout"], full["route"]["timeout"]) == (1, "0.400s", "9s")
    assert full["route"]["hedge_policy"] == {"hedge_on_per_try_timeout": True}
    assert policy["retry_priority"]["name"] == "envoy.retry_priorities.previous_priorities"
    assert not safe["route"].keys() & {"retry_policy", "hedge_policy"}, "the virtual host's holds"
    assert "headers" not in safe["match"]


def test_limits_the_user_asked_for_kill_and_are_not_hedged() -> None:
    full, safe = routes(entry(forward("a", hedge_ms=400, try_timeout_ms=700)))
    for one in (full, safe):
        assert one["route"]["retry_policy"]["per_try_timeout"] == "0.700s"
        assert "hedge_policy" not in one["route"]


@pytest.mark.parametrize(("retry", "tries", "codes", "backoff"), [
    (Retry(), 1, [502, 503], "0.005s"),
    (Retry(codes=(500, 504), attempts=3, backoff_ms=100), 3, [500, 504], "0.200s"),
])
def test_retries_the_user_asked_for(retry: Retry, tries: int, codes: list[int], backoff: str) -> None:
    full, safe = (one["route"]["retry_policy"] for one in routes(entry(forward("a", retry=retry))))
    assert (full["num_retries"], full["retriable_status_codes"], full["retry_back_off"]["base_interval"]) == (tries, codes, backoff)
    assert safe.get("retriable_status_codes", []) == sorted(retry.codes)
    assert ("retriable-status-codes" in safe["retry_on"]) == bool(retry.codes)


def test_no_attempts_means_none() -> None:
    for one in routes(entry(forward("a", retry=Retry(attempts=0)))):
        assert one["route"]["retry_policy"] == {"num_retries": 0}, "or the virtual host's would hold"
    assert all("retry_policy" not in one["route"] for one in routes(entry(forward("a")), retries=False))


@pytest.mark.parametrize(("of", "grpc", "expected"), [
    (None, False, "15s"), (None, True, "0s"), (0, False, "0s"), (700, False, "0.700s"), (700, True, "0.700s"),
])
def test_timeouts(of: int | None, grpc: bool, expected: str) -> None:
    assert {one["route"]["timeout"] for one in routes(entry(forward("a", timeout_ms=of), Match(grpc=grpc)))} == {expected}


def test_names_say_the_object_and_no_index() -> None:
    one, other = entry(forward("a"), rule=0), entry(forward("b"), rule=5)
    assert route_name(one) == route_name(other)
    assert route_name(one).startswith("HTTPRoute/default/route/")
    assert route_name(entry(forward("a"), Match(PathMatch("Exact", "/x")))) != route_name(one)


def test_a_host_needs_the_backends_it_uses_and_no_others() -> None:
    made = RouteBuilder(PROTOS, Settings()).host(host("a.test", entry(forward("a")), entry(forward("b", "c"))))
    assert {name for _, name in made.needs} == {backend(one).name for one in "abc"}


@pytest.mark.parametrize(("first", "second", "expected"), [
    (HeaderChanges(set=(("X", "1"),)), HeaderChanges(set=(("x", "2"),)), HeaderChanges(set=(("x", "2"),))),
    (HeaderChanges(add=(("x", "1"),)), HeaderChanges(remove=("X",)), HeaderChanges(remove=("X",))),
    (HeaderChanges(add=(("x", "1"),)), HeaderChanges(add=(("x", "2"),)), HeaderChanges(add=(("x", "1"), ("x", "2")))),
    (HeaderChanges(remove=("x",)), HeaderChanges(add=(("x", "2"),)), HeaderChanges(add=(("x", "2"),), remove=("x",))),
    (None, HeaderChanges(remove=("x",)), HeaderChanges(remove=("x",))),
])
def test_changes_one_after_the_other(first: Any, second: Any, expected: HeaderChanges) -> None:
    assert one_after_other(first, second) == expected


def test_shares_of_mirrors() -> None:
    assert share(1, 3)["default_value"] == {"numerator": 333_333, "denominator": "MILLION"}
    assert share(5, 2)["default_value"]["numerator"] == 1_000_000


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=60))
def test_every_host_has_a_key(name: str) -> None:
    for way in ("module", "cel"):
        assert 0 <= scope_key.key_of(name, way) < scope_key.KEYS[way]  # type: ignore[index]


def test_keys_spread() -> None:
    for way, most in (("module", 40), ("cel", 170)):
        counts = [0] * scope_key.KEYS[way]  # type: ignore[index]
        for number in range(5000):
            counts[scope_key.key_of(f"svc-{number}.shop.example.com", way)] += 1  # type: ignore[arg-type]
        assert max(counts) <= most


def test_prefixes_tell_tables_and_ways_apart() -> None:
    assert len({scope_prefix(name, way) for name in ("a", "b") for way in ("module", "cel")}) == 4  # type: ignore[arg-type]


@pytest.mark.parametrize(("hosts", "wildcards", "expected"), [
    (0, 0, 1), (40, 40, 1), (41, 0, 8), (41, 6, 1), (400, 0, 8), (401, 0, 64), (1500, 0, 64), (1501, 0, 256), (5000, 19, 256),
    (5000, 20, 64), (5000, 500, 8), (5000, 5000, 1),
])
def test_tables_behind_the_keys(hosts: int, wildcards: int, expected: int) -> None:
    assert shard_count(hosts, wildcards, 256) == expected
    assert shard_count(hosts, wildcards, 64) == min(expected, 64)
