"""The HTTP side of a listener: the connection manager with its limits, its filters in order, and the way to its route table."""

from typing import Any

from flota.envoy.attempts import attempt_log
from flota.envoy.filters import disabled_filters
from flota.envoy.logs import access_log
from flota.envoy.options import Options
from flota.envoy.protos import Protos
from flota.envoy.scope_key import HEADER, mutation
from flota.envoy.tables import TableLink, scope_prefix
from flota.envoy.values import ADS, Fields, extension, ms, wrapped
from flota.plan import ClientCheck, FilterChain

HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
HEADERS_TIMEOUT_MS = 10_000
MAX_STREAMS = 100
STREAM_WINDOW = 1 << 16
CONNECTION_WINDOW = 1 << 20


def connection_manager(protos: Protos, options: Options, chain: FilterChain, table: TableLink) -> Fields:
    """envoy.config.listener.v3.Filter of an HTTP chain."""
    settings = options.settings
    return extension(
        protos, "envoy.filters.network.http_connection_manager", HCM,
        stat_prefix=chain.name.replace(".", "_"),
        http_filters=http_filters(protos),
        upgrade_configs=[{"upgrade_type": "websocket", "filters": [_websocket_key(protos), *http_filters(protos)]}],
        access_log=access_log(protos, options.access_log, chain.name, http=True),
        # Paths are compared as RFC 3986 has them, and the backend sees what was compared. Escaped slashes stay what they are.
        normalize_path=wrapped(True), merge_slashes=True, path_with_escaped_slashes_action="KEEP_UNCHANGED",
        # "shop.example." is the same name, written absolutely (RFC 3986, 3.2.2).
        strip_trailing_host_dot=True,
        server_header_transformation="PASS_THROUGH",
        **_trust(settings.trusted_hops),
        **_client(chain.tls.clients if chain.tls else None),
        **_limits(settings.max_header_kib, settings.idle_timeout_ms, settings.stream_idle_timeout_ms),
        **_routes(protos, options, table))


def http_filters(protos: Protos) -> list[Fields]:
    """All HTTP filters, in the order in which a request meets them. The router is the last."""
    return [
        *disabled_filters(protos),
        extension(protos, "envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router",
                  # No x-envoy headers for backends and clients: they are Envoy's own affair.
                  suppress_envoy_headers=True, **attempt_log(protos)),
    ]


def _websocket_key(protos: Protos) -> Fields:
    """A Sec-WebSocket-Key for a WebSocket that came as an HTTP/2 stream, which has none (RFC 8441, 5): a backend of HTTP/1.1 asks for it,
    and Envoy, which translates all the rest, leaves it out. Between proxies it proves nothing: any 16 bytes do. A client's own stays."""
    key = {"key": "sec-websocket-key", "value": "ZmxvdGEuZGV2L3dlYnNvYw=="}
    return extension(
        protos, "flota.websocket_key", "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": [{"append": {"header": key, "append_action": "ADD_IF_ABSENT"}}]})


def _trust(hops: int) -> Fields:
    """Who the client is: the peer, or what so many proxies in front of ours have written down."""
    return {
        "use_remote_address": wrapped(True),
        "xff_num_trusted_hops": hops,
        # Nobody is "internal": else a client on a private address could order retries and timeouts by x-envoy headers, and a POST
        # would be sent twice.
        # (An empty list of ranges would mean the private ones.)
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": wrapped(32)}]},
        "generate_request_id": wrapped(True),
        # Our own client is a proxy that gave the request its id.
        "preserve_external_request_id": hops > 0,
    }


def _client(check: ClientCheck | None) -> Fields:
    """What backends are told of the client's certificate (x-forwarded-client-cert); what a client wrote there itself never passes.

    Names only where they were verified. Where anybody is let in, the certificate itself: judging it is the backend's part (GEP-91).
    """
    if check is None:
        return {"forward_client_cert_details": "SANITIZE"}
    told = {"subject": wrapped(True), "uri": True, "dns": True} if check.required else {"cert": True}
    return {"forward_client_cert_details": "SANITIZE_SET", "set_current_client_cert_details": told}


def _limits(header_kib: int, idle_ms: int, stream_idle_ms: int) -> Fields:
    return {
        "max_request_headers_kb": wrapped(header_kib),
        "request_headers_timeout": ms(HEADERS_TIMEOUT_MS),
        "stream_idle_timeout": ms(stream_idle_ms),
        "common_http_protocol_options": {"idle_timeout": ms(idle_ms), "headers_with_underscores_action": "ALLOW"},
        "http_protocol_options": {"accept_http_10": True},
        "http2_protocol_options": {
            "max_concurrent_streams": wrapped(MAX_STREAMS),
            "initial_stream_window_size": wrapped(STREAM_WINDOW),
            "initial_connection_window_size": wrapped(CONNECTION_WINDOW),
            # One bad stream doesn't end the others of its connection.
            "override_stream_error_on_invalid_http_message": wrapped(True),
            # WebSockets over HTTP/2 (RFC 8441). No route matches any other CONNECT, so none is carried.
            "allow_connect": True,
        },
    }


def _routes(protos: Protos, options: Options, table: TableLink) -> Fields:
    if not table.sharded:
        return {"rds": {"route_config_name": table.name, "config_source": ADS}}
    key: dict[str, Any] = {"header_value_extractor": {"name": HEADER, "index": 0}}
    prefix = scope_prefix(table.name, options.way)
    return {
        "scoped_routes": {
            "name": "scopes",
            "scope_key_builder": {"fragments": [key]},
            "rds_config_source": ADS,
            # The same for all chains, so Envoy has one subscription: the scopes of a new chain can arrive before it.
            "scoped_rds": {"scoped_rds_config_source": ADS},
        },
        "early_header_mutation_extensions": [mutation(protos, options.way, prefix, options.module)],
    }
