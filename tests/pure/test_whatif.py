"""What would happen if a place were lost or drained."""

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from backend_fleets import IMPORT, ROUTE, SERVICE, cluster, endpoint, fleet, policy, with_policy
from hypothesis import given, settings
from hypothesis import strategies as st

from flota.fleet.drain import Drain
from flota.fleet.policy import Places, Spill, TierMember
from flota.plan import Endpoint, Endpoints, Locality, Plan, ProxyPlan, Tier
from flota.routing.backends import Resolved, resolve
from flota.routing.drains import begun, check_drain, ended, lasting
from flota.routing.shares import Level, by_cluster, priority_loads
from flota.routing.view import Views
from flota.routing.whatif import whatif

UNTIL = datetime(2031, 1, 1, tzinfo=UTC)


def planned(of, *refs):
    """A plan whose proxies serve these backends, as the routes' planner would put it together."""
    proxies = {}
    for name, view in Views().refresh(of).items():
        found = [each for each in (resolve(view, ref, ROUTE, "HTTP") for ref in refs or (IMPORT,)) if isinstance(each, Resolved)]
        backends = {each.backend.name: each.backend for each in found}
        endpoints = {each.endpoints.name: each.endpoints for each in found}
        proxies[name] = ProxyPlan(name, view.cluster.region, view.cluster.zone or "", {}, {}, backends, endpoints, {})
    return Plan(proxies, {}, ())


def outlook(of, source="us", refs=(), **what):
    found = whatif(of, planned(of, *refs), **what)
    assert not found.problems
    return next(each for each in found.services if each.source == source)


WORLD = fleet(
    cluster("us", "us-east", 6, zone="a"),
    cluster("us-2", "us-east", 2, zone="b"),
    cluster("eu", "eu-west", 4),
    distances={("us-east", "eu-west"): 80},
)


def test_lose_a_cluster():
    found = outlook(WORLD, lose=["us"])
    assert (found.before, found.after, found.left) == ({"us": 1.0}, {"us-2": 1.0}, True)
    assert found.why == "the gateway of us is lost with it; where only endpoints are lost: us-2 (same region) takes over from us"
    other = outlook(WORLD, "eu", lose=["us"])
    assert (other.before, other.after) == ({"eu": 1.0}, {"eu": 1.0})
    assert other.why == "nothing changes: none of its traffic goes there"


def test_lose_a_region():
    assert outlook(WORLD, lose=["us-east"]).after == {"eu": 1.0}
    assert outlook(WORLD, "eu", lose=["eu-west"]).after == {"us": 0.75, "us-2": 0.25}


def test_lose_a_zone_spills_what_the_rest_cannot_carry():
    one = cluster("us", "us", [endpoint(f"10.0.0.{n}", zone) for n, zone in enumerate("abbb")])
    world = fleet(one, cluster("eu", "eu"))
    found = outlook(world, lose=["b"])
    assert found.before == {"us": 1.0}
    assert found.after == {"us": 0.35, "eu": 0.65}, "1 of 4 x 143 %"
    assert outlook(world, lose=["a"]).after == {"us": 1.0}, "3 of 4 carry it all"


def test_losing_everything_leaves_nothing():
    found = outlook(WORLD, lose=["us-east", "eu-west"])
    assert (found.after, found.left) == ({}, False)
    assert found.why == "nothing is left: its endpoints are only in eu, us, us-2"
    service = outlook(WORLD, refs=(SERVICE,), lose=["us"])
    assert (service.kind, service.before, service.left) == ("Service", {"us": 1.0}, False)


def test_limits_of_a_policy_hold():
    pinned = with_policy(WORLD, policy(allow=Places(regions=("us-east",))))
    assert not outlook(pinned, lose=["us-east"]).left
    assert outlook(pinned, lose=["us"]).after == {"us-2": 1.0}
    assert not outlook(with_policy(WORLD, policy(spill=Spill("Never"))), lose=["us"]).left


