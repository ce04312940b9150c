"""TrafficPolicies, BackendTLSPolicies, exports and imports: which one holds, and what they are told about themselves."""

from datetime import UTC, datetime, timedelta

import pytest
from backend_fleets import IMPORT, IMPORTED, KEY, ROUTE, SERVICE, cluster, fleet, outcome, policy, resolved, service, with_policy
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from flota.fleet.core import ConfigMap, Secret, ServicePort
from flota.fleet.mcs import ServiceExport, ServiceExportSpec
from flota.fleet.meta import ObjectMeta
from flota.fleet.policy import (
    BackendTLSPolicy,
    BackendTLSPolicySpec,
    BackendTLSPolicyValidation,
    LocalPolicyTargetReferenceWithSectionName,
    Places,
    SubjectAltName,
    TierMember,
)
from flota.fleet.references import MCS_GROUP, LocalObjectReference
from flota.fleet.routes import HTTPRoute, HTTPRouteRule, HTTPRouteSpec
from flota.plan import ClientTLS, ObjectRef
from flota.routing.backends import Unresolved
from flota.routing.bookkeeping import Bookkeeping, Reached
from flota.routing.policy import policy_for
from flota.routing.reach import Reach
from flota.routing.view import RouteKey, Target, Views

PAIR = fleet(cluster("us", "us-east"), cluster("eu", "eu-west"))
MONDAY = datetime(2030, 1, 7, tzinfo=UTC)
IMPORT_TARGET = Target("ServiceImport", *KEY)


def edit(base, name="us", **fields):
    return replace(base, clusters={**base.clusters, name: replace(base.clusters[name], **fields)})


def aged(each, days):
    return replace(each, metadata=replace(each.metadata, creation_timestamp=MONDAY + timedelta(days)))


def named(*several):
    return {("default", each.metadata.name): each for each in several}


def unreached(views):
    """No routes are planned here, so nothing is reached."""
    return {name: Reached(Reach(), frozenset()) for name in views}


def statuses(of):
    book = Bookkeeping()
    views = Views().refresh(of)
    book.refresh(views, unreached(views))
    return {ref: {each.type: (each.status, each.reason) for each in status.conditions} for ref, status in book.statuses.items()}


def problems(of):
    book = Bookkeeping()
    views = Views().refresh(of)
    book.refresh(views, unreached(views))
    return sorted((ref.cluster, ref.kind, each.reason) for ref, several in book.problems.items() for each in several)


def test_the_most_specific_policy_holds_whole():
    shared = policy("shared", replay="All", spill="Never")
    own = policy("own", replay="None")
    rule = policy("rule", "HTTPRoute", section="main", replay="All")
    route = policy("route", "HTTPRoute")

    def holds(world, cluster="us", route=ROUTE):
        return policy_for(Views().refresh(world)[cluster], IMPORT_TARGET, route).name

    world = with_policy(PAIR, shared)
    assert holds(world) == holds(world, "eu") == "default/shared"
    world = edit(world, traffic_policies=named(own))
    assert (holds(world), holds(world, "eu")) == ("default/own", "default/shared")
    assert not policy_for(Views().refresh(world)["us"], IMPORT_TARGET, ROUTE).strict, "fields of the other are not merged in"
    assert holds(edit(world, traffic_policies=named(own, route))) == "default/route"
    assert holds(edit(world, traffic_policies=named(own, route, rule))) == "default/rule"
    assert holds(edit(world, traffic_policies=named(own, rule)), route=RouteKey("HTTPRoute", "default", "shop", "b")) == "default/own"
    assert holds(PAIR) == ""


