"""Plan backends as Envoy clusters: the upstream side of the settings that keep failed requests at zero ("Set T").

Measured against kill, hang, 503 and silent drop of whole regions; the reason for each value that differs from Envoy's default is beside
it. The routing side is in `retries.py`.
"""

from typing import Any

from flota.envoy.endpoints import EndpointsBuilder
from flota.envoy.protos import Protos
from flota.envoy.upstream import TransportBuilder, health_check, http_options
from flota.envoy.values import ADS, Fields, ms, wrapped
from flota.envoy.wire import CDS, EDS, SDS, Ref, Resource, resource
from flota.plan import Backend, Endpoints
from flota.plan.backends import PANIC_PERCENT, RetryBudget

MANY = 100_000
EJECT_MS = 2000
LONGEST_EJECTION_MS = 8000

COMMON: Fields = {
    # What the plan takes out is out, even while it still passes checks.
    "ignore_health_on_host_removal": True,
}


class ClusterBuilder:
    """Backends → clusters. Message classes and parts that all clusters share are made once."""

    def __init__(self, protos: Protos, system_roots: str, max_body_bytes: int = 1 << 20) -> None:
        """`system_roots`: PEM file of the machine's trusted roots, for BackendTLSPolicies that say "System"."""
        self._class = protos.message("envoy.config.cluster.v3.Cluster")
        self._options = {h2: http_options(protos, h2) for h2 in (False, True)}
        self._transports = TransportBuilder(protos, system_roots)
        self._endpoints = EndpointsBuilder(protos)
        self._breakers = circuit_breakers()
        self._buffer = wrapped(max(max_body_bytes, 1 << 15))

    def resource(self, backend: Backend, names: Endpoints | None = None) -> Resource:
        """The cluster as a resource. `names`: the endpoints of one that asks DNS for them."""
        return resource(CDS, backend.name, self.cluster(backend, names), needs(backend))

    def cluster(self, backend: Backend, names: Endpoints | None = None) -> Any:
        """envoy.config.cluster.v3.Cluster."""
        fields: Fields = {**COMMON, "name": backend.name, "alt_stat_name": backend.label, **self._discovery(backend, names)}
        fields["circuit_breakers"] = self._breakers if backend.retry_budget is None else circuit_breakers(backend.retry_budget)
        fields["connect_timeout"] = ms(backend.connect_timeout_ms)
        fields["per_connection_buffer_limit_bytes"] = self._buffer
        fields["common_lb_config"] = _load_balancing(backend)
        if backend.protocol != "UDP":
            fields["outlier_detection"] = outlier_detection(backend)
        if backend.protocol in ("HTTP1", "HTTP2"):
            fields["typed_extension_protocol_options"] = {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": self._options[backend.protocol == "HTTP2"]}
        if backend.health is not None:
            fields["health_checks"] = [health_check(backend)]
            fields.update(self._transports.for_checks(backend))
        if backend.close_on_failure:
            fields["close_connections_on_host_health_failure"] = True
        if backend.tls is not None:
            fields["transport_socket"] = self._transports.socket(backend.tls, backend.protocol)
        return self._class(**fields)

    def _discovery(self, backend: Backend, names: Endpoints | None) -> Fields:
        if not backend.dns or names is None:
            # Endpoints are named like the cluster, never shared: Envoy doesn't ask again for a name it has already subscribed to.
            return {"type": "EDS", "eds_cluster_config": {"eds_config": ADS}}
        assignment = self._endpoints.assignment(names)
        assignment.cluster_name = backend.name
        return {"type": "STRICT_DNS", "load_assignment": assignment, "dns_lookup_family": "V4_PREFERRED", "respect_dns_ttl": True}


def circuit_breakers(budget: RetryBudget | None = None) -> Fields:
    """No limit but on second attempts: the default of three at a time is the biggest cause of lost requests; the budget must exceed
    what is in flight at a kill."""
    share: Fields = {"budget_percent": {"value": 20.0}, "min_retry_concurrency": wrapped(100)}
    if budget is not None:
        share = {"budget_percent": {"value": float(budget.percent)}, "budget_interval": ms(budget.interval_ms),
                 "min_retry_concurrency": wrapped(budget.least)}
    return {"thresholds": [{"max_connections": wrapped(MANY), "max_pending_requests": wrapped(MANY), "max_requests": wrapped(MANY),
                            "retry_budget": share}]}


def needs(backend: Backend) -> frozenset[Ref]:
    """Its endpoints unless DNS knows them, the trusted roots where a policy names some, and the certificate to show where there is one."""
    found: set[Ref] = set() if backend.dns else {(EDS, backend.name)}
    if backend.tls is not None:
        found |= {(SDS, name) for name in (backend.tls.ca, backend.tls.certificate) if name is not None}
    return frozenset(found)


def _load_balancing(backend: Backend) -> Fields:
    fields: Fields = {
        "update_merge_window": ms(0),  # the default holds changes of health back for a second
        # All endpoints of all tiers out: use them all rather than none. Below the default of 50 %, so that a dead region gets nothing
        # while another one serves.
        "healthy_panic_threshold": {"value": float(PANIC_PERCENT)},
    }
    if backend.strict_weights:
        fields["locality_weighted_lb_config"] = {}
    return fields


def outlier_detection(backend: Backend) -> Fields:
    """Passive health: who answers 502, 503 or 504 three times running, or lets too many attempts go without an answer, is left out for
    two seconds, longer each time up to eight (or what the policy asks for). Meanwhile Flota's own probes judge, where it runs.
    """
    eject = max(EJECT_MS, backend.fail_back_ms)
    off = ("consecutive_local_origin_failure", "consecutive_5xx", "success_rate", "local_origin_success_rate", "failure_percentage")
    return {
        "split_external_local_origin_errors": True,
        "interval": ms(250),
        "base_ejection_time": ms(eject),
        "max_ejection_time": ms(max(LONGEST_EJECTION_MS, eject)),
        # A share of all endpoints of all tiers. Regions differ in size, so no smaller share lets the bigger one go whole (6 of 8) and
        # spares the smaller (2 of 8). The guard of the last region is the panic threshold: with every endpoint ejected, all are used.
        # Measured with both regions sick: the same failures and attempts as with a cap of one half.
        "max_ejection_percent": wrapped(100),
        "consecutive_gateway_failure": wrapped(3),
        "enforcing_consecutive_gateway_failure": wrapped(100),
        # A rate, not a count: the far region sees only second attempts, so no good answer would reset its count. A ready connection
        # counts as a success even of a hung process, so a hang is about 50 % failures.
        "enforcing_failure_percentage_local_origin": wrapped(100),
        "failure_percentage_threshold": wrapped(30),
        "failure_percentage_minimum_hosts": wrapped(1),
        "failure_percentage_request_volume": wrapped(10),
        **{f"enforcing_{name}": wrapped(0) for name in off},
        # A shallow check must not bring back who fails on the real path.
        "successful_active_health_check_uneject_host": wrapped(False),
    }
