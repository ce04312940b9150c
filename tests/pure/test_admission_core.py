# ruff: noqa: E501 — one line per case reads best as a table
"""Rules beyond the CRDs: Kubernetes' own kinds, our own kinds, and the specification's text. One broken document per rule."""

import pytest
from admission_documents import GONE, Place, document

from flota.sources.admission import admit
from flota.sources.admission.fault import text

CONTAINER: Place = ("spec", "containers", 0)
PORTS: Place = ("spec", "ports")
ENDPOINT: Place = ("endpoints", 0)
ROLLING: Place = ("spec", "strategy", "rollingUpdate")
FILTERS: Place = ("spec", "rules", 0, "filters")
NAME: Place = ("metadata", "name")
Change = tuple[Place, object]

REFUSED: list[tuple[str, list[Change], str, str]] = [
    # metadata
    ("HTTPRoute", [(NAME, "Bad_Name")], "metadata.name", "Invalid"),
    ("Service", [(NAME, "8080")], "metadata.name", "Invalid"),
    ("Service", [(NAME, "a.b")], "metadata.name", "Invalid"),
    ("Namespace", [(NAME, "a.b")], "metadata.name", "Invalid"),
    ("ServiceExport", [(NAME, "a.b")], "metadata.name", "Invalid"),
    ("ConfigMap", [(NAME, "a\n")], "metadata.name", "Invalid"),
    ("ConfigMap", [(NAME, "a" * 254)], "metadata.name", "Invalid"),
    ("ConfigMap", [(("metadata", "namespace"), "a.b")], "metadata.namespace", "Invalid"),
    ("ConfigMap", [(("metadata", "labels"), {"a/b/c": ""})], "metadata.labels[a/b/c]", "Invalid"),
    ("ConfigMap", [(("metadata", "labels"), {"a": "b c"})], "metadata.labels.a", "Invalid"),
    ("ConfigMap", [(("metadata", "annotations"), {"a b": ""})], "metadata.annotations.a b", "Invalid"),
    ("ConfigMap", [(("metadata", "annotations"), {"a": "x" * 262144})], "metadata.annotations", "TooLong"),
    # Service
    ("Service", [(PORTS, [])], "spec.ports", "Required"),
    ("Service", [((*PORTS, 1, "name"), GONE)], "spec.ports[1].name", "Required"),
    ("Service", [((*PORTS, 1, "name"), "http")], "spec.ports[1].name", "Duplicate"),
    ("Service", [((*PORTS, 1, "port"), 80)], "spec.ports[1].port", "Duplicate"),
    ("Service", [((*PORTS, 0, "targetPort"), "80")], "spec.ports[0].targetPort", "Invalid"),
    ("Service", [((*PORTS, 0, "targetPort"), 0)], "spec.ports[0].targetPort", "Invalid"),
    ("Service", [((*PORTS, 0, "appProtocol"), "a b")], "spec.ports[0].appProtocol", "Invalid"),
    ("Service", [(("spec", "selector"), {"a": "b c"})], "spec.selector.a", "Invalid"),
    ("Service", [(("spec", "type"), "ExternalName")], "spec.externalName", "Required"),
    ("Service", [(("spec", "type"), "ExternalName"), (("spec", "externalName"), "a"), (("spec", "clusterIP"), "None")], "spec.clusterIP", "Forbidden"),
    ("Service", [(("spec", "type"), "NodePort"), (("spec", "clusterIP"), "None")], "spec.clusterIP", "Invalid"),
    ("Service", [(("spec", "clusterIP"), "x")], "spec.clusterIP", "Invalid"),
    ("Service", [(("spec", "clusterIPs"), ["None", "1.1.1.1"])], "spec.clusterIPs[0]", "Invalid"),
    ("Service", [(("spec", "ipFamilies"), ["IPv4", "IPv4"])], "spec.ipFamilies[1]", "Duplicate"),
    ("Service", [(("spec", "sessionAffinityConfig"), {"clientIP": {"timeoutSeconds": 5}})], "spec.sessionAffinityConfig", "Forbidden"),
    ("Service", [(("spec", "externalIPs"), ["x"])], "spec.externalIPs[0]", "Invalid"),
    ("Service", [(("spec", "healthCheckNodePort"), 3000)], "spec.healthCheckNodePort", "Forbidden"),
    ("Service", [(("spec", "externalTrafficPolicy"), "Local")], "spec.externalTrafficPolicy", "Forbidden"),
    ("Service", [(("spec", "trafficDistribution"), "Near")], "spec.trafficDistribution", "NotSupported"),
    # EndpointSlice
    ("EndpointSlice", [((*ENDPOINT, "addresses"), [])], "endpoints[0].addresses", "Required"),
    ("EndpointSlice", [((*ENDPOINT, "addresses"), ["::1"])], "endpoints[0].addresses[0]", "Invalid"),
    ("EndpointSlice", [((*ENDPOINT, "addresses"), ["0.0.0.0"])], "endpoints[0].addresses[0]", "Invalid"),
    ("EndpointSlice", [((*ENDPOINT, "addresses"), ["127.0.0.01"])], "endpoints[0].addresses[0]", "Invalid"),
    ("EndpointSlice", [((*ENDPOINT, "hostname"), "a.b")], "endpoints[0].hostname", "Invalid"),
    ("EndpointSlice", [(("addressType",), "FQDN"), ((*ENDPOINT, "addresses"), ["A_b"])], "endpoints[0].addresses[0]", "Invalid"),
    ("EndpointSlice", [(("ports", 1), {"name": "http", "port": 81})], "ports[1].name", "Duplicate"),
    ("EndpointSlice", [(("endpoints",), [{"addresses": ["127.0.0.1"]}] * 1001)], "endpoints", "TooMany"),
    # Secret, ConfigMap
    ("Secret", [(("data", "tls.key"), GONE)], "data[tls.key]", "Required"),
    ("Secret", [(("data", "a/b"), "")], "data[a/b]", "Invalid"),
    ("Secret", [(("type",), "kubernetes.io/basic-auth")], "data", "Required"),
    ("Secret", [(("type",), "kubernetes.io/dockerconfigjson"), (("stringData",), {".dockerconfigjson": "{"})], "data[.dockerconfigjson]", "Invalid"),
    ("ConfigMap", [(("data", "b"), "")], "binaryData.b", "Duplicate"),
    ("ConfigMap", [(("data", "b"), "x" * 1_048_577), (("binaryData",), {})], "data", "TooLong"),
    # Pod, Deployment, Job
    ("Pod", [(("spec", "containers"), [])], "spec.containers", "Required"),
    ("Pod", [((*CONTAINER, "command"), GONE)], "spec.containers[0].command", "Required"),
    ("Pod", [((*CONTAINER, "name"), "a.b")], "spec.containers[0].name", "Invalid"),
    ("Pod", [(("spec", "initContainers"), [{"name": "web", "command": ["x"]}])], "spec.containers[0].name", "Duplicate"),
    ("Pod", [((*CONTAINER, "ports", 0, "name"), "Web")], "spec.containers[0].ports[0].name", "Invalid"),
    ("Pod", [((*CONTAINER, "env", 0, "name"), "A=B")], "spec.containers[0].env[0].name", "Invalid"),
    ("Pod", [((*CONTAINER, "env", 1, "value"), "x")], "spec.containers[0].env[1].valueFrom", "Forbidden"),
    ("Pod", [((*CONTAINER, "env", 1, "valueFrom"), {})], "spec.containers[0].env[1].valueFrom", "Invalid"),
    ("Pod", [((*CONTAINER, "env", 1, "valueFrom", "fieldRef", "fieldPath"), "spec.x")], "spec.containers[0].env[1].valueFrom.fieldRef.fieldPath", "NotSupported"),
    ("Pod", [((*CONTAINER, "envFrom"), [{}])], "spec.containers[0].envFrom[0]", "Invalid"),
    ("Pod", [((*CONTAINER, "readinessProbe", "exec"), {"command": ["x"]})], "spec.containers[0].readinessProbe", "Invalid"),
    ("Pod", [((*CONTAINER, "readinessProbe", "httpGet", "port"), 0)], "spec.containers[0].readinessProbe.httpGet.port", "Invalid"),
    ("Pod", [((*CONTAINER, "livenessProbe"), {"tcpSocket": {"port": 1}, "successThreshold": 2})], "spec.containers[0].livenessProbe.successThreshold", "Invalid"),
    ("Pod", [((*CONTAINER, "lifecycle"), {"preStop": {}})], "spec.containers[0].lifecycle.preStop", "Invalid"),
    ("Deployment", [(("spec", "selector", "matchLabels"), {"app": "b"})], "spec.template.metadata.labels", "Invalid"),
    ("Deployment", [(("spec", "selector"), {})], "spec.selector", "Invalid"),
    ("Deployment", [(("spec", "selector", "matchExpressions"), [{"key": "app", "operator": "In"}])], "spec.selector.matchExpressions[0].values", "Required"),
    ("Deployment", [(("spec", "template", "spec", "restartPolicy"), "Never")], "spec.template.spec.restartPolicy", "NotSupported"),
    ("Deployment", [(ROLLING, {"maxUnavailable": 0, "maxSurge": "0%"})], "spec.strategy.rollingUpdate.maxUnavailable", "Invalid"),
    ("Deployment", [(ROLLING, {"maxUnavailable": "101%"})], "spec.strategy.rollingUpdate.maxUnavailable", "Invalid"),
    ("Deployment", [(ROLLING, {"maxSurge": "x"})], "spec.strategy.rollingUpdate.maxSurge", "Invalid"),
    ("Deployment", [(ROLLING, {}), (("spec", "strategy", "type"), "Recreate")], "spec.strategy.rollingUpdate", "Forbidden"),
    ("Deployment", [(("spec", "minReadySeconds"), 600)], "spec.progressDeadlineSeconds", "Invalid"),
    ("Job", [(("spec", "template", "spec", "restartPolicy"), GONE)], "spec.template.spec.restartPolicy", "Required"),
    ("Job", [(("spec", "selector"), {"matchLabels": {"a": "b"}})], "spec.selector", "Forbidden"),
    ("Job", [(("spec", "completionMode"), "Indexed")], "spec.completions", "Required"),
    # the text of the specification, where the CRDs are looser
    ("HTTPRoute", [(("spec", "hostnames"), ["1.2.3.4"])], "spec.hostnames[0]", "Invalid"),
    ("Gateway", [(("spec", "listeners", 0, "hostname"), "1.2.3.4")], "spec.listeners[0].hostname", "Invalid"),
    ("Gateway", [(("spec", "listeners", 1, "tls"), GONE)], "spec.listeners[1].tls", "Required"),
    ("Gateway", [(("spec", "addresses", 0, "value"), "localhost")], "spec.addresses[0].value", "Invalid"),
    ("HTTPRoute", [((*FILTERS, 0, "requestHeaderModifier", "remove"), ["a b"])], "spec.rules[0].filters[0].requestHeaderModifier.remove[0]", "Invalid"),
    ("HTTPRoute", [((*FILTERS, 3, "urlRewrite", "path", "replacePrefixMatch"), "/\r\nx")], "spec.rules[0].filters[3].urlRewrite.path.replacePrefixMatch", "Invalid"),
    ("HTTPRoute", [(("spec", "rules", 0, "retry", "codes"), [500, 500])], "spec.rules[0].retry.codes[1]", "Duplicate"),
    ("HTTPRoute", [(("spec", "rules", 0, "matches", 0, "headers", 1, "value"), "(a")], "spec.rules[0].matches[0].headers[1].value", "Invalid"),
    ("HTTPRoute", [(("spec", "rules", 0, "matches", 0, "headers", 1, "name"), "x-tier")], "spec.rules[0].matches[0].headers[1].name", "Duplicate"),
    ("GRPCRoute", [(("spec", "rules", 0, "matches", 0, "method"), {"type": "RegularExpression", "service": "(?=a)"})], "spec.rules[0].matches[0].method.service", "Invalid"),
    ("ServiceImport", [(("spec", "ports", 1), {"name": "b", "port": 80})], "spec.ports[1].port", "Duplicate"),
    # our own kinds
    ("TrafficPolicy", [(("spec", "targetRefs", 0, "kind"), "Pod")], "spec.targetRefs[0].kind", "NotSupported"),
    ("TrafficPolicy", [(("spec", "targetRefs", 0, "sectionName"), "a")], "spec.targetRefs[0].sectionName", "Forbidden"),
    ("TrafficPolicy", [(("spec", "targetRefs", 1), {"group": "multicluster.x-k8s.io", "kind": "ServiceImport", "name": "shop"})], "spec.targetRefs[1]", "Duplicate"),
    ("Gateway", [(("spec", "addresses", 0), {"value": ""})], "spec.addresses[0].value", "Invalid"),
    ("Gateway", [(("spec", "addresses", 0), {"type": "Hostname", "value": ""})], "spec.addresses[0].value", "Invalid"),
    ("ProxyTemplate", [(("spec", "autoscaling", "minReplicas"), 5)], "spec.autoscaling.minReplicas", "Invalid"),
    ("ProxyTemplate", [(("spec", "replicas"), 3)], "spec.replicas", "Forbidden"),
    ("TrafficPolicy", [(("spec", "prefer"), "Nearest")], "spec.tiers", "Forbidden"),
    ("TrafficPolicy", [(("spec", "prefer"), "Weights")], "spec.tiers", "Invalid"),
    ("TrafficPolicy", [(("spec", "tiers"), GONE)], "spec.tiers", "Required"),
    ("TrafficPolicy", [(("spec", "tiers", 1, 0), {"cluster": "us"})], "spec.tiers[1][0]", "Duplicate"),
    ("TrafficPolicy", [(("spec", "tiers", 1, 0, "cluster"), "x")], "spec.tiers[1][0]", "Invalid"),
    ("TrafficPolicy", [(("spec", "tiers", 1, 0, "weight"), 0)], "spec.tiers[1]", "Invalid"),
    ("TrafficPolicy", [(("spec", "forbid"), {"clusters": ["us"]})], "spec.forbid", "Forbidden"),
    ("TrafficPolicy", [(("spec", "allow"), {})], "spec.allow", "Required"),
    ("TrafficPolicy", [(("spec", "spill", "below"), "0%")], "spec.spill.below", "Invalid"),
    ("TrafficPolicy", [(("spec", "spill", "below"), "170%")], "spec.spill.below", "Invalid"),
    ("TrafficPolicy", [(("spec", "spill", "below"), 70)], "spec.spill.below", "TypeInvalid"),
    ("TrafficPolicy", [(("spec", "prefer"), "nearest")], "spec.prefer", "NotSupported"),
    ("TrafficPolicy", [(("spec", "failBack", "after"), "2h")], "spec.failBack.after", "Invalid"),
    ("TrafficPolicy", [(("spec", "healthCheck", "interval"), "0s")], "spec.healthCheck.interval", "Invalid"),
    ("TrafficPolicy", [(("spec", "healthCheck", "path"), "x")], "spec.healthCheck.path", "Invalid"),
    ("ClusterSet", [(("spec", "clusters", 1, "name"), "us")], "spec.clusters[1].name", "Duplicate"),
    ("ClusterSet", [(("spec", "clusters", 0, "manifests"), "../x")], "spec.clusters[0].manifests", "Invalid"),
    ("ClusterSet", [(("spec", "clusters", 0, "manifests"), "/x")], "spec.clusters[0].manifests", "Invalid"),
    ("ClusterSet", [(("spec", "distances", 0, "between"), ["us-east", "mars"])], "spec.distances[0].between[1]", "NotSupported"),
    ("ClusterSet", [(("spec", "distances", 0, "between"), ["us-east", "us-east"])], "spec.distances[0].between", "Invalid"),
    ("ClusterSet", [(("spec", "distances", 1), {"between": ["eu-west", "us-east"], "rtt": 1})], "spec.distances[1]", "Duplicate"),
    ("ClusterSet", [(("spec", "distances", 0, "rtt"), -1)], "spec.distances[0].rtt", "Invalid"),
]  # fmt: skip

