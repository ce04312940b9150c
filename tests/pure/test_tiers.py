"""Which places serve first."""

import pytest
from backend_fleets import SERVICE, cluster, endpoint, fleet, places, policy, resolved, with_policy

from flota.fleet.policy import Places, Spill, TierMember

WORLD = fleet(
    cluster("us", "us-east", zone="us-east-1a"),
    cluster("us-2", "us-east", zone="us-east-1b"),
    cluster("eu", "eu-west"),
    cluster("ap", "ap-south"),
    cluster("sa", "sa-east"),
    distances={("us-east", "eu-west"): 80, ("us-east", "ap-south"): 200},
)


def tiers(*policies, source="us", world=WORLD):
    return places(resolved(with_policy(world, *policies), source).endpoints)


def test_nearest_first_and_every_region_a_reserve():
    assert tiers() == [["us/us-east-1a"], ["us-2/us-east-1b"], ["eu"], ["ap"], ["sa"]]


def test_each_cluster_ranks_from_where_it_stands():
    assert tiers(source="eu") == [["eu"], ["us/us-east-1a", "us-2/us-east-1b"], ["ap"], ["sa"]]


def test_why_each_place_is_where_it_is():
    found = resolved(WORLD).endpoints.tiers
    assert [tier.localities[0].why for tier in found] == [
        "same zone",
        "same region",
        "region eu-west, 80 ms away",
        "region ap-south, 200 ms away",
        "region sa-east, distance unknown",
    ]


def test_a_cluster_without_zone_is_nearer_to_itself_than_its_neighbours():
    world = fleet(cluster("us", "us-east"), cluster("us-2", "us-east"))
    assert tiers(world=world) == [["us"], ["us-2"]]


def test_zones_of_endpoints_count_before_that_of_the_cluster():
    world = fleet(cluster("us", "us-east", [endpoint("10.0.0.1", "b"), endpoint("10.0.0.2")], zone="a"), cluster("eu", "eu-west"))
    assert tiers(world=world) == [["us/a"], ["us/b"], ["eu"]]
    assert places(resolved(world, ref=SERVICE).endpoints) == [["us/a"], ["us/b"]]


def test_regions_as_far_as_each_other_are_ranked_by_name():
    world = fleet(
        cluster("us", "us"), cluster("b", "b"), cluster("a", "a"), distances={("us", "a"): 50, ("us", "b"): 50}
    )
    assert tiers(world=world) == [["us"], ["a"], ["b"]]


def test_a_tier_of_a_policy_is_named_as_the_policy_writes_it():
    wanted = policy(prefer="Order", tiers=((TierMember("eu"),), (TierMember("sa"),)))
    found = resolved(with_policy(WORLD, wanted)).endpoints.tiers
    assert [tier.localities[0].why.split(" of policy ")[0] for tier in found[:2]] == ["tiers[0]", "tiers[1]"]


def test_order_and_then_the_rest_nearest_first():
    wanted = policy(prefer="Order", tiers=((TierMember("eu"),), (TierMember(region="us-east", weight=9), TierMember("sa", weight=1))))
    assert tiers(wanted) == [["eu x1"], ["us/us-east-1a x9", "us-2/us-east-1b x9", "sa x2"], ["ap x2"]]


def test_a_region_shares_its_weight_by_size():
    world = fleet(cluster("us", "us", 6), cluster("us-2", "us", 2), cluster("eu", "eu", 3))
    wanted = policy(prefer="Weights", tiers=((TierMember(region="us", weight=80), TierMember("eu", weight=20)),))
    assert tiers(wanted, world=world) == [["us x3", "us-2 x1", "eu x1"]]


def test_weights_are_as_written_where_each_names_one_cluster():
    wanted = policy(prefer="Weights", tiers=((TierMember("us", weight=80), TierMember("us-2", weight=20)),))
    assert tiers(wanted)[0] == ["us/us-east-1a x80", "us-2/us-east-1b x20"]
    assert resolved(with_policy(WORLD, wanted)).backend.strict_weights
    assert not resolved(WORLD).backend.strict_weights


def test_weight_zero_takes_no_share_but_stays_a_reserve():
    wanted = policy(prefer="Weights", tiers=((TierMember("us", weight=0), TierMember("eu", weight=5)),))
    assert tiers(wanted)[:2] == [["eu x5"], ["us/us-east-1a x2"]]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"allow": Places(regions=("us-east",))}, [["us/us-east-1a"], ["us-2/us-east-1b"]]),
        ({"allow": Places(clusters=("eu",), regions=("ap-south",))}, [["eu"], ["ap"]]),
        ({"forbid": Places(regions=("us-east",), clusters=("sa",))}, [["eu"], ["ap"]]),
        ({"allow": Places(clusters=("nowhere",))}, []),
    ],
)
def test_limits_hold_even_when_all_is_lost(limits, expected):
    assert tiers(policy(**limits)) == expected


def test_spill():
    assert resolved(WORLD).endpoints.overprovisioning == 143
    for below, factor in (("70%", 143), ("100%", 100), ("50%", 200), ("1%", 10_000), ("0%", 1_000_000)):
        assert resolved(with_policy(WORLD, policy(spill=Spill(below)))).endpoints.overprovisioning == factor


@pytest.mark.parametrize("never", ["Never", Spill("Never")])
def test_strict_leaves_later_tiers_out(never):
    assert tiers(policy(spill=never)) == [["us/us-east-1a"]]
    empty = fleet(cluster("us", "us-east", 0), cluster("eu", "eu-west"))
    assert tiers(policy(spill=never), world=empty) == []
    assert tiers(world=empty) == [["eu"]]


def test_strict_begins_where_the_service_is():
    world = fleet(cluster("us", "us-east", exported=False), cluster("eu", "eu-west"), cluster("ap", "ap"))
    assert tiers(policy(spill="Never"), world=world) == [["ap"]]
