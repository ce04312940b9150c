"""One valid document per kind, and a way to change it, for the tests of admission."""

import copy
from typing import Any

Document = dict[str, Any]
Place = tuple[str | int, ...]
GONE = object()


def _filter_rich_rule() -> Document:
    return {
        "name": "rich",
        "matches": [
            {
                "path": {"type": "PathPrefix", "value": "/api"},
                "method": "GET",
                "headers": [{"name": "x-tier", "value": "gold"}, {"name": "x-id", "type": "RegularExpression", "value": "[0-9]+"}],
                "queryParams": [{"name": "q", "value": "1"}],
            }
        ],
        "filters": [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}], "remove": ["c"]}},
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "a", "value": "b c"}]}},
            {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "m", "port": 80}, "fraction": {"numerator": 1}}},
            {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}},
            {"type": "CORS", "cors": {"allowOrigins": ["https://*.example.com"], "allowMethods": ["GET"]}},
            {"type": "ExternalAuth", "externalAuth": {"protocol": "HTTP", "http": {}, "backendRef": {"name": "a", "port": 80}}},
            {"type": "ExtensionRef", "extensionRef": {"group": "x.io", "kind": "Foo", "name": "f"}},
        ],
        "backendRefs": [
            {"name": "a", "port": 80, "weight": 3},
            {"group": "multicluster.x-k8s.io", "kind": "ServiceImport", "name": "b", "port": 80, "namespace": "other"},
        ],
        "timeouts": {"request": "10s", "backendRequest": "2s500ms"},
        "retry": {"codes": [502, 503], "attempts": 2, "backoff": "100ms"},
        "sessionPersistence": {"type": "Cookie", "absoluteTimeout": "1h", "cookieConfig": {"lifetimeType": "Permanent"}},
    }


def _grpc_rule() -> Document:
    return {
        "name": "g",
        "matches": [{"method": {"service": "a.b.C", "method": "Do"}, "headers": [{"name": "x", "value": "y"}]}],
        "filters": [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]}},
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["a"]}},
            {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "m", "port": 80}, "percent": 5}},
            {"type": "ExtensionRef", "extensionRef": {"group": "x.io", "kind": "Foo", "name": "f"}},
        ],
        "backendRefs": [{"name": "a", "port": 80}],
        "sessionPersistence": {"type": "Header", "sessionName": "s"},
    }


