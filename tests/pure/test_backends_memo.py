"""Long-lived views answer what fresh ones would, with the very same objects where nothing changed."""

from datetime import UTC, datetime

from backend_fleets import IMPORT, KEY, ROUTE, SERVICE, cluster, endpoint, fleet, piece, policy, resolved, service
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from flota.fleet.core import ServicePort
from flota.fleet.drain import Drain
from flota.fleet.meta import ObjectMeta
from flota.fleet.references import MCS_GROUP
from flota.fleet.routes import HTTPBackendRef, HTTPRoute, HTTPRouteRule, HTTPRouteSpec
from flota.fleet.signals import Signals
from flota.routing.backends import resolve
from flota.routing.policy import policy_for
from flota.routing.view import RouteKey, Target, Views

BASE = fleet(cluster("us", "us-east"), cluster("eu", "eu-west"), distances={("us-east", "eu-west"): 80})
REFS = (IMPORT, SERVICE)
ROUTES = (ROUTE, RouteKey("HTTPRoute", "default", "other"))


def edit(base, name="us", **fields):
    """The fleet with some mappings of one cluster replaced."""
    return replace(base, clusters={**base.clusters, name: replace(base.clusters[name], **fields)})


def everything(views):
    return {
        (name, ref, route, hint): resolve(view, ref, route, hint)
        for name, view in views.items()
        for ref in REFS
        for route in ROUTES
        for hint in ("HTTP", "GRPC")
    }


def test_another_slice_of_another_service_changes_nothing():
    long_lived = Views()
    before = everything(long_lived.refresh(BASE))
    slices = dict(BASE.clusters["us"].endpoint_slices)
    slices["default", "other"] = piece("other", [endpoint("10.9.9.9")], service="other")
    views = long_lived.refresh(edit(BASE, endpoint_slices=slices))
    after = everything(views)
    assert all(after[key] is before[key] for key in before)
    assert views["us"].changed == {Target("Service", "default", "other"), Target("ServiceImport", "default", "other")}
    assert views["eu"].changed == {Target("ServiceImport", "default", "other")}


def test_only_endpoints_are_new_when_endpoints_change():
    long_lived = Views()
    before = everything(long_lived.refresh(BASE))
    one_more = edit(BASE, endpoint_slices={("default", "shop-1"): piece("shop-1", [endpoint("10.0.0.1")])})
    after = everything(long_lived.refresh(one_more))
    for key, new in after.items():
        assert new.backend is before[key].backend
        assert (new.endpoints is before[key].endpoints) == (key[:2] == ("eu", SERVICE))


def test_equal_objects_are_kept_though_they_were_decoded_again():
    long_lived = Views()
    before = everything(long_lived.refresh(BASE))
    again = fleet(cluster("us", "us-east"), cluster("eu", "eu-west"), distances={("us-east", "eu-west"): 80})
    after = everything(long_lived.refresh(again))
    assert all(after[key] is before[key] for key in before)


def test_a_dead_endpoint_concerns_only_its_services():
    slices = dict(BASE.clusters["us"].endpoint_slices)
    slices["default", "other"] = piece("other", [endpoint("10.9.9.9")], service="other")
    world = edit(BASE, endpoint_slices=slices)
    long_lived = Views()
    before = everything(long_lived.refresh(world))
    views = long_lived.refresh(replace(world, signals=Signals(dead={("us", "10.9.9.9:8080"): "silent"})))
    assert views["eu"].changed == {Target("ServiceImport", "default", "other")}
    assert all(each is before[key] for key, each in everything(views).items())
    views = long_lived.refresh(replace(world, signals=Signals(per_try={("us", "x"): 250})))
    assert views["us"].changed == {Target(kind, "default", "other") for kind in ("Service", "ServiceImport")}
    views = long_lived.refresh(replace(world, signals=Signals(per_try={("us", "x"): 300})))
    assert views["us"].changed == frozenset(), "what routes learn is not the backends' business"


def test_policies_of_rules_concern_their_routes():
    long_lived = Views()
    long_lived.refresh(BASE)
    one = policy("mine", "HTTPRoute", "shop", "main", replay="All")
    views = long_lived.refresh(replace(BASE, policies={("default", "mine"): one}))
    assert views["eu"].changed == {Target("HTTPRoute", "default", "shop")}
    rule, other = (policy_for(views["us"], Target("ServiceImport", *KEY), route) for route in ROUTES)
    assert (rule.replay, other.replay) == ("All", "Idempotent")
    mine, base = (resolve(views["us"], IMPORT, route, "HTTP") for route in ROUTES)
    assert mine.endpoints.name == "serviceimport/default/shop/80/fleet-policy/default/mine"
    assert base.endpoints.name == "serviceimport/default/shop/80"


