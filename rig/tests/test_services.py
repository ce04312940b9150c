"""What Services and EndpointSlices mean, and the rules made of it: pure."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig.api import Object
from rig.balancer.ruleset import Way, ruleset
from rig.balancer.services import give, ways

WEB = ("default", "web")


def service(name: str = "web", **spec: object) -> Object:
    ports = [{"port": 80, "protocol": "TCP"}]
    return {"metadata": {"namespace": "default", "name": name}, "spec": {"clusterIP": "10.96.0.5", "ports": ports, **spec}, "status": {}}


def endpoint_slice(*endpoints: Object, port: int = 3000, name: str = "") -> Object:
    return {"addressType": "IPv4", "ports": [{"name": name, "port": port}], "endpoints": list(endpoints)}


def endpoint(ip: str, **conditions: bool) -> Object:
    return {"addresses": [ip], "conditions": conditions}


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        ([endpoint("10.1.0.1", ready=True), endpoint("10.1.0.2", ready=False)], (("10.1.0.1", 3000),)),
        ([endpoint("10.1.0.1")], (("10.1.0.1", 3000),)),
        ([endpoint("10.1.0.1", ready=False, serving=True, terminating=True)], (("10.1.0.1", 3000),)),
        ([endpoint("10.1.0.1", ready=False, serving=True, terminating=True), endpoint("10.1.0.2", ready=True)], (("10.1.0.2", 3000),)),
        ([endpoint("10.1.0.1", ready=False, serving=False)], ()),
        ([], ()),
    ],
)
def test_endpoints_that_are_used(endpoints: list[Object], expected: tuple[tuple[str, int], ...]):
    assert ways([service()], {WEB: [endpoint_slice(*endpoints)]}, {}) == [Way("10.96.0.5", "tcp", 80, expected)]


def test_ports_meet_by_name():
    both = service(ports=[{"name": "a", "port": 80}, {"name": "b", "port": 81, "protocol": "UDP"}])
    slices = {WEB: [endpoint_slice(endpoint("10.1.0.1"), port=1, name="a"), endpoint_slice(endpoint("10.1.0.1"), port=2, name="b")]}
    found = ways([both], slices, {})
    assert found == [Way("10.96.0.5", "tcp", 80, (("10.1.0.1", 1),)), Way("10.96.0.5", "udp", 81, (("10.1.0.1", 2),))]


def test_headless_services_have_no_address_and_balanced_ones_two():
    assert ways([service(clusterIP="None")], {}, {}) == []
    assert [way.address for way in ways([service(externalIPs=["9.9.9.9"])], {}, {WEB: "127.88.0.1"})] == [
        "10.96.0.5",
        "9.9.9.9",
        "127.88.0.1",
    ]


def test_addresses_are_kept_asked_for_or_found():
    wanting = [service(name, type="LoadBalancer", loadBalancerIP=asked) for name, asked in (("a", ""), ("b", "127.88.0.200"), ("c", ""))]
    first = give(wanting, {}, "127.88.0")
    assert first == {("default", "a"): "127.88.0.1", ("default", "b"): "127.88.0.200", ("default", "c"): "127.88.0.2"}
    without_a = give(wanting[1:], first, "127.88.0")
    assert without_a == {("default", "b"): "127.88.0.200", ("default", "c"): "127.88.0.2"}
    assert give([service()], first, "127.88.0") == {}


def test_what_cannot_be_had_is_not_given():
    outside = service("a", type="LoadBalancer", loadBalancerIP="192.0.2.1")
    first, second = (service(name, type="LoadBalancer", loadBalancerIP="127.88.0.9") for name in "bc")
    assert give([outside, first, second], {}, "127.88.0") == {("default", "b"): "127.88.0.9"}
    moved = service("b", type="LoadBalancer", loadBalancerIP="127.88.0.10")
    assert give([moved], {("default", "b"): "127.88.0.9"}, "127.88.0") == {("default", "b"): "127.88.0.10"}


_places = st.tuples(st.ip_addresses(v=4).map(str), st.integers(1, 65535))
_ways = st.lists(
    st.builds(
        Way,
        st.ip_addresses(v=4).map(str),
        st.sampled_from(["tcp", "udp"]),
        st.integers(1, 65535),
        st.lists(_places, max_size=3, unique=True).map(tuple),
    ),
    max_size=6,
    unique_by=lambda way: way[:3],
)


@given(_ways)
def test_rules_do_not_depend_on_the_order(found: list[Way]):
    assert ruleset(found, "10.255.0.1") == ruleset(reversed(found), "10.255.0.1")


@pytest.mark.skipif(shutil.which("nft") is None, reason="no nft on the PATH")
@pytest.mark.parametrize("count", [0, 1, 3])
def test_nft_takes_the_rules(count: int):
    endpoints = tuple((f"10.1.0.{number}", 8080) for number in range(count))
    found = [Way("10.96.0.1", "tcp", 80, endpoints), Way("10.96.0.1", "udp", 53, endpoints), Way("10.96.0.2", "tcp", 80, endpoints)]
    ended = subprocess.run(["nft", "--check", "-f", "-"], input=ruleset(found, "10.255.0.1"), capture_output=True, text=True)
    if "Operation not permitted" in ended.stderr:
        pytest.skip("nft may look at rules only as root")
    assert ended.returncode == 0, ended.stderr
