"""How a cluster talks to its endpoints: HTTP options, TLS and active checks."""

from typing import Any

from flota.envoy.protos import Protos
from flota.envoy.values import ADS, Fields, extension, ms, wrapped
from flota.plan import Backend, ClientTLS, HealthCheck

IDLE_HTTP1_MS = 4000
KEEPALIVE_INTERVAL_MS = 2000
KEEPALIVE_TIMEOUT_MS = 5000
JITTER_MS = 10

_TLS = "envoy.extensions.transport_sockets.tls.v3."


def http_options(protos: Protos, http2: bool) -> Any:
    """HttpProtocolOptions, packed.

    HTTP/1: many servers close what is idle for five seconds; Envoy lets go before, so that no POST meets the close.
    HTTP/2: pings find connections that lead nowhere. They are slow on purpose: an application that blocks for two seconds answers no
    ping, and to end its connection would lose what it is about to answer. What must be fast is done by second attempts and ejection.
    """
    if http2:
        keepalive = {"interval": ms(KEEPALIVE_INTERVAL_MS), "timeout": ms(KEEPALIVE_TIMEOUT_MS)}
        fields: Fields = {"explicit_http_config": {"http2_protocol_options": {"connection_keepalive": keepalive}}}
    else:
        fields = {"explicit_http_config": {"http_protocol_options": {}},
                  "common_http_protocol_options": {"idle_timeout": ms(IDLE_HTTP1_MS)}}
    return protos.any(protos.message("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")(**fields))


def health_check(backend: Backend) -> Fields:
    """envoy.config.core.v3.HealthCheck. Raises AssertionError for a backend without one."""
    check = backend.health
    assert check is not None  # noqa: S101
    interval = max(1, check.interval_ms)
    fields: Fields = {
        "interval": ms(interval),
        "no_traffic_interval": ms(interval),  # the default of 60 s leaves a dead reserve "healthy"
        "interval_jitter": ms(JITTER_MS),
        "timeout": ms(check.timeout_ms),
        "unhealthy_threshold": wrapped(2),
        "healthy_threshold": wrapped(max(1, -(-backend.fail_back_ms // interval))),
    }
    if check.path is None:
        fields["tcp_health_check"] = {}
    else:
        fields["http_health_check"] = _http_check(backend, check)
    if _own_transport(backend):
        fields["transport_socket_match_criteria"] = {"flota": "check"}
    return fields


def _http_check(backend: Backend, check: HealthCheck) -> Fields:
    return {
        "path": check.path,
        "host": check.host or (backend.tls.sni if backend.tls else f"{backend.service}.{backend.namespace}"),
        "codec_client_type": "HTTP2" if backend.protocol == "HTTP2" and check.port is None else "HTTP1",
        "expected_statuses": [{"start": 200, "end": 400}],  # as a Kubernetes probe counts
        # Without this any other status is final at once, whatever the threshold says.
        "retriable_statuses": [{"start": 400, "end": 600}],
    }


def _own_transport(backend: Backend) -> bool:
    """Whether checks travel differently from requests: a probe with a port of its own, in the clear or in TLS as it says."""
    check = backend.health
    return check is not None and check.port is not None and (check.scheme == "HTTPS") != (backend.tls is not None)


class TransportBuilder:
    """Transport sockets towards endpoints."""

    def __init__(self, protos: Protos, system_roots: str) -> None:
        self._protos = protos
        self._roots = system_roots

    def socket(self, tls: ClientTLS, protocol: str) -> Fields:
        """TLS as a BackendTLSPolicy asks: SNI, and a certificate for one of its names, signed by its roots (GEP-1897)."""
        validation: Fields = {"match_typed_subject_alt_names": _names(tls)}
        if tls.ca is None:
            context: Fields = {"validation_context": {**validation, "trusted_ca": {"filename": self._roots}}}
        else:
            context = {"combined_validation_context": {
                "default_validation_context": validation,
                "validation_context_sds_secret_config": {"name": tls.ca, "sds_config": ADS}}}
        if tls.certificate is not None:
            context["tls_certificate_sds_secret_configs"] = [{"name": tls.certificate, "sds_config": ADS}]
        if protocol in ("HTTP1", "HTTP2"):
            context["alpn_protocols"] = ["h2"] if protocol == "HTTP2" else ["http/1.1"]
        return extension(self._protos, "envoy.transport_sockets.tls", _TLS + "UpstreamTlsContext",
                         sni=tls.sni, common_tls_context=context)

    def for_checks(self, backend: Backend) -> Fields:
        """Cluster field `transport_socket_matches` where checks need a socket of their own.

        No endpoint has the metadata, so requests never take it. An HTTPS probe doesn't verify the certificate, as a kubelet's doesn't.
        """
        if not _own_transport(backend):
            return {}
        if backend.tls is None:
            socket = extension(self._protos, "envoy.transport_sockets.tls", _TLS + "UpstreamTlsContext", common_tls_context={})
        else:
            socket = extension(self._protos, "envoy.transport_sockets.raw_buffer",
                               "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")
        return {"transport_socket_matches": [{"name": "check", "match": {"flota": "check"}, "transport_socket": socket}]}


def _dns_name(name: str) -> Fields:
    """A name that a certificate must have. Of a wildcard any name does that has one label in its place, the wildcard itself too."""
    if not name.startswith("*."):
        return {"exact": name}
    suffix = name[1:].replace(".", r"\.")
    return {"safe_regex": {"regex": rf"(?i)[^.]+{suffix}"}}


def _names(tls: ClientTLS) -> list[Fields]:
    named = [{"san_type": "DNS", "matcher": _dns_name(name)} for name in tls.dns_names]
    named += [{"san_type": "URI", "matcher": {"exact": uri}} for uri in tls.uris]
    return named or [{"san_type": "DNS", "matcher": {"exact": tls.sni}}]