def routes(*services):
    rules = tuple(HTTPRouteRule(backend_refs=(HTTPBackendRef(each, MCS_GROUP, "ServiceImport", port=80),)) for each in services)
    return {("default", "r"): HTTPRoute(ObjectMeta("r"), HTTPRouteSpec(rules=rules))}


def test_checks_are_rarer_where_there_are_more_endpoints():
    def every(count, **more):
        found = resolved(fleet(cluster("us", "us-east", count, http_routes=routes("shop"), **more), cluster("eu", "eu-west", 10)))
        return found.backend.health and found.backend.health.interval_ms

    assert [every(each) for each in (290, 291, 990, 991, 2_990, 2_991)] == [250, 1_000, 1_000, 5_000, 5_000, None]


def test_endpoints_no_route_refers_to_do_not_count():
    long_lived = Views()
    many = fleet(cluster("us", "us-east", 400, http_routes=routes("other")))
    view = long_lived.refresh(many)["us"]
    assert view.load == 0
    view = long_lived.refresh(edit(many, http_routes=routes("shop", "other")))["us"]
    assert (view.load, view.changed) == (400, None)
    assert long_lived.refresh(edit(many, http_routes={}))["us"].load == 0


ADDRESSES = st.lists(st.builds(endpoint, st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]), st.sampled_from([None, "a"])), max_size=3)
POLICIES = st.lists(
    st.sampled_from(
        [
            policy("a", replay="All"),
            policy("b", spill="Never"),
            policy("c", "Service", replay="None"),
            policy("d", "HTTPRoute", section="main", replay="All"),
            policy("e", "HTTPRoute", "other", None, spill="Never"),
        ]
    ),
    max_size=2,
).map(lambda several: {("default", each.metadata.name): each for each in several})
EDITS = st.one_of(
    st.tuples(st.just("endpoint_slices"), ADDRESSES.map(lambda several: {("default", "s"): piece("s", several)})),
    st.tuples(st.just("endpoint_slices"), ADDRESSES.map(lambda several: {("default", "s"): piece("s", several, service="other")})),
    st.tuples(st.just("services"), st.sampled_from([{}, {KEY: service()}, {KEY: service(ServicePort(80, "http", app_protocol="grpc"))}])),
    st.tuples(st.just("service_exports"), st.sampled_from([{}, BASE.clusters["us"].service_exports])),
    st.tuples(st.just("service_imports"), st.sampled_from([{}, BASE.clusters["us"].service_imports])),
    st.tuples(st.just("traffic_policies"), POLICIES),
    st.tuples(st.just("http_routes"), st.sampled_from([{}, routes("shop"), routes("other")])),
    st.tuples(st.just("zone"), st.sampled_from([None, "a"])),
    st.tuples(st.just("fleet"), st.one_of(
        st.builds(lambda each: {"policies": each}, POLICIES),
        st.sampled_from([
            {"drains": (Drain("us", datetime(2031, 1, 1, tzinfo=UTC)),)}, {"drains": ()}, {"distances": {}},
            {"signals": Signals(dead={("us", "10.0.0.1:8080"): "silent"})}, {"signals": Signals(suspect={"eu": "silent"})},
        ]),
    )),
)


@settings(max_examples=150, deadline=None)
@given(edits=st.lists(st.tuples(st.sampled_from(["us", "eu"]), EDITS, st.booleans()), min_size=1, max_size=8))
def test_long_lived_views_answer_what_fresh_ones_would(edits):
    long_lived, world = Views(), BASE
    everything(long_lived.refresh(world))
    for name, (field, value), look in edits:
        world = replace(world, **value) if field == "fleet" else edit(world, name, **{field: value})
        views = long_lived.refresh(world)
        if look:
            assert everything(views) == everything(Views().refresh(world))


@settings(max_examples=100, deadline=None)
@given(edits=st.lists(st.tuples(st.sampled_from(["us", "eu"]), EDITS), min_size=1, max_size=6))
def test_changed_names_all_that_changed(edits):
    long_lived, world = Views(), BASE
    before = everything(long_lived.refresh(world))
    for name, (field, value) in edits:
        world = replace(world, **value) if field == "fleet" else edit(world, name, **{field: value})
        views = long_lived.refresh(world)
        after = everything(views)
        for (source, ref, route, hint), found in after.items():
            named = views[source].changed
            told = named is None or Target(ref.kind, *KEY) in named or Target(*route[:3]) in named
            assert told or found == before[source, ref, route, hint]
        before = after