def test_the_oldest_of_two_on_one_target_holds():
    older, younger = aged(policy("z"), 0), aged(policy("a"), 1)
    world = with_policy(PAIR, younger, older)
    assert policy_for(Views().refresh(world)["us"], IMPORT_TARGET).name == "default/z"
    told = statuses(world)
    assert told[ObjectRef("", "TrafficPolicy", "default", "z")] == {"Accepted": ("True", "Accepted")}
    assert told[ObjectRef("", "TrafficPolicy", "default", "a")] == {"Accepted": ("False", "Conflicted")}
    assert problems(world) == [("", "TrafficPolicy", "Conflicted")]
    beside = edit(with_policy(PAIR, older), traffic_policies=named(younger))
    assert not problems(beside), "one of a cluster takes the place of one for all: no conflict"


ROUTES = named(HTTPRoute(ObjectMeta("shop"), HTTPRouteSpec(rules=(HTTPRouteRule("main"),))))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (policy(target="nowhere"), "TargetNotFound"),
        (policy(kind="Service", target="nowhere"), "TargetNotFound"),
        (policy(kind="HTTPRoute", target="nowhere", section="main"), "TargetNotFound"),
        (policy(kind="HTTPRoute", section="other"), "TargetNotFound"),
        (policy(section="http"), "TargetNotFound"),
        (policy(kind="Gateway"), "Invalid"),
        (policy(prefer="Order", tiers=((TierMember("mars"),),)), "UnknownPlace"),
        (policy(forbid=Places(regions=("mars",))), "UnknownPlace"),
    ],
)
def test_what_a_traffic_policy_gets_wrong(wrong, reason):
    world = edit(PAIR, http_routes=ROUTES)
    assert problems(with_policy(world, wrong)) == [("", "TrafficPolicy", reason)]
    assert problems(edit(world, traffic_policies=named(wrong))) == [("us", "TrafficPolicy", reason)]


def test_a_traffic_policy_that_works():
    world = edit(PAIR, http_routes=ROUTES)
    for good in (policy(), policy(kind="Service"), policy(kind="HTTPRoute", section="main"), policy(kind="HTTPRoute")):
        assert not problems(with_policy(world, good))


def test_a_policy_that_works_in_part_says_so():
    refs = (policy().spec.target_refs[0], policy(target="nowhere").spec.target_refs[0])
    half = replace(policy(), spec=replace(policy().spec, target_refs=refs))
    told = statuses(with_policy(PAIR, half))[ObjectRef("", "TrafficPolicy", "default", "shop")]
    assert told == {"Accepted": ("True", "Accepted"), "PartiallyInvalid": ("True", "TargetNotFound")}


def roots():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, MONDAY, MONDAY + timedelta(365))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


ROOTS = roots()
CA = {("default", "ca"): ConfigMap(ObjectMeta("ca"), {"ca.crt": ROOTS}), ("default", "bad"): ConfigMap(ObjectMeta("bad"), {"ca.crt": "x"})}


def tls(name="tls", kind="Service", section=None, target="shop", *, refs=(("", "ConfigMap", "ca"),), well_known=None, sans=()):
    ref = LocalPolicyTargetReferenceWithSectionName({"ServiceImport": MCS_GROUP}.get(kind, ""), kind, target, section)
    validation = BackendTLSPolicyValidation("shop.example", tuple(LocalObjectReference(*each) for each in refs), well_known, sans)
    return BackendTLSPolicy(ObjectMeta(name), BackendTLSPolicySpec((ref,), validation))


def secured(*policies, **more):
    return edit(PAIR, backend_tls_policies=named(*policies), **({"config_maps": CA} | more))


def test_tls_to_backends():
    found = resolved(secured(tls()), ref=SERVICE)
    name = found.secrets[0].name
    assert name.startswith("backendtlspolicy/default/tls/"), "and a digest of the roots"
    assert found.backend.tls == ClientTLS("shop.example", name, ("shop.example",))
    assert [(each.name, each.roots.decode()) for each in found.secrets] == [(name, ROOTS)]
    assert resolved(secured(tls()), ref=IMPORT).backend.tls is None
    assert resolved(secured(tls()), "eu", ref=SERVICE).backend.tls is None
    assert resolved(secured(tls(kind="ServiceImport")), ref=IMPORT).backend.tls
    assert resolved(secured(tls()), ref=SERVICE, hint="TLS").backend.tls is None, "what is passed through is encrypted already"
    wss = {KEY: service(ServicePort(80, "http", app_protocol="kubernetes.io/wss"))}
    assert resolved(secured(tls(), services=wss), ref=SERVICE).backend.tls


