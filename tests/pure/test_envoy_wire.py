"""Bytes made by hand must be what protobuf itself reads; versions must follow content and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flota.envoy import wire
from flota.envoy.protos import Protos, load

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=200)


@pytest.fixture(scope="module")
def protos() -> Protos:
    return load()


@given(value=st.integers(0, 2**63))
def test_varint_reads_back(protos: Protos, value: int) -> None:
    message = protos.message("google.protobuf.UInt64Value").FromString(b"\x08" + wire.varint(value))
    assert message.value == value


@given(
    names=st.lists(NAMES, max_size=4, unique=True), removed=st.lists(NAMES, max_size=4), body=st.binary(max_size=20_000)
)
def test_a_response_is_what_protobuf_reads(protos: Protos, names: list[str], removed: list[str], body: bytes) -> None:
    resources = [wire.resource(wire.CDS, name, body) for name in names]
    data = wire.delta_response(wire.CDS, "n7", resources, removed)
    read = protos.message("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(data)
    assert (read.type_url, read.nonce, list(read.removed_resources)) == (wire.CDS, "n7", removed)
    assert [(r.name, r.version, r.resource.type_url, r.resource.value) for r in read.resources] == [
        (r.name, r.version, wire.CDS, body) for r in resources
    ]


def test_a_version_is_a_digest_of_content(protos: Protos) -> None:
    cluster = protos.message("envoy.config.cluster.v3.Cluster")
    first = wire.resource(wire.CDS, "a", cluster(name="a", alt_stat_name="x"))
    same = wire.resource(wire.CDS, "a", cluster(name="a", alt_stat_name="x").SerializeToString(), [(wire.EDS, "a")])
    other = wire.resource(wire.CDS, "a", cluster(name="a", alt_stat_name="y"))
    assert first.version == same.version != other.version
    assert first.needs == frozenset()
    assert same.needs == {(wire.EDS, "a")}