def test_weights():
    tiers = ((TierMember("us", weight=80), TierMember("eu", weight=20)),)
    weighted = with_policy(WORLD, policy(prefer="Weights", tiers=tiers))
    found = outlook(weighted, lose=["us"])
    assert found.before == {"us": 0.8, "eu": 0.2}
    assert found.after == {"eu": 0.57, "us-2": 0.43}, "4 of 10 x 143 % of the first tier, the rest to the reserve"


def test_drains_touch_imports_only():
    both = whatif(WORLD, planned(WORLD, IMPORT, SERVICE), drain=["us"])
    after = {each.kind: each.after for each in both.services if each.source == "us"}
    assert after == {"Service": {"us": 1.0}, "ServiceImport": {"us-2": 1.0}}


def test_a_drain_beside_a_loss():
    found = outlook(WORLD, "eu", drain=["us-2"], lose=["eu"])
    assert found.after == {"us": 1.0}


def test_a_predicted_drain_is_what_the_drain_does():
    for target in ("us", "us-east", "a", "eu"):
        predicted = {each.source: each.after for each in whatif(WORLD, planned(WORLD), drain=[target]).services}
        drained = fleet(*WORLD.clusters.values(), distances=WORLD.distances, drains=(Drain(target, UNTIL),))
        happened = {each.source: each.before for each in whatif(drained, planned(drained)).services}
        assert predicted == happened


def test_unknown_names_are_told_with_the_known_ones():
    found = whatif(WORLD, planned(WORLD), lose=["us", "mars"])
    assert found.services == ()
    assert found.problems == (
        "mars is neither a cluster nor a region nor a zone of the fleet (clusters: eu, us, us-2; regions: eu-west, us-east; zones: a, b)",
    )


def test_a_drain_that_leaves_nothing_is_refused():
    alone = fleet(cluster("us", "us-east"), cluster("eu", "eu-west", exported=False))
    found = check_drain(alone, planned(alone, IMPORT, SERVICE), "us")
    assert found.refusals == ("ServiceImport default/shop would be left with nothing but endpoints that drain, as seen from eu, us",)
    assert found.known
    assert check_drain(alone, planned(alone, SERVICE), "us").refusals == ()
    assert check_drain(WORLD, planned(WORLD), "us-east").refusals == ()
    pinned = with_policy(WORLD, policy(allow=Places(regions=("us-east",))))
    assert check_drain(pinned, planned(pinned), "us-east").refusals
    empty = fleet(cluster("us", "us-east", 0), cluster("eu", "eu-west", 0))
    assert check_drain(empty, planned(empty), "us").refusals == (), "nothing served before either"
    assert not check_drain(WORLD, planned(WORLD), "mars").known


def test_what_drains_serves_where_nothing_else_is_left():
    found = outlook(WORLD, drain=["us-east", "eu"])
    assert found.left
    assert found.after == {"eu": 0.3333, "us": 0.5, "us-2": 0.1667}, "the proxy uses every endpoint then"
    assert found.why == "nothing else is left, so endpoints that drain serve on in eu, us, us-2"
    found = outlook(WORLD, drain=["us-east"], lose=["eu"])
    assert found.after == {"us": 0.75, "us-2": 0.25}
    assert not outlook(WORLD, drain=["us-east"], lose=["eu", "us-east"]).left


def test_drains_begin_end_and_expire():
    one = begun((), "us", UNTIL)
    assert begun(one, "us", UNTIL) == one
    assert ended(begun(one, "eu", UNTIL), "eu") == one
    assert ended(one, "eu") is one
    assert lasting(one, UNTIL) == ()
    assert lasting(one, datetime(2030, 1, 1, tzinfo=UTC)) is one