def test_tls_with_system_roots_and_other_names():
    names = (SubjectAltName("Hostname", "*.shop.example"), SubjectAltName("URI", uri="spiffe://shop/web"))
    found = resolved(secured(tls(refs=(), well_known="System", sans=names)), ref=SERVICE)
    assert found.backend.tls == ClientTLS("shop.example", None, ("*.shop.example",), ("spiffe://shop/web",))
    assert found.secrets == ()


def test_tls_of_one_port():
    two = {KEY: service(ServicePort(80, "http"), ServicePort(443, "https"))}
    world = secured(tls("one", section="https"), tls("all", refs=(), well_known="System"), services=two, service_exports={})
    assert resolved(world, ref=SERVICE._replace(port=443)).backend.tls.ca.rpartition("/")[0] == "backendtlspolicy/default/one"
    assert resolved(world, ref=SERVICE).backend.tls.ca is None
    assert not problems(world)


@pytest.mark.parametrize(
    ("wrong", "accepted", "references"),
    [
        (tls(refs=(("", "ConfigMap", "nowhere"),)), "NoValidCACertificate", "InvalidCACertificateRef"),
        (tls(refs=(("", "ConfigMap", "bad"),)), "NoValidCACertificate", "InvalidCACertificateRef"),
        (tls(refs=(("", "Pod", "ca"),)), "NoValidCACertificate", "InvalidKind"),
        (tls(refs=(("", "Secret", "ca"),)), "NoValidCACertificate", "InvalidCACertificateRef"),
        (tls(refs=(), well_known="example.com/own"), "Invalid", "ResolvedRefs"),
    ],
)
def test_what_cannot_be_trusted_is_not_sent_in_plain_text(wrong, accepted, references):
    world = secured(wrong)
    found = outcome(world, ref=SERVICE)
    assert isinstance(found, Unresolved)
    assert found.reason == "InvalidBackendTLS"
    told = statuses(world)[ObjectRef("us", "BackendTLSPolicy", "default", "tls")]
    assert {name: reason for name, (_, reason) in told.items()} == {"Accepted": accepted, "ResolvedRefs": references}


def test_one_good_root_is_enough():
    world = secured(tls(refs=(("", "ConfigMap", "ca"), ("", "ConfigMap", "bad"))))
    assert resolved(world, ref=SERVICE).backend.tls
    told = statuses(world)[ObjectRef("us", "BackendTLSPolicy", "default", "tls")]
    assert told == {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "InvalidCACertificateRef")}


def test_roots_from_a_secret():
    secrets = {("default", "ca"): Secret(ObjectMeta("ca"), {"ca.crt": ROOTS.encode()})}
    assert resolved(secured(tls(refs=(("", "Secret", "ca"),)), secrets=secrets), ref=SERVICE).secrets


def test_which_tls_policy_holds():
    older, younger = aged(tls("z", refs=(), well_known="System"), 0), aged(tls("a"), 1)
    world = secured(younger, older)
    assert resolved(world, ref=SERVICE).backend.tls.ca is None
    assert problems(world) == [("us", "BackendTLSPolicy", "Conflicted")]
    assert problems(secured(tls(target="nowhere"))) == [("us", "BackendTLSPolicy", "TargetNotFound")]
    assert problems(secured(tls(section="nowhere"))) == [("us", "BackendTLSPolicy", "TargetNotFound")]


