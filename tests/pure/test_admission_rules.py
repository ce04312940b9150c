# ruff: noqa: E501 — one line per case reads best as a table
"""Every rule across fields: one document that breaks it, and where the fault is found.

Rules of the official CRDs (x-kubernetes-validations, v1.6.1) are named by the digest of their expression, so that the test at
the end can tell, where the CRDs are at hand, that none is forgotten.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from admission_documents import GONE, KINDS, Place, document

from flota.sources.admission import admit
from flota.sources.admission.fault import text

RULE: Place = ("spec", "rules", 0)
FILTERS: Place = (*RULE, "filters")
MATCH: Place = (*RULE, "matches", 0)
PATH: Place = (*MATCH, "path")
LISTENERS: Place = ("spec", "listeners")
HEADERS = {"set": [{"name": "a", "value": "b"}]}
REDIRECT_PREFIX = {"type": "RequestRedirect", "requestRedirect": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}
REWRITE_PREFIX = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}
EXACT = [{"path": {"type": "Exact", "value": "/x"}}]
Change = tuple[Place, object]


def _path(value: str) -> list[Change]:
    return [(PATH, {"type": "Exact", "value": value}), (FILTERS, [])]


OFFICIAL: list[tuple[str, str, list[Change], str]] = [
    ("04db2332", "BackendTLSPolicy", [(("spec", "targetRefs", 1, "sectionName"), GONE)], "spec.targetRefs[1].sectionName"),
    ("ae7c04b5", "BackendTLSPolicy", [(("spec", "targetRefs", 1, "sectionName"), "x")], "spec.targetRefs[1]"),
    ("65c1b111", "BackendTLSPolicy", [(("spec", "validation", "wellKnownCACertificates"), "System")], "spec.validation.wellKnownCACertificates"),
    ("b34e39db", "BackendTLSPolicy", [(("spec", "validation", "caCertificateRefs"), GONE)], "spec.validation.caCertificateRefs"),
    ("9f2f8a20", "BackendTLSPolicy", [(("spec", "validation", "subjectAltNames", 0), {"type": "Hostname"})], "spec.validation.subjectAltNames[0].hostname"),
    ("b8b9b475", "BackendTLSPolicy", [(("spec", "validation", "subjectAltNames", 1, "hostname"), "a")], "spec.validation.subjectAltNames[1].hostname"),
    ("6f0bb440", "BackendTLSPolicy", [(("spec", "validation", "subjectAltNames", 1), {"type": "URI"})], "spec.validation.subjectAltNames[1].uri"),
    ("3aadac42", "BackendTLSPolicy", [(("spec", "validation", "subjectAltNames", 0, "uri"), "a://b")], "spec.validation.subjectAltNames[0].uri"),
    ("1ff45617", "Gateway", [(("spec", "addresses", 1), {"value": "127.0.0.1"})], "spec.addresses[1].value"),
    ("f109da0c", "Gateway", [(("spec", "addresses", 0), {"type": "Hostname", "value": "gw.example.com"})], "spec.addresses[1].value"),
    ("dac2850f", "Gateway", [(("spec", "addresses", 1, "value"), "Not A Host")], "spec.addresses[1].value"),
    ("9d8358ec", "Gateway", [(("spec", "infrastructure", "annotations"), {"a b": "x"})], "spec.infrastructure.annotations.a b"),
    ("9d8358ec", "Gateway", [(("spec", "infrastructure", "labels"), {"-x": "x"})], "spec.infrastructure.labels.-x"),
    ("4b9766f7", "Gateway", [(("spec", "infrastructure", "labels"), {f"{'a.' * 126}a/x": "x"})], f"spec.infrastructure.labels[{'a.' * 126}a/x]"),
    ("78a77239", "Gateway", [((*LISTENERS, 0, "tls"), {"certificateRefs": [{"name": "c"}]})], "spec.listeners[0].tls"),
    ("78a77239", "ListenerSet", [((*LISTENERS, 0, "tls"), {"certificateRefs": [{"name": "c"}]})], "spec.listeners[0].tls"),
    ("aec2bd59", "Gateway", [((*LISTENERS, 1, "tls"), {"mode": "Passthrough"})], "spec.listeners[1].tls.mode"),
    ("79a48446", "Gateway", [((*LISTENERS, 2, "tls"), GONE)], "spec.listeners[2].tls"),
    ("08d23c40", "Gateway", [((*LISTENERS, 3, "hostname"), "a")], "spec.listeners[3].hostname"),
    ("b3c66e24", "Gateway", [((*LISTENERS, 1, "name"), "http")], "spec.listeners[1].name"),
    ("d31959b5", "Gateway", [((*LISTENERS, 4), {"name": "n", "port": 5432, "protocol": "TCP"})], "spec.listeners[4]"),
    ("e3e62c2a", "ListenerSet", [((*LISTENERS, 4), {"name": "n", "port": 5432, "protocol": "TCP"})], "spec.listeners[4]"),
    ("f161b726", "Gateway", [((*LISTENERS, 1, "tls"), {})], "spec.listeners[1].tls.certificateRefs"),
    ("41930737", "Gateway", [(("spec", "tls", "frontend", "perPort", 1, "port"), 443)], "spec.tls.frontend.perPort[1].port"),
    *[
        ("30e99257", kind, [(("spec", "parentRefs"), [{"name": "gw"}, {"name": "gw", "port": 80}])], "spec.parentRefs[1]")
        for kind in ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute")
    ],
    *[
        ("8392cce9", kind, [(("spec", "parentRefs", 1, "sectionName"), "http")], "spec.parentRefs[1]")
        for kind in ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute")
    ],
    ("837b88f5", "GRPCRoute", [(("spec", "rules"), [{"matches": [{}] * 43}] * 3)], "spec.rules"),
    ("dfef9215", "HTTPRoute", [(("spec", "rules"), [{"matches": [{}] * 43}] * 3)], "spec.rules"),
    ("5d343ad9", "HTTPRoute", [(("spec", "rules", 1, "name"), "rich")], "spec.rules[1].name"),
    ("5d343ad9", "GRPCRoute", [(("spec", "rules", 1, "name"), "g")], "spec.rules[1].name"),
    *[
        ("089ed26a", kind, [((*RULE, "backendRefs", 0), {"name": "a"})], "spec.rules[0].backendRefs[0].port")
        for kind in ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute")
    ],
    ("089ed26a", "HTTPRoute", [((*FILTERS, 2, "requestMirror", "backendRef"), {"name": "a"})], "spec.rules[0].filters[2].requestMirror.backendRef.port"),
    ("089ed26a", "HTTPRoute", [((*FILTERS, 5, "externalAuth", "backendRef"), {"name": "a"})], "spec.rules[0].filters[5].externalAuth.backendRef.port"),
    *[
        ("501e61ba", kind, [((*FILTERS, 1), {"type": "RequestHeaderModifier", "requestHeaderModifier": HEADERS})], "spec.rules[0].filters[1].type")
        for kind in ("HTTPRoute", "GRPCRoute")
    ],
    *[
        ("226cc5e3", kind, [((*FILTERS, 0), {"type": "ResponseHeaderModifier", "responseHeaderModifier": HEADERS})], "spec.rules[0].filters[1].type")
        for kind in ("HTTPRoute", "GRPCRoute")
    ],
    ("7b8cf868", "GRPCRoute", [((*FILTERS, 1, "requestHeaderModifier"), HEADERS)], "spec.rules[0].filters[1].requestHeaderModifier"),
    ("eb3032de", "GRPCRoute", [((*FILTERS, 0), {"type": "RequestHeaderModifier"})], "spec.rules[0].filters[0].requestHeaderModifier"),
    ("c0838ca9", "GRPCRoute", [((*FILTERS, 0, "responseHeaderModifier"), HEADERS)], "spec.rules[0].filters[0].responseHeaderModifier"),
    ("a900d763", "GRPCRoute", [((*FILTERS, 1), {"type": "ResponseHeaderModifier"})], "spec.rules[0].filters[1].responseHeaderModifier"),
    ("c2c4ceb3", "GRPCRoute", [((*FILTERS, 0, "requestMirror"), {"backendRef": {"name": "m", "port": 1}})], "spec.rules[0].filters[0].requestMirror"),
    ("479cd4bf", "GRPCRoute", [((*FILTERS, 2), {"type": "RequestMirror"})], "spec.rules[0].filters[2].requestMirror"),
    ("28f68457", "GRPCRoute", [((*FILTERS, 0, "extensionRef"), {"group": "", "kind": "K", "name": "n"})], "spec.rules[0].filters[0].extensionRef"),
    ("32fcae1c", "GRPCRoute", [((*FILTERS, 3), {"type": "ExtensionRef"})], "spec.rules[0].filters[3].extensionRef"),
    ("2179202e", "HTTPRoute", [((*FILTERS, 2, "requestMirror", "percent"), 5)], "spec.rules[0].filters[2].requestMirror.fraction"),
    ("c7c8b7bb", "HTTPRoute", [((*FILTERS, 2, "requestMirror", "fraction", "numerator"), 101)], "spec.rules[0].filters[2].requestMirror.fraction.numerator"),
    ("6cb81017", "GRPCRoute", [((*MATCH, "method"), {"type": "Exact"})], "spec.rules[0].matches[0].method"),
    ("fb8615af", "GRPCRoute", [((*MATCH, "method", "service"), "a-b")], "spec.rules[0].matches[0].method.service"),
    ("7797fc31", "GRPCRoute", [((*MATCH, "method", "method"), "a.b")], "spec.rules[0].matches[0].method.method"),
    ("7a1ec120", "HTTPRoute", [((*RULE, "sessionPersistence", "absoluteTimeout"), GONE)], "spec.rules[0].sessionPersistence.absoluteTimeout"),
    ("14f22f61", "GRPCRoute", [((*RULE, "sessionPersistence", "cookieConfig"), {})], "spec.rules[0].sessionPersistence.cookieConfig"),
    ("80d5779a", "HTTPRoute", [(FILTERS, [{"type": "RequestRedirect", "requestRedirect": {}}])], "spec.rules[0].backendRefs"),
    ("14c17d52", "HTTPRoute", [(FILTERS, [REDIRECT_PREFIX]), ((*RULE, "backendRefs"), []), ((*RULE, "matches"), EXACT)], "spec.rules[0].filters[0].requestRedirect.path"),
    ("0fa5a331", "HTTPRoute", [((*RULE, "matches"), [{}, {}])], "spec.rules[0].filters[3].urlRewrite.path"),
    ("06e14dab", "HTTPRoute", [(FILTERS, []), ((*RULE, "matches"), []), ((*RULE, "backendRefs", 0, "filters"), [REDIRECT_PREFIX])], "spec.rules[0].backendRefs[0].filters[0].requestRedirect.path"),
    ("bf9fd433", "HTTPRoute", [(FILTERS, []), ((*RULE, "matches"), EXACT), ((*RULE, "backendRefs", 0, "filters"), [REWRITE_PREFIX])], "spec.rules[0].backendRefs[0].filters[0].urlRewrite.path"),
    ("24c3fdad", "HTTPRoute", [((*FILTERS, 7), {"type": "RequestRedirect", "requestRedirect": {}}), ((*RULE, "backendRefs"), [])], "spec.rules[0].filters[7]"),
    ("ee6a308c", "HTTPRoute", [((*FILTERS, 7), {"type": "CORS", "cors": {}})], "spec.rules[0].filters[7].type"),
    ("c1f6cb74", "HTTPRoute", [(FILTERS, [{"type": "RequestRedirect", "requestRedirect": {}}] * 2), ((*RULE, "backendRefs"), [])], "spec.rules[0].filters[1].type"),
    ("61ed15b8", "HTTPRoute", [((*FILTERS, 7), {"type": "URLRewrite", "urlRewrite": {}})], "spec.rules[0].filters[7].type"),
    ("1b5e24ab", "HTTPRoute", [((*FILTERS, 0, "cors"), {})], "spec.rules[0].filters[0].cors"),
    ("53315200", "HTTPRoute", [((*FILTERS, 4, "cors"), GONE)], "spec.rules[0].filters[4].cors"),
    ("bec67f21", "HTTPRoute", [((*FILTERS, 0, "requestRedirect"), {}), ((*RULE, "backendRefs"), [])], "spec.rules[0].filters[0].requestRedirect"),
    ("96f72312", "HTTPRoute", [(FILTERS, [{"type": "RequestRedirect"}])], "spec.rules[0].filters[0].requestRedirect"),
    ("bc36c2fa", "HTTPRoute", [((*FILTERS, 0, "urlRewrite"), {})], "spec.rules[0].filters[0].urlRewrite"),
    ("769cafeb", "HTTPRoute", [((*FILTERS, 3, "urlRewrite"), GONE)], "spec.rules[0].filters[3].urlRewrite"),
    ("c8cbd34f", "HTTPRoute", [((*FILTERS, 5, "type"), "ExtensionRef"), ((*FILTERS, 5, "extensionRef"), {"group": "", "kind": "K", "name": "n"})], "spec.rules[0].filters[5].externalAuth"),
    ("3f23e50c", "HTTPRoute", [((*FILTERS, 5, "externalAuth"), GONE)], "spec.rules[0].filters[5].externalAuth"),
    *[
        ("e2610261", "HTTPRoute", [((*FILTERS, 4, "cors", name), ["*", other])], f"spec.rules[0].filters[4].cors.{name}")
        for name, other in (("allowOrigins", "https://a"), ("allowMethods", "GET"), ("allowHeaders", "x"))
    ],
    ("fbee517e", "HTTPRoute", [((*FILTERS, 5, "externalAuth", "protocol"), "GRPC")], "spec.rules[0].filters[5].externalAuth.grpc"),
    ("1add1dca", "HTTPRoute", [((*FILTERS, 5, "externalAuth", "grpc"), {})], "spec.rules[0].filters[5].externalAuth.grpc"),
    ("43a774e0", "HTTPRoute", [((*FILTERS, 5, "externalAuth", "http"), GONE)], "spec.rules[0].filters[5].externalAuth.http"),
    ("e2083e9f", "HTTPRoute", [((*FILTERS, 5, "externalAuth", "protocol"), "GRPC")], "spec.rules[0].filters[5].externalAuth.http"),
    ("85716a2b", "HTTPRoute", [((*FILTERS, 3, "urlRewrite", "path"), {"type": "ReplaceFullPath"})], "spec.rules[0].filters[3].urlRewrite.path.replaceFullPath"),
    ("c04f03f4", "HTTPRoute", [((*FILTERS, 3, "urlRewrite", "path", "replaceFullPath"), "/")], "spec.rules[0].filters[3].urlRewrite.path.replaceFullPath"),
    ("4dba3b1d", "HTTPRoute", [((*FILTERS, 3, "urlRewrite", "path", "replacePrefixMatch"), GONE)], "spec.rules[0].filters[3].urlRewrite.path.replacePrefixMatch"),
    ("02cf2852", "HTTPRoute", [((*FILTERS, 3, "urlRewrite", "path", "type"), "ReplaceFullPath")], "spec.rules[0].filters[3].urlRewrite.path.replacePrefixMatch"),
    ("d1b1dcc5", "HTTPRoute", _path("x"), "spec.rules[0].matches[0].path.value"),
    ("2a730cba", "HTTPRoute", _path("/a//b"), "spec.rules[0].matches[0].path.value"),
    ("8c3f86ff", "HTTPRoute", _path("/a/./b"), "spec.rules[0].matches[0].path.value"),
    ("ced0ffea", "HTTPRoute", _path("/a/../b"), "spec.rules[0].matches[0].path.value"),
    ("16add9e2", "HTTPRoute", _path("/a%2fb"), "spec.rules[0].matches[0].path.value"),
    ("5f510e91", "HTTPRoute", _path("/a%2Fb"), "spec.rules[0].matches[0].path.value"),
    ("20989435", "HTTPRoute", _path("/a#b"), "spec.rules[0].matches[0].path.value"),
    ("0c441c9d", "HTTPRoute", _path("/a/.."), "spec.rules[0].matches[0].path.value"),
    ("c36405e2", "HTTPRoute", _path("/a/."), "spec.rules[0].matches[0].path.value"),
    ("1267f055", "HTTPRoute", [((*PATH, "type"), "Regex")], "spec.rules[0].matches[0].path.type"),
    ("67736b8f", "HTTPRoute", _path("/a b"), "spec.rules[0].matches[0].path.value"),
    ("67736b8f", "HTTPRoute", _path("/a%zz"), "spec.rules[0].matches[0].path.value"),
    ("3f02004f", "HTTPRoute", [((*RULE, "timeouts", "request"), "1s")], "spec.rules[0].timeouts.backendRequest"),
    ("0843be6f", "TLSRoute", [(("spec", "hostnames"), ["1.2.3.4"])], "spec.hostnames[0]"),
    ("20123a06", "TLSRoute", [(("spec", "hostnames"), ["A.example"])], "spec.hostnames[0]"),
    ("b31a373d", "TLSRoute", [(("spec", "hostnames"), ["a.*.example"])], "spec.hostnames[0]"),
]  # fmt: skip

NOT_KEPT = {
    "f4f4adcf": "an edited file is a deleted and a created object, so nothing is immutable",
    "b3d66a64": "about status, which is read from nobody",
    "05b73fcd": "XBackend has no effect yet",
    "d5703499": "XBackend has no effect yet",
    "656319bc": "XBackend has no effect yet",
    "217c2b8d": "XBackend has no effect yet",
    "6f07595e": "XBackendTrafficPolicy has no effect yet",
    "e95bafc3": "XBackendTrafficPolicy has no effect yet",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_valid_document_of_each_kind_is_admitted(kind: str) -> None:
    admission = admit(document(kind))
    assert (admission.verdict, [f for f in admission.faults if f.reason != "NotSupportedYet"]) == ("admitted", [])


@pytest.mark.parametrize(("rule", "kind", "changes", "where"), OFFICIAL, ids=[f"{kind}-{rule}" for rule, kind, _, _ in OFFICIAL])
def test_a_document_that_breaks_an_official_rule_is_refused_there(rule: str, kind: str, changes: list[Change], where: str) -> None:
    admission = admit(document(kind, *changes))
    assert admission.verdict == "refused"
    assert admission.object is None
    assert where in {text(fault.path) for fault in admission.faults}, admission.faults
    assert all(fault.message.startswith(text(fault.path)) for fault in admission.faults)


def _crds() -> Path:
    cache = Path(os.environ.get("GOMODCACHE") or Path(os.environ.get("GOPATH", Path.home() / "go")) / "pkg/mod")
    folder = cache / "sigs.k8s.io/gateway-api@v1.6.1/config/crd/experimental"
    if not folder.is_dir():
        pytest.skip(f"no Gateway API v1.6.1 in the Go module cache ({folder}): go mod download sigs.k8s.io/gateway-api@v1.6.1")
    return folder


def _expressions(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from (each["rule"] for each in schema.get("x-kubernetes-validations", ()))
        for inner in schema.values():
            yield from _expressions(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _expressions(inner)


def test_no_official_rule_is_forgotten() -> None:
    official = {
        hashlib.sha256(rule.encode()).hexdigest()[:8]
        for file in _crds().glob("*.yaml")
        for crd in yaml.load_all(file.read_bytes(), Loader=yaml.CSafeLoader)
        if crd and crd.get("kind") == "CustomResourceDefinition"
        for rule in _expressions(crd["spec"]["versions"])
    }
    tested = {rule for rule, _, _, _ in OFFICIAL}
    assert official == tested | NOT_KEPT.keys()
