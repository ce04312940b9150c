"""The encoder as a whole: what it remembers is invisible, and a change costs what it changes."""

from typing import Any

import msgspec
import pytest
from encode_plans import backend, endpoints, entry, forward, host, plans, proxy_plan, table
from hypothesis import given, settings
from hypothesis import strategies as st

from flota.envoy.encode import Encoder
from flota.envoy.options import Options
from flota.envoy.protos import load
from flota.envoy.scope_key import KEYS
from flota.envoy.wire import CDS, EDS, LDS, RDS, SDS, SRDS, Snapshot
from flota.plan import FilterChain, Listener, ProxyPlan, Respond, RouteTable, Secret, VirtualHost, WeightedBackend

PROTOS = load()


def encoder(**options: Any) -> Encoder:
    return Encoder(PROTOS, Options(**options))


def versions(snapshot: Snapshot) -> dict[str, dict[str, tuple[str, frozenset[tuple[str, str]]]]]:
    return {type_url: {name: (one.version, one.needs) for name, one in of_type.items()} for type_url, of_type in snapshot.items()}


@settings(max_examples=40, deadline=None)
@given(st.lists(plans, min_size=2, max_size=4))
def test_what_was_encoded_before_is_invisible(wanted: list[ProxyPlan]) -> None:
    old = encoder()
    for plan in wanted:
        got = old.snapshot(plan)
    assert versions(got) == versions(encoder().snapshot(wanted[-1]))


@settings(max_examples=20, deadline=None)
@given(plans)
def test_everything_needed_is_there(plan: ProxyPlan) -> None:
    got = encoder().snapshot(plan)
    for of_type in got.values():
        for one in of_type.values():
            missing = {(type_url, name) for type_url, name in one.needs if name not in got[type_url]}
            assert not missing


def changed(before: Snapshot, after: Snapshot) -> dict[str, int]:
    """How many resources of each type are other ones."""
    found = {type_url: sum(before[type_url].get(name) is not one for name, one in of_type.items()) for type_url, of_type in after.items()}
    return {type_url: number for type_url, number in found.items() if number}


BIG = table(*(host(f"h{number}.test", entry(forward("a"))) for number in range(1000)), host("*.w.test"))


def test_one_host_costs_one_shard() -> None:
    one = encoder()
    plan = proxy_plan(BIG, services=("a", "b"))
    before = one.snapshot(plan)
    hosts = {**BIG.hosts, "h7.test": host("h7.test", entry(forward("b")))}
    after = one.snapshot(msgspec.structs.replace(plan, tables={BIG.name: RouteTable(BIG.name, hosts)}))
    assert changed(before, after) == {RDS: 1}
    assert all(after[each] is before[each] for each in (CDS, EDS, LDS, SDS, SRDS))


def test_a_wildcard_costs_every_shard() -> None:
    one = encoder()
    plan = proxy_plan(BIG, services=("a",))
    before = one.snapshot(plan)
    hosts = {**BIG.hosts, "*.w.test": host("*.w.test", entry(Respond(410)))}
    assert changed(before, one.snapshot(msgspec.structs.replace(plan, tables={BIG.name: RouteTable(BIG.name, hosts)}))) == {RDS: 64}


def test_endpoints_cost_their_own_resource() -> None:
    one = encoder()
    plan = proxy_plan(table(host("a.test", entry(forward("a")))), services=("a", "b"))
    before = one.snapshot(plan)
    after = one.snapshot(msgspec.structs.replace(plan, endpoints={**plan.endpoints, "a": endpoints("a", 9)}))
    assert changed(before, after) == {EDS: 1}


def test_a_reorder_and_new_objects_of_equal_content_cost_nothing() -> None:
    """An index in a source, or an object made anew, does not reach the proxy."""
    one = encoder()
    plan = proxy_plan(table(host("a.test", entry(forward("a"), rule=0)), host("b.test")), services=("a", "b"))
    again = proxy_plan(table(host("b.test"), host("a.test", entry(forward("a"), rule=7))), services=("b", "a"))
    before, after = one.snapshot(plan), one.snapshot(again)
    assert changed(before, after) == {}
    assert all(after[each] is before[each] for each in (CDS, EDS, LDS, SRDS))