def test_new_roots_are_another_backend():
    views = Views()
    world = secured(tls())
    views.refresh(world)
    again = edit(world, config_maps={**CA, ("default", "ca"): ConfigMap(ObjectMeta("ca"), {"ca.crt": roots()})})
    changed = views.refresh(again)["us"].changed
    assert Target("Service", *KEY) in changed
    one, other = (resolved(each, ref=SERVICE) for each in (world, again))
    assert one.backend.name != other.backend.name, "no request goes on over a connection that the old roots judged"
    assert one.secrets != other.secrets


def test_exports():
    assert not problems(PAIR)
    assert statuses(PAIR)[ObjectRef("us", "ServiceExport", *KEY)] == {"Valid": ("True", "Valid"), "Ready": ("True", "Exported")}
    assert problems(edit(PAIR, services={})) == [("us", "ServiceExport", "NoService")]
    external = edit(PAIR, services={KEY: service(type="ExternalName", external_name="a.example")})
    assert problems(external) == [("us", "ServiceExport", "InvalidServiceType")]
    ports = edit(PAIR, services={KEY: service(ServicePort(80, "http"), ServicePort(81, "more"))})
    assert problems(ports) == [("eu", "ServiceExport", "PortConflict"), ("us", "ServiceExport", "PortConflict")]
    headless = edit(PAIR, services={KEY: service(cluster_ip="None", session_affinity="ClientIP")})
    assert problems(headless)[0][2] == "TypeConflict,SessionAffinityConflict"
    labels = edit(PAIR, service_exports={KEY: ServiceExport(ObjectMeta("shop"), ServiceExportSpec({"a": "b"}))})
    assert problems(labels)[0][2] == "LabelsConflict"


def test_imports_of_nothing():
    lonely = fleet(cluster("us", "us", exported=False))
    assert problems(lonely) == [("us", "ServiceImport", "Pending")]


OPTIONS = st.one_of(
    st.tuples(st.just("services"), st.sampled_from([{}, {KEY: service()}, {KEY: service(ServicePort(80, "http"), ServicePort(81, "m"))}])),
    st.tuples(st.just("service_exports"), st.sampled_from([{}, {KEY: ServiceExport(ObjectMeta("shop"))}])),
    st.tuples(st.just("service_imports"), st.sampled_from([{}, {KEY: IMPORTED}])),
    st.tuples(st.just("traffic_policies"), st.lists(st.sampled_from([policy("a"), policy("b"), policy("c", "HTTPRoute", section="main")])).map(lambda several: named(*several))),  # noqa: E501
    st.tuples(st.just("backend_tls_policies"), st.lists(st.sampled_from([tls("a"), tls("b"), tls("c", section="http")])).map(lambda several: named(*several))),  # noqa: E501
    st.tuples(st.just("config_maps"), st.sampled_from([{}, CA])),
    st.tuples(st.just("http_routes"), st.sampled_from([{}, ROUTES])),
    st.tuples(st.just("policies"), st.lists(st.sampled_from([policy("a"), policy("c", "HTTPRoute", section="main")])).map(lambda several: named(*several))),  # noqa: E501
)


@settings(max_examples=200, deadline=None)
@given(edits=st.lists(st.tuples(st.sampled_from(["us", "eu", "gone"]), OPTIONS), min_size=1, max_size=8))
def test_long_kept_books_say_what_fresh_ones_would(edits):
    views, book, world = Views(), Bookkeeping(), PAIR
    for name, (field, value) in edits:
        if field == "policies":
            world = replace(world, policies=value)
        elif name == "gone":
            world = replace(world, clusters={each: one for each, one in world.clusters.items() if each != "eu"})
        elif name in world.clusters:
            world = edit(world, name, **{field: value})
        now = views.refresh(world)
        book.refresh(now, unreached(now))
        fresh = Bookkeeping()
        fresh.refresh(Views().refresh(world), unreached(now))
        assert book.statuses == fresh.statuses
        assert book.problems == fresh.problems
