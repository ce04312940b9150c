# ruff: noqa: E501 — one line per case reads best as a table
"""The schema: every departure is found at its place, and says how to mend it; what the API server reads as equal is equal."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from admission_documents import GONE, KINDS, Document, Place, document, put
from hypothesis import given, settings
from hypothesis import strategies as st

from flota.fleet.core import Secret
from flota.fleet.kinds import KINDS as KNOWN
from flota.fleet.kinds import find
from flota.fleet.routes import HTTPRoute
from flota.sources.admission import Admission, admit
from flota.sources.admission.fault import text

MAPS = {
    "labels", "annotations", "matchLabels", "selector", "data", "binaryData", "stringData", "exportedLabels", "resources", "nodeSelector",
}  # fmt: skip
PATH: Place = ("spec", "rules", 0, "matches", 0, "path")


def _only(admission: Admission) -> str:
    assert admission.verdict == "refused"
    assert len(admission.faults) == 1, admission.faults
    return admission.faults[0].message


@pytest.mark.parametrize(
    ("kind", "place", "value", "message"),
    [
        ("HTTPRoute", (*PATH, "type"), "Prefix",
         'spec.rules[0].matches[0].path.type: "Prefix" is not allowed; one of Exact, PathPrefix, RegularExpression (did you mean PathPrefix?)'),
        ("HTTPRoute", ("spec", "rules", 0, "backendRef"), [], "spec.rules[0].backendRef: unknown field; did you mean backendRefs?"),
        ("HTTPRoute", ("spec", "rules", 0, "backendRefs", 0, "port"), "80",
         'spec.rules[0].backendRefs[0].port: must be a whole number, not the string "80"; write it without quotes: 80'),
        ("HTTPRoute", ("spec", "rules", 0, "backendRefs", 0, "port"), 70000,
         "spec.rules[0].backendRefs[0].port: 70000 is out of range; must be 1 to 65535"),
        ("HTTPRoute", ("spec", "parentRefs"), {}, 'spec.parentRefs: must be a list, not an object; start each element with "- "'),
        ("HTTPRoute", ("spec", "rules"), [], "spec.rules: has 0 elements; at least 1 needed"),
        ("HTTPRoute", ("spec", "rules"), [{}] * 17, "spec.rules: has 17 elements; at most 16 are allowed"),
        ("HTTPRoute", ("metadata", "labels"), {"v": 1}, 'metadata.labels.v: must be a string, not 1; write it in quotes: "1"'),
        ("HTTPRoute", ("metadata", "labels"), {"v": True}, 'metadata.labels.v: must be a string, not true; write it in quotes: "true"'),
        ("Gateway", ("spec", "gatewayClassName"), GONE, "spec.gatewayClassName: is required; add it"),
        ("Service", ("spec", "clusterIp"), "None", "spec.clusterIp: unknown field; did you mean clusterIP?"),
        ("Secret", ("data", "tls.crt"), "!", None),
        ("TrafficPolicy", ("spec", "spill"), "Always", None),
        ("TrafficPolicy", ("spec", "failBack", "after"), "2 s", None),
        ("ClusterSet", ("spec", "distances", 0, "between"), ["us-east"], None),
    ],
)  # fmt: skip
def test_a_departure_is_told_where_it_is_and_how_to_mend_it(kind: str, place: Place, value: object, message: str | None) -> None:
    said = _only(admit(document(kind, (place, value))))
    assert said.startswith(text(place))
    assert message is None or said == message


def test_all_departures_are_told_at_once() -> None:
    broken = document("HTTPRoute", ((*PATH, "type"), "Prefix"), (("spec", "nope"), 1), (("metadata", "labels"), {"a": 1}))
    assert {text(fault.path) for fault in admit(broken).faults} == {
        "spec.rules[0].matches[0].path.type", "spec.nope", "metadata.labels.a",
    }  # fmt: skip


def _places(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    yield place, value
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in MAPS or not isinstance(inner, dict) or "matchLabels" in inner:
                yield from _places(inner, (*place, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _places(inner, (*place, index))


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_field_is_refused_wherever_it_stands(kind: str) -> None:
    for place, value in list(_places(document(kind))):
        if isinstance(value, dict):
            wrong: Place = (*place, "x-nope")
            assert _only(admit(document(kind, (wrong, 1)))).startswith(f"{text(wrong)}: unknown field; ")


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_of_another_type_is_refused_wherever_it_stands(kind: str) -> None:
    for place, value in list(_places(document(kind))):
        if place and place not in {("apiVersion",), ("kind",)}:
            wrong: object = [[]] if not isinstance(value, list) else {"a": 1}
            assert text(place) in {text(fault.path) for fault in admit(document(kind, (place, wrong))).faults}, place


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_server_adds_is_dropped(kind: str) -> None:
    plain, exported = document(kind), document(kind)
    exported["status"] = {"anything": [1]}
    exported["metadata"] |= {
        "uid": "u", "resourceVersion": "7", "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{"a": 1}],
        "ownerReferences": [{}], "finalizers": ["x"], "selfLink": "/x", "labels": None,
    }  # fmt: skip
    assert admit(exported) == admit(plain)


def test_null_is_absent_80_0_is_80_and_base64_may_have_line_breaks() -> None:
    route = document("HTTPRoute", (("spec", "rules", 1, "filters"), None), (("spec", "rules", 0, "backendRefs", 0, "weight"), None))
    assert isinstance(admit(route).object, HTTPRoute)
    admission = admit(document("HTTPRoute", (("spec", "rules", 0, "backendRefs", 0, "port"), 80.0), (("spec", "hostnames"), None)))
    assert isinstance(admission.object, HTTPRoute)
    assert admission.object.spec.rules[0].backend_refs[0].port == 80
    redirect = {"filters": [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 301.0}}]}
    assert admit(document("HTTPRoute", (("spec", "rules"), [redirect]))).verdict == "admitted"
    secret = admit(document("Secret", (("data", "tls.crt"), "YWJj\nZGVm\n"), (("stringData",), {"tls.key": "plain"}))).object
    assert isinstance(secret, Secret)
    assert secret.data == {"tls.crt": b"abcdef", "tls.key": b"plain"}
    assert secret.string_data == {}


@pytest.mark.parametrize("kind", [each for each in KNOWN if each.struct])
def test_namespaces_default_or_are_empty(kind: Any) -> None:
    made = admit(document(kind.kind)).object
    assert made is not None
    assert made.metadata.namespace == ("default" if kind.namespaced else "")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("version", "kind", "verdict", "reason"),
    [
        ("gateway.networking.k8s.io/v1", "HTPRoute", "refused", "UnknownKind"),
        ("gateway.networking.k8s.io/v1alpha2", "HTTPRoute", "refused", "UnknownVersion"),
        ("v1", "Servce", "refused", "UnknownKind"),
        ("v1", "Deployment", "refused", "UnknownKind"),
        ("flota.dev/v1alpha1", "Nope", "refused", "UnknownKind"),
        ("apps/v1", "StatefulSet", "ignored", None),
        ("cert-manager.io/v1", "Certificate", "ignored", None),
        ("networking.istio.io/v1", "Gateway", "ignored", None),
        ("gateway.networking.x-k8s.io/v1alpha1", "XMesh", "ignored", "NotSupportedYet"),
        ("gateway.networking.k8s.io/v1", None, "refused", "Required"),
        (1, "Service", "refused", "Required"),
    ],
)
def test_kinds_and_versions(version: object, kind: object, verdict: str, reason: str | None) -> None:
    admission = admit({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": {}})
    assert (admission.verdict, admission.object) == (verdict, None)
    assert [fault.reason for fault in admission.faults] == ([reason] if reason else [])


@pytest.mark.parametrize("kind", [each for each in KNOWN if each.struct])
def test_every_served_version_is_admitted(kind: Any) -> None:
    for version in kind.versions:
        made = document(kind.kind)
        made["apiVersion"] = f"{kind.group}/{version}" if kind.group else version
        admission = admit(made)
        assert admission.verdict == "admitted", admission.faults
        assert find(kind.group, kind.kind) is kind


def test_tls_route_of_v1alpha2_needs_no_hostnames_and_takes_more_rules() -> None:
    rules = [{"backendRefs": [{"name": "a", "port": 1}]}] * 2
    loose: Document = document("TLSRoute", (("spec", "hostnames"), GONE), (("spec", "rules"), rules))
    assert [text(fault.path) for fault in admit(loose).faults] == ["spec.hostnames", "spec.rules"]
    assert admit(loose | {"apiVersion": "gateway.networking.k8s.io/v1alpha2"}).verdict == "admitted"


_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8))
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_document_makes_admission_raise_and_what_is_admitted_is_read_back_the_same(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    made = document(kind)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from([place for place, _ in _places(made) if place]))
        put(made, place, data.draw(_VALUES))
    admission = admit(made)
    assert (admission.object is None) == (admission.verdict != "admitted")
    assert admission.faults or admission.verdict != "refused"
    if admission.object is not None:
        written = msgspec.json.decode(msgspec.json.encode(admission.object))
        assert admit(written).object == admission.object


@pytest.mark.parametrize(
    "hostile",
    [
        {"spec": {f"field{number}": 1 for number in range(20_000)}},
        {"spec": {"x" * 1_000_000: 1}},
        {"spec": {"rules": [{"matches": [{"path": {"type": "P" * 1_000_000}}]}]}},
        {"spec": {"hostnames": ["a-" * 500_000]}},
        {"spec": {"hostnames": [10**5000] * 100}},
        {"spec": {"parentRefs": [{"name": "g", "port": -(10**5000)}]}},
        {"spec": {"rules": [{"matches": [{"headers": [{"name": "a", "value": "a" * 4000 + "\x01"}]}]}]}},
        {"spec": {"rules": [{"matches": [{"path": {"type": "RegularExpression", "value": "((a{100}){100}){100}"}}]}]}},
    ],
    ids=lambda body: str(list(body["spec"]))[:20],
)
def test_a_hostile_document_is_refused_with_short_messages_and_little_work(hostile: Document) -> None:
    admission = admit(document("HTTPRoute") | hostile)
    assert admission.verdict == "refused"
    assert all(len(fault.message) < 1000 for fault in admission.faults)