def test_a_new_certificate_changes_no_listener() -> None:
    one = encoder()
    of = table(host("a.test"))
    before = one.snapshot(proxy_plan(of, secrets=(Secret("cert", b"one", b"key"),)))
    after = one.snapshot(proxy_plan(of, secrets=(Secret("cert", b"two", b"key"),)))
    assert changed(before, after) == {SDS: 1}


def test_what_is_gone_is_gone() -> None:
    one = encoder()
    one.snapshot(proxy_plan(BIG, services=("a",)))
    empty = one.snapshot(proxy_plan())
    assert {type_url: dict(of_type) for type_url, of_type in empty.items()} == {each: {} for each in (CDS, EDS, SDS, RDS, SRDS, LDS)}


def test_resources_are_known_by_their_part_of_the_plan() -> None:
    one = encoder()
    names = ("default/gw/http", "10.0.0.1:80/c1/2", "m1")
    plan = proxy_plan(*(table(*BIG.hosts.values(), name=name) for name in names), table(name="plain", sharded=False), services=("a",))
    got = one.snapshot(plan)
    for type_url in (RDS, SRDS):
        owners = {name: one.plan_name((type_url, name)) for name in got[type_url]}
        assert all(name.startswith(f"{owner}/") or name == owner for name, owner in owners.items())
        assert set(owners.values()) - {"plain"} == set(names)
    assert one.plan_name((LDS, "tcp/127.0.0.1/80")) == "tcp/127.0.0.1/80"


@pytest.mark.parametrize("way", ["module", "cel"])
def test_each_table_has_all_its_keys(way: Any) -> None:
    got = encoder(way=way, module="/m").snapshot(proxy_plan(table(*(host(f"h{n}.test") for n in range(100)))))
    scope = PROTOS.message("envoy.config.route.v3.ScopedRouteConfiguration")
    used = PROTOS.message("google.protobuf.Any")
    scopes = [scope.FromString(used.FromString(one.body).value) for one in got[SRDS].values()]
    keys = [each.key.fragments[0].string_key for each in scopes]
    assert len(set(keys)) == len(keys) == KEYS[way] + 8
    assert {each.route_configuration_name for each in scopes} == set(got[RDS])
    assert {key.rpartition("/")[2] for key in keys if "hold" not in key} == {str(n) for n in range(KEYS[way])}


def test_udp_backends_by_weight_become_one_cluster() -> None:
    one, two = backend("a", "UDP", health=None), backend("b", "UDP", health=None)
    chain = FilterChain("udp", backends=(WeightedBackend(one.name, 1), WeightedBackend(two.name, 3)))
    at = Listener("udp/127.0.0.1/53", "127.0.0.1", 53, "UDP", (chain,))
    plan = ProxyPlan("us", "r", "", {at.name: at}, {}, {one.name: one, two.name: two},
                     {"a": endpoints("a", 1, 2), "b": endpoints("b", 3)}, {})
    got = encoder().snapshot(plan)
    mixed = next(name for name in got[CDS] if name.startswith("udp/"))
    assert got[LDS][at.name].needs == {(CDS, mixed)}
    assignment = PROTOS.to_dict(got[EDS][mixed].body)["endpoints"]
    assert [(each.get("priority", 0), each["load_balancing_weight"]) for each in assignment] == [(0, 10_000), (0, 30_000), (1, 10_000)]


def test_hosts_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from flota.envoy.routes import RouteBuilder
    encoded: list[str] = []
    original = RouteBuilder.host

    def counting(self: RouteBuilder, one: VirtualHost) -> Any:
        encoded.append(one.domain)
        return original(self, one)

    monkeypatch.setattr(RouteBuilder, "host", counting)
    one = encoder()
    plan = proxy_plan(BIG, services=("a",))
    one.snapshot(plan)
    assert len(encoded) == 1001
    hosts = {**BIG.hosts, "h7.test": host("h7.test")}
    one.snapshot(msgspec.structs.replace(plan, tables={BIG.name: RouteTable(BIG.name, hosts)}))
    assert encoded[1001:] == ["h7.test"]
