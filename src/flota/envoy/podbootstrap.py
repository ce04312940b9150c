"""What the Envoy of a proxy pod is started with: it finds its control plane by TCP and proves with a certificate whose proxy it is.

Its node id is given on the command line (`--service-node`), as each pod has one of its own.
"""

import ipaddress
from pathlib import PurePosixPath
from typing import Any

import msgspec
from msgspec import Struct

from flota.envoy.bootstrap import MAX_CONNECTIONS, ads_cluster, dynamic_resources, overload, runtime, statistics

READY_PORT = 19001
"""Where a pod tells `/ready` and `/stats/prometheus`, and nothing else of its admin interface."""
CREDENTIALS = PurePosixPath("/etc/flota/xds")
ADMIN = PurePosixPath("/var/run/flota/admin")
CERTIFICATE, KEY, ROOTS = "tls.crt", "tls.key", "ca.crt"
CERTIFICATE_SDS, ROOTS_SDS = "certificate.json", "roots.json"
_KEY_MATERIAL = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
_HTTP = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
_FAULT = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
_DRAIN = """function envoy_on_request(request)
  if request:headers():get(":path") == "PATH" then
    local asked = {[":method"] = "POST", [":path"] = "/drain_listeners?graceful&skip_exit", [":authority"] = "admin"}
    request:httpCall("flota-admin", asked, "", 5000)
  end
end
"""
_UPSTREAM_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


class PodProxy(Struct, frozen=True):
    """Where a proxy pod is and whom it follows. `xds`: (host, port) of Flota; `server_uri`: the name in Flota's certificate."""

    cluster: str
    region: str
    zone: str
    xds: tuple[str, int]
    server_uri: str
    credentials: str = str(CREDENTIALS)
    """Folder with the certificate, as `credentials` gives it."""
    admin: str = str(ADMIN)
    """Path of the admin socket, at most 107 bytes."""
    ready: tuple[str, int] = ("0.0.0.0", READY_PORT)  # noqa: S104  (a pod's own address)
    drain_path: str = ""
    """A GET of it on the readiness port begins the end: connections are asked to finish, and the answer comes after `drain_s`. Whoever
    knows it can end the proxy, so it is a secret of the Gateway's. Empty = there is none."""
    drain_s: int = 30


def pod_bootstrap(proxy: PodProxy) -> bytes:
    """envoy.config.bootstrap.v3.Bootstrap as JSON, the same bytes for the same values."""
    message = {
        "node": {"cluster": proxy.cluster, "locality": {"region": proxy.region, "zone": proxy.zone, "sub_zone": proxy.cluster}},
        "admin": {"address": {"pipe": {"path": proxy.admin, "mode": 0o600}}, "ignore_global_conn_limit": True},
        "static_resources": {"clusters": [_xds(proxy), _admin(proxy)], "listeners": [_ready(proxy)]},
        "dynamic_resources": dynamic_resources(),
        **statistics(),
        "layered_runtime": runtime(),
        "overload_manager": overload(MAX_CONNECTIONS),
    }
    return msgspec.json.encode(message, order="sorted")


def credentials(certificate: bytes, key: bytes, roots: bytes, server_uri: str, folder: str = str(CREDENTIALS)) -> dict[str, bytes]:
    """Files of the folder that a pod has its certificate in. Envoy reads them again when the folder changes."""
    watched = {"path": folder}
    pair = {
        "certificate_chain": {"filename": f"{folder}/{CERTIFICATE}"},
        "private_key": {"filename": f"{folder}/{KEY}"},
        "watched_directory": watched,
    }
    trust = {
        "trusted_ca": {"filename": f"{folder}/{ROOTS}"},
        "watched_directory": watched,
        "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": server_uri}}],
    }
    return {
        CERTIFICATE: certificate,
        KEY: key,
        ROOTS: roots,
        CERTIFICATE_SDS: _sds("certificate", tls_certificate=pair),
        ROOTS_SDS: _sds("roots", validation_context=trust),
    }


def _sds(name: str, **content: Any) -> bytes:
    return msgspec.json.encode({"resources": [{"@type": _KEY_MATERIAL, "name": name, **content}]}, order="sorted")


def _xds(proxy: PodProxy) -> dict[str, Any]:
    host, port = proxy.xds
    cluster = ads_cluster({"socket_address": {"address": host, "port_value": port}})
    if not _is_address(host):
        # A name that is not there yet (Flota is just being installed) is asked for again soon.
        again = {"base_interval": "0.2s", "max_interval": "2s"}
        cluster |= {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED", "dns_failure_refresh_rate": again}
    return {**cluster, "transport_socket": _tls(proxy)}


def _tls(proxy: PodProxy) -> dict[str, Any]:
    def source(name: str, file: str) -> dict[str, Any]:
        path = {"path": f"{proxy.credentials}/{file}", "watched_directory": {"path": proxy.credentials}}
        return {"name": name, "sds_config": {"path_config_source": path, "resource_api_version": "V3"}}

    common = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificate_sds_secret_configs": [source("certificate", CERTIFICATE_SDS)],
        "validation_context_sds_secret_config": source("roots", ROOTS_SDS),
        "alpn_protocols": ["h2"],
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": _UPSTREAM_TLS, "common_tls_context": common}}


def _admin(proxy: PodProxy) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": {"pipe": {"path": proxy.admin}}}}
    return {
        "name": "flota-admin",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "flota-admin", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _ready(proxy: PodProxy) -> dict[str, Any]:
    get = {"name": ":method", "string_match": {"exact": "GET"}}
    routes: list[dict[str, Any]] = [
        {"match": {"path": path, "headers": [get]}, "route": {"cluster": "flota-admin"}} for path in ("/ready", "/stats/prometheus")
    ]
    if proxy.drain_path:
        wait = {"@type": _FAULT, "delay": {"fixed_delay": f"{proxy.drain_s}s", "percentage": {"numerator": 100}}}
        routes.append({
            "match": {"path": proxy.drain_path, "headers": [get]},
            "direct_response": {"status": 200},
            "typed_per_filter_config": {"envoy.filters.http.fault": wait},
        })
    script = _DRAIN.replace("PATH", proxy.drain_path or "-")
    filters = {
        # A kubelet can send a GET; Envoy's admin interface asks for a POST, and answers at once.
        "envoy.filters.http.lua": {"@type": _LUA, "default_source_code": {"inline_string": script}},
        "envoy.filters.http.fault": {"@type": _FAULT},
        "envoy.filters.http.router": {"@type": _ROUTER},
    }
    manager = {
        "@type": _HTTP,
        "stat_prefix": "flota-ready",
        "route_config": {"virtual_hosts": [{"name": "ready", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": name, "typed_config": config} for name, config in filters.items()],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    host, port = proxy.ready
    return {
        "name": "flota-ready",
        "address": {"socket_address": {"address": host, "port_value": port}},
        "filter_chains": [chain],
        "ignore_global_conn_limit": True,
    }


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