@pytest.mark.parametrize(
    ("levels", "factor", "percent", "panic"),
    [
        ([(3, 4), (4, 4)], 140, (100, 0), (False, False)),
        ([(2, 4), (4, 4)], 140, (70, 30), (False, False)),
        ([(1, 4), (1, 4)], 140, (50, 50), (False, False)),
        ([(0, 4), (4, 4)], 140, (0, 100), (False, False)),
        ([(0, 4), (1, 4)], 140, (0, 100), (True, False)),
        ([(0, 4), (0, 12)], 140, (25, 75), (True, True)),
        ([(1, 3), (1, 3), (1, 3)], 100, (34, 33, 33), (False, False, False)),
        ([(0, 0), (1, 1)], 140, (0, 100), (False, False)),
        ([], 140, (), ()),
    ],
)
def test_loads_as_envoy_documents_them(levels, factor, percent, panic):
    found = priority_loads([Level(*each) for each in levels], factor)
    assert (found.percent, found.panic) == (percent, panic)


PLACE = st.tuples(st.sampled_from("abcd"), st.integers(0, 6), st.integers(0, 6), st.integers(1, 9))
"""(cluster, endpoints that serve, endpoints that do not, weight)"""


@settings(max_examples=300, deadline=None)
@given(
    tiers=st.lists(st.lists(PLACE, min_size=1, max_size=3), min_size=1, max_size=4),
    factor=st.sampled_from([100, 140, 143, 1_000_000]),
    weighted=st.booleans(),
)
def test_shares_are_those_of_a_proxy_that_picks_request_by_request(tiers, factor, weighted):
    endpoints = Endpoints("e", tuple(Tier(tuple(_place(*each) for each in tier)) for tier in tiers), factor)
    found = by_cluster(endpoints, weighted=weighted)
    expected = _brute_force(tiers, factor, weighted=weighted)
    assert found.keys() == expected.keys()
    assert all(abs(found[each] - float(expected[each])) < 1e-9 for each in found)
    assert not found or abs(sum(found.values()) - 1) < 1e-9


def _place(name, good, bad, weight):
    states = ["Healthy"] * good + ["Dead"] * bad
    return Locality(name, name, "", tuple(Endpoint("10.0.0.1", 1 + n, state) for n, state in enumerate(states)), weight)


def _brute_force(tiers, factor, *, weighted):
    """For each of Envoy's 100 hash values: choose a priority, a locality, an endpoint; retry elsewhere what meets a bad one."""
    tiers = [[place for place in tier if place[1] + place[2]] for tier in tiers]
    tiers = [tier for tier in tiers if tier]
    good = [sum(place[1] for place in tier) for tier in tiers]
    size = [sum(place[1] + place[2] for place in tier) for tier in tiers]
    health = [min(100, factor * g // s) for g, s in zip(good, size, strict=True)]
    panic = [min(100, sum(health)) != 100 and 100 * g < 10 * s for g, s in zip(good, size, strict=True)]
    chances = health
    if all(panic):
        chances, total = size, sum(size)
    else:
        total = min(100, sum(health))
    buckets = [100 * each // total if total else 0 for each in chances]
    starts, at = [], 0
    for bucket in buckets:
        at = min(100, at + bucket)
        starts.append(at)
    first = next((n for n, each in enumerate(chances) if each), None)
    shares = {}
    for value in range(100):
        chosen = next((n for n, end in enumerate(starts) if value < end), first)
        if chosen is not None:
            for place, part in _answers(tiers[chosen], factor, weighted=weighted and not panic[chosen]):
                shares[place] = shares.get(place, 0) + part
    total = sum(shares.values())
    if not total:
        alive = next((tier for tier in tiers if any(place[1] for place in tier)), [])
        shares = {}
        for name, count, _, _ in alive:
            shares[name] = shares.get(name, 0) + Fraction(count)
        total = sum(shares.values())
    return {name: share / total for name, share in shares.items() if share}


def _answers(tier, factor, *, weighted):
    if not weighted:
        hosts = [place[0] for place in tier for _ in range(place[1])]
        return [(host, Fraction(1, len(hosts))) for host in hosts]
    weights = [place[3] * min(Fraction(1), Fraction(factor * place[1], 100 * (place[1] + place[2]))) for place in tier]
    return [(place[0], each / sum(weights)) for place, each in zip(tier, weights, strict=True) if each] if sum(weights) else []
