"""The cluster's DNS: CoreDNS as a Deployment, as every cluster has it. Pure."""

from rig.api import Object

_COREFILE = """.:53 {
  errors
  ready
  kubernetes cluster.local clusterset.local in-addr.arpa {
    pods insecure
    multicluster clusterset.local
    ttl 5
  }
}
"""
_META = {"name": "coredns", "namespace": "kube-system"}


def documents(address: str) -> list[Object]:
    """All objects; `address` is the ClusterIP that pods are told."""
    labels = {"k8s-app": "kube-dns"}
    ports = [{"name": name, "port": 53, "protocol": protocol} for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))]
    service = {"selector": labels, "clusterIP": address, "ports": ports}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _META},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "coredns"}, "rules": _RULES},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "coredns"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "coredns"},
            "subjects": [{"kind": "ServiceAccount", **_META}],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _META, "data": {"Corefile": _COREFILE}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kube-dns", "namespace": "kube-system"}, "spec": service},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _META, "spec": _deployment(labels)},
    ]


_RULES = [
    {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    {"apiGroups": ["multicluster.x-k8s.io"], "resources": ["serviceimports"], "verbs": ["list", "watch"]},
]


def _deployment(labels: dict[str, str]) -> Object:
    container = {
        "name": "coredns",
        "image": "coredns:rig",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 5},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    spec = {"serviceAccountName": "coredns", "containers": [container], "volumes": [{"name": "config", "configMap": {"name": "coredns"}}]}
    return {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": spec | {"terminationGracePeriodSeconds": 1}},
    }