_PARENTS = [{"name": "gw", "sectionName": "http"}, {"name": "gw", "sectionName": "https"}, {"name": "gw", "namespace": "infra"}]
_GATEWAY = "gateway.networking.k8s.io/v1"
_LISTENERS = [
    {"name": "http", "port": 80, "protocol": "HTTP", "hostname": "*.example.com", "allowedRoutes": {"namespaces": {"from": "All"}}},
    {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "cert"}]}},
    {"name": "pass", "port": 443, "protocol": "TLS", "hostname": "a.example.com", "tls": {"mode": "Passthrough"}},
    {"name": "tcp", "port": 5432, "protocol": "TCP"},
]
_L4_RULES = [{"name": "only", "backendRefs": [{"name": "db", "port": 5432}]}]
_PODS = {
    "metadata": {"labels": {"app": "a"}},
    "spec": {
        "containers": [
            {
                "name": "web",
                "command": ["/bin/app"],
                "args": ["--port", "$(PORT)"],
                "env": [{"name": "PORT", "value": "80"}, {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "ports": [{"name": "http", "containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1},
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
            }
        ]
    },
}

_VALID: dict[str, tuple[str, Document]] = {
    "GatewayClass": (_GATEWAY, {"spec": {"controllerName": "flota.dev/gateway-controller", "description": "d"}}),
    "Gateway": (
        _GATEWAY,
        {
            "spec": {
                "gatewayClassName": "flota",
                "listeners": _LISTENERS,
                "addresses": [{"value": "127.0.0.1"}, {"type": "Hostname", "value": "gw.example.com"}],
                "infrastructure": {"labels": {"a": "b"}, "annotations": {"x.io/a": "b c"}},
                "tls": {
                    "frontend": {
                        "default": {"validation": {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}]}},
                        "perPort": [{"port": 443, "tls": {}}, {"port": 444, "tls": {}}],
                    }
                },
            }
        },
    ),
    "ListenerSet": (_GATEWAY, {"spec": {"parentRef": {"name": "gw"}, "listeners": _LISTENERS}}),
    "HTTPRoute": (
        _GATEWAY,
        {"spec": {"parentRefs": _PARENTS, "hostnames": ["a.example.com"], "rules": [_filter_rich_rule(), {"name": "plain"}]}},
    ),
    "GRPCRoute": (_GATEWAY, {"spec": {"parentRefs": _PARENTS, "hostnames": ["a.example.com"], "rules": [_grpc_rule(), {"name": "h"}]}}),
    "TLSRoute": (_GATEWAY, {"spec": {"parentRefs": _PARENTS, "hostnames": ["*.example.com"], "rules": _L4_RULES}}),
    "TCPRoute": (_GATEWAY, {"spec": {"parentRefs": _PARENTS, "rules": _L4_RULES}}),
    "UDPRoute": (_GATEWAY, {"spec": {"parentRefs": _PARENTS, "rules": _L4_RULES}}),
    "ReferenceGrant": (
        _GATEWAY,
        {"spec": {"from": [{"group": "x.io", "kind": "Foo", "namespace": "a"}], "to": [{"group": "", "kind": "Secret"}]}},
    ),
    "BackendTLSPolicy": (
        _GATEWAY,
        {
            "spec": {
                "targetRefs": [
                    {"group": "", "kind": "Service", "name": "a", "sectionName": "x"},
                    {"group": "", "kind": "Service", "name": "a", "sectionName": "y"},
                ],
                "validation": {
                    "hostname": "a.example.com",
                    "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}],
                    "subjectAltNames": [{"type": "Hostname", "hostname": "*.example.com"}, {"type": "URI", "uri": "spiffe://t/w"}],
                },
            }
        },
    ),
    "XBackend": (
        "gateway.networking.x-k8s.io/v1alpha1",
        {
            "spec": {
                "type": "ExternalHostname",
                "port": {"port": 443},
                "externalHostname": {"hostname": "api.example.com"},
                "protocol": "HTTP",
                "tls": {
                    "mode": "ClientAndServer",
                    "clientCertificateRef": {"name": "own"},
                    "validation": {
                        "hostname": "api.example.com",
                        "wellKnownCACertificates": "System",
                        "subjectAltNames": [{"type": "Hostname", "hostname": "*.example.com"}, {"type": "URI", "uri": "spiffe://t/w"}],
                    },
                },
            }
        },
    ),
    "XBackendTrafficPolicy": (
        "gateway.networking.x-k8s.io/v1alpha1",
        {
            "spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": "a"}, {"group": "", "kind": "Service", "name": "b"}],
                "retryConstraint": {"budget": {"percent": 30, "interval": "20s"}, "minRetryRate": {"count": 5, "interval": "2s"}},
                "sessionPersistence": {"absoluteTimeout": "1h", "cookieConfig": {"lifetimeType": "Permanent"}},
            }
        },
    ),
    "ServiceExport": ("multicluster.x-k8s.io/v1beta1", {"spec": {"exportedLabels": {"a": "b"}}}),
    "ServiceImport": (
        "multicluster.x-k8s.io/v1beta1",
        {"spec": {"type": "ClusterSetIP", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}], "ips": ["10.0.0.1"]}},
    ),
    "TrafficPolicy": (
        "flota.dev/v1alpha1",
        {
            "spec": {
                "targetRefs": [{"group": "multicluster.x-k8s.io", "kind": "ServiceImport", "name": "shop"}],
                "prefer": "Order",
                "tiers": [[{"cluster": "us", "weight": 80}, {"cluster": "us-2", "weight": 20}], [{"region": "eu-west"}]],
                "allow": {"regions": ["us-east", "eu-west"]},
                "spill": {"below": "70%"},
                "failBack": {"after": "2s"},
                "replay": "Idempotent",
                "healthCheck": {"path": "/healthz", "interval": "1s"},
            }
        },
    ),
    "ProxyTemplate": (
        "flota.dev/v1alpha1",
        {
            "spec": {
                "image": "proxy:1",
                "resources": {"requests": {"cpu": "1"}},
                "service": {"type": "NodePort", "annotations": {"a": "b"}},
                "autoscaling": {"minReplicas": 2, "maxReplicas": 4},
            }
        },
    ),
    "ClusterSet": (
        "flota.dev/v1alpha1",
        {
            "spec": {
                "clusters": [
                    {"name": "us", "region": "us-east", "zone": "us-east-1a", "manifests": "us"},
                    {"name": "eu", "region": "eu-west"},
                ],
                "distances": [{"between": ["us-east", "eu-west"], "rtt": 80}],
            }
        },
    ),
    "Namespace": ("v1", {}),
    "Service": (
        "v1",
        {
            "spec": {
                "selector": {"app": "a"},
                "ports": [
                    {"name": "http", "port": 80, "targetPort": "web"},
                    {"name": "h2", "port": 81, "appProtocol": "kubernetes.io/h2c"},
                ],
            }
        },
    ),
    "EndpointSlice": (
        "discovery.k8s.io/v1",
        {
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}, "zone": "z"}],
            "ports": [{"name": "http", "port": 80}],
        },
    ),
    "Secret": ("v1", {"type": "kubernetes.io/tls", "data": {"tls.crt": "YQ==", "tls.key": "Yg=="}}),
    "ConfigMap": ("v1", {"data": {"ca.crt": "x"}, "binaryData": {"b": "YQ=="}}),
    "Pod": ("v1", {"spec": _PODS["spec"]}),
    "Deployment": ("apps/v1", {"spec": {"replicas": 2, "selector": {"matchLabels": {"app": "a"}}, "template": _PODS}}),
    "Job": ("batch/v1", {"spec": {"template": {"spec": {**_PODS["spec"], "restartPolicy": "Never"}}}}),
}
KINDS = tuple(_VALID)


def document(kind: str, *changes: tuple[Place, object]) -> Document:
    """The valid document of `kind`, with each (place, value) put in; the value GONE removes."""
    version, body = _VALID[kind]
    made: Document = {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, **copy.deepcopy(body)}
    for place, value in changes:
        put(made, place, value)
    return made


def put(target: Any, place: Place, value: object) -> None:
    """Sets, appends (position = length) or removes what is at `place`."""
    for step in place[:-1]:
        target = target[step] if isinstance(target, list) else target.setdefault(step, {})
    last = place[-1]
    if value is GONE:
        del target[last]
    elif isinstance(target, list) and last == len(target):
        target.append(value)
    else:
        target[last] = value
