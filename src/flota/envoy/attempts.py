"""Proxies tell of attempts that wait: Envoy's access log service, on the stream's own socket.

Statistics of an endpoint can't show a hang that only some requests meet, as the answers to all others hide it. So Envoy itself tells,
every half second, of each attempt that waits for the beginning of an answer, and of those that ended without one; of an attempt that may
not be repeated also when it was answered. An attempt that is answered within half a second costs a timer, one that may not be repeated
4 µs more. Without a running Flota nothing is told and nothing waits. Source: envoy/service/accesslog/v3/als.proto,
envoy/data/accesslog/v3/accesslog.proto.
"""

from flota.envoy.bootstrap import ADS_CLUSTER
from flota.envoy.protos import Protos
from flota.envoy.retries import IDEMPOTENT_REGEX
from flota.envoy.values import Fields, extension, ms

TELL_EVERY_MS = 500
TELL_YOUNG_MS = 1300
"""Of an attempt that was answered, or has a second one beside it, nothing more needs to be known: twice told is enough."""
GIVEN_UP_MS = 200
"""An attempt that ended without an answer before that had no time to be waited for."""
TELL_MS = 20_000
FLUSH_MS = 100


def attempt_log(protos: Protos) -> Fields:
    """Fields of envoy.extensions.filters.http.router.v3.Router that make a proxy tell."""
    young, unanswered = _compare("duration_filter", "LE", TELL_YOUNG_MS), _compare("status_code_filter", "EQ", 0)
    any_method = _any([
        _all([_types("UpstreamPeriodic"), young, unanswered]),
        _all([_types("UpstreamEnd"), _compare("duration_filter", "GE", GIVEN_UP_MS), unanswered]),
    ])
    others = _all([
        _method_is_not({"exact": "GET"}),  # most are, and a pattern costs a fiftieth of a request
        _method_is_not({"safe_regex": {"regex": IDEMPOTENT_REGEX}}),
        _any([
            _types("UpstreamEnd"),
            _all([_types("UpstreamPeriodic"), _compare("duration_filter", "LE", TELL_MS), _any([young, unanswered])]),
        ]),
    ])
    logger = extension(
        protos, "envoy.access_loggers.http_grpc", "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        common_config={
            "log_name": "attempts",
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": ADS_CLUSTER}},
            "buffer_flush_interval": ms(FLUSH_MS),
        })
    return {
        "upstream_log": [{**logger, "filter": _any([any_method, others])}],
        "upstream_log_options": {"upstream_log_flush_interval": ms(TELL_EVERY_MS)},
    }


def _types(name: str) -> Fields:
    return {"log_type_filter": {"types": [name]}}


def _compare(which: str, operation: str, value: int) -> Fields:
    return {which: {"comparison": {"op": operation, "value": {"default_value": value, "runtime_key": f"flota.{which}"}}}}


def _method_is_not(match: Fields) -> Fields:
    return {"header_filter": {"header": {"name": ":method", "invert_match": True, "string_match": match}}}


def _all(filters: list[Fields]) -> Fields:
    return {"and_filter": {"filters": filters}}


def _any(filters: list[Fields]) -> Fields:
    return {"or_filter": {"filters": filters}}
