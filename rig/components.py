"""The command lines of etcd, kube-apiserver and kube-controller-manager. Pure."""

from pathlib import Path
from typing import NamedTuple

CONTROLLERS = (
    "clusterrole-aggregation-controller", "cronjob-controller", "daemonset-controller", "deployment-controller", "disruption-controller",
    "endpointslice-controller", "endpointslice-mirroring-controller", "endpoints-controller", "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller", "job-controller", "namespace-controller", "pod-garbage-collector-controller",
    "replicaset-controller",
    "replicationcontroller-controller", "resourcequota-controller", "root-ca-certificate-publisher-controller", "serviceaccount-controller",
    "statefulset-controller", "ttl-after-finished-controller",
)  # fmt: skip
"""All that need no cloud, no volumes and no kubelet's lease: the rig's nodes renew none."""


class ClusterPlan(NamedTuple):
    """Where one cluster's control plane listens and keeps its files."""

    name: str
    number: int
    """From 0; tells the address ranges of clusters apart."""
    folder: Path
    """Certificates and kubeconfig files of the components."""
    port: int
    """Of the API server, on 127.0.0.1."""
    controllers_port: int
    etcd: str
    """URL."""
    address: str = ""
    """Where pods reach the API server; empty where there are no pods, and then it listens on 127.0.0.1 only."""

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def services(self) -> str:
        """The range of ClusterIPs; .1 in it is the API server itself."""
        return f"10.{96 + self.number}.0.0/16"

    @property
    def pods(self) -> str:
        return f"10.{160 + self.number}.0.0/16"

    @property
    def balanced(self) -> str:
        """The first three numbers of the addresses that Services of type LoadBalancer get."""
        return f"127.88.{self.number}"

    @property
    def resolver(self) -> str:
        """The address of the cluster's DNS."""
        return f"10.{96 + self.number}.0.10"

    def file(self, name: str) -> str:
        return str(self.folder / name)


def etcd(data: Path, client_port: int, peer_port: int) -> tuple[str, ...]:
    """One member that never waits for the disk: what a rig holds need not survive the machine."""
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    return (
        "--name=rig",
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=rig={peer}",
        "--unsafe-no-fsync",
        "--quota-backend-bytes=8589934592",
        "--auto-compaction-retention=10m",
        "--log-level=warn",
    )


def api_server(plan: ClusterPlan, authorization: str, feature_gates: str = "") -> tuple[str, ...]:
    """`authorization` is RBAC or AlwaysAllow. Clusters share one etcd, apart by prefix."""
    gates = (f"--feature-gates={feature_gates}",) if feature_gates else ()
    return (
        f"--etcd-servers={plan.etcd}",
        f"--etcd-prefix=/{plan.name}",
        *_where(plan),
        f"--secure-port={plan.port}",
        f"--tls-cert-file={plan.file('server.crt')}",
        f"--tls-private-key-file={plan.file('server.key')}",
        f"--client-ca-file={plan.file('ca.crt')}",
        f"--kubelet-certificate-authority={plan.file('ca.crt')}",
        f"--kubelet-client-certificate={plan.file('kubelet-client.crt')}",
        f"--kubelet-client-key={plan.file('kubelet-client.key')}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={plan.file('tokens.crt')}",
        f"--service-account-signing-key-file={plan.file('tokens.key')}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-cluster-ip-range={plan.services}",
        f"--authorization-mode={authorization}",
        "--allow-privileged=true",
        # Nobody would take the taint away again: there is no node life cycle controller.
        "--disable-admission-plugins=TaintNodesByCondition",
        "--profiling=false",
        *gates,
    )


def _where(plan: ClusterPlan) -> tuple[str, ...]:
    if plan.address:
        return "--bind-address=0.0.0.0", f"--advertise-address={plan.address}", "--endpoint-reconciler-type=master-count"
    # An EndpointSlice may not hold 127.0.0.1, so the Service `kubernetes` stays without endpoints.
    return "--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"


def controller_manager(plan: ClusterPlan) -> tuple[str, ...]:
    kubeconfig = plan.file("controllers.kubeconfig")
    return (
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={plan.controllers_port}",
        f"--root-ca-file={plan.file('ca.crt')}",
        f"--service-account-private-key-file={plan.file('tokens.key')}",
        "--use-service-account-credentials=true",
        f"--service-cluster-ip-range={plan.services}",
        f"--cluster-cidr={plan.pods}",
        f"--controllers={','.join(CONTROLLERS)}",
        # One of its kind: a lease would only slow the start down.
        "--leader-elect=false",
        "--profiling=false",
    )
