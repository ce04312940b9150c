"""What an API server sends → structs."""

import json

import pytest
from msgspec import Raw

from flota.fleet.kinds import KINDS
from flota.fleet.meta import ObjectMeta
from flota.kube.cache import Undecodable
from flota.sources.referenced import References, split
from flota.sources.served import Held, decoder
from flota.sources.topology import Place, whole

META = {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{"manager": "x", "fieldsV1": {"f:spec": {}}}], "ownerReferences": [{"name": "o"}]}  # fmt: skip


def kind(name):
    return next(each for each in KINDS if each.kind == name)


def decoded(name, thing, before=None, **options):
    return decoder(kind(name), **options)(Raw(json.dumps(thing).encode()), before)


def route(**spec):
    return {"metadata": META, "spec": {"rules": [{"backendRefs": [{"name": "b", "port": 80}]}], **spec}, "status": {"parents": []}}


def test_fields_that_are_not_known_are_ignored_at_any_depth():
    thing = route(parentRefs=[{"name": "g", "newField": {"x": 1}}], fresh=True)
    held = decoded("HTTPRoute", thing)
    assert held.object.spec.parent_refs[0].name == "g"
    assert held.object.metadata.uid == "u"
    assert held.object.metadata.generation == 3
    assert held.status == b""


def test_null_is_as_good_as_absent():
    held = decoded("EndpointSlice", {"metadata": META, "addressType": "IPv4", "endpoints": None, "ports": None, "unknown": None})
    assert held.object.endpoints == ()
    held = decoded("HTTPRoute", route(parentRefs=None, rules=[{"matches": None, "unknown": 1}]))
    assert held.object.spec.parent_refs == ()


def test_what_can_not_be_used_is_said_with_its_path():
    bad = decoded("HTTPRoute", route(hostnames=["UPPER"]))
    assert isinstance(bad, Undecodable)
    assert bad.message.startswith("spec.hostnames[0]: ")
    listeners = [{"name": "a", "port": 1, "protocol": "HTTP"}] * 2
    twice = decoded("Gateway", {"metadata": META, "spec": {"gatewayClassName": "f", "listeners": listeners}})
    assert isinstance(twice, Undecodable), "a CRD without its CEL rules lets it through"
    assert isinstance(decoder(kind("HTTPRoute"))(Raw(b"[1"), None), Undecodable)


def test_the_same_again_is_the_identical_object_whatever_its_status_says():
    first = decoded("HTTPRoute", route(), status=True)
    other = route()
    other["metadata"] = {**META, "resourceVersion": "8", "managedFields": []}
    other["status"] = {"parents": [{"controllerName": "x"}]}
    second = decoded("HTTPRoute", other, first, status=True)
    assert second.object is first.object
    assert json.loads(second.status) == other["status"]
    assert decoded("HTTPRoute", other, second, status=True) is second
    assert decoded("HTTPRoute", route(hostnames=["x.example"]), second, status=True).object is not second.object


def test_namespaces_and_annotations():
    held = decoded("GatewayClass", {"metadata": {"name": "c"}, "spec": {"controllerName": "a.b/c"}})
    assert held.object.metadata.namespace == ""
    noted = {**META, "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{…}", "a/b": "c"}}
    assert decoded("Service", {"metadata": noted, "spec": {}}).object.metadata.annotations == {"a/b": "c"}


@pytest.mark.parametrize("name", [each.kind for each in KINDS if each.struct is not None])
def test_every_kind_has_a_decoder(name):
    assert isinstance(decoded(name, {"metadata": META}), Held | Undecodable)


def gateway(name, *listeners, **more):
    asked = [
        {"name": f"l{n}", "hostname": f"h{n}.example", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": refs}}
        for n, refs in enumerate(listeners)
    ]
    spec = {"gatewayClassName": "f", "listeners": asked, **more}
    return decoded("Gateway", {"metadata": {"name": name, "namespace": "n"}, "spec": spec}).object


def test_references_to_secrets_and_config_maps():
    frontend = {"default": {"validation": {"caCertificateRefs": [{"name": "ca", "kind": "ConfigMap", "group": ""}]}}}
    one = gateway("one", [{"name": "s1"}, {"name": "s2", "namespace": "m"}], [{"name": "x", "group": "other.io", "kind": "Secret"}],
                  tls={"frontend": frontend, "backend": {"clientCertificateRef": {"name": "mine"}}})  # fmt: skip
    references = References()
    found = references.of({"gateways": {("n", "one"): one}})
    assert split(found) == {"Secret": {("n", "s1"), ("m", "s2"), ("n", "mine")}, "ConfigMap": {("n", "ca")}}
    again = {("n", "one"): one, ("n", "two"): gateway("two", [{"name": "s1"}])}
    assert references.of({"gateways": again}) is found
    assert split(references.of({"gateways": {}})) == {"Secret": frozenset(), "ConfigMap": frozenset()}


def test_a_cluster_is_where_most_of_its_nodes_are():
    nodes = {("", str(number)): Place("eu" if number else "us", f"z{number % 2}") for number in range(4)}
    assert whole(nodes) == Place("eu", "")
    assert whole({("", "a"): Place("eu", "z")}) == Place("eu", "z")
    assert whole({}) == Place()
    assert ObjectMeta(name="x").uid == ""