ADMITTED: list[tuple[str, list[Change]]] = [
    ("Service", [(("spec", "clusterIP"), "None"), (PORTS, [])]),
    ("Service", [(("spec",), {"type": "ExternalName", "externalName": "a.example.com."})]),
    ("Service", [((*PORTS, 1), {"name": "udp", "port": 80, "protocol": "UDP"})]),
    ("EndpointSlice", [(("addressType",), "IPv6"), ((*ENDPOINT, "addresses"), ["::1"])]),
    ("Secret", [(("type",), "Opaque"), (("data",), GONE)]),
    ("Secret", [(("data", "tls.key"), "")]),
    ("HTTPRoute", [(("spec", "rules", 0, "matches", 0, "headers", 1, "name"), "X-TIER")]),  # first one wins, says the text
    ("HTTPRoute", [(("spec", "rules", 0, "timeouts", "request"), "0s")]),
    ("HTTPRoute", [(("spec", "rules"), GONE)]),
    ("TrafficPolicy", [(("spec",), {"targetRefs": [{"group": "", "kind": "Service", "name": "a"}]})]),
    ("TrafficPolicy", [(("spec", "spill"), "Never")]),
    ("TrafficPolicy", [(("spec", "spill", "below"), "Never")]),
    ("TrafficPolicy", [(("spec", "allow"), GONE), (("spec", "forbid"), {"regions": ["eu-west"]})]),
    ("Pod", [((*CONTAINER, "image"), "nginx"), ((*CONTAINER, "command"), GONE)]),
]


@pytest.mark.parametrize(
    ("kind", "changes", "where", "reason"), REFUSED, ids=[f"{kind}-{where}-{reason}" for kind, _, where, reason in REFUSED]
)
def test_refused(kind: str, changes: list[Change], where: str, reason: str) -> None:
    admission = admit(document(kind, *changes))
    assert admission.verdict == "refused"
    assert (where, reason) in {(text(fault.path), fault.reason) for fault in admission.faults}, admission.faults


@pytest.mark.parametrize(("kind", "changes"), ADMITTED)
def test_admitted(kind: str, changes: list[Change]) -> None:
    admission = admit(document(kind, *changes))
    assert admission.verdict == "admitted", admission.faults


def test_an_expression_is_refused_with_re2s_reason_and_position() -> None:
    value = ("spec", "rules", 0, "matches", 0, "path")
    route = document("HTTPRoute", (value, {"type": "RegularExpression", "value": "/ab(?=c)"}), (FILTERS, []))
    (fault,) = admit(route).faults
    assert "at character 4: invalid perl operator: (?=" in fault.message
