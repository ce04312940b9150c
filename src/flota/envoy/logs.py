"""Access logs: one JSON object per request or connection, with what is needed to tell where it went and why."""

from flota.envoy.protos import Protos
from flota.envoy.values import Fields, extension

STANDARD_OUTPUT = "-"
"""In place of a path. By the path of its device it can't be opened by a user who does not own it."""
_CONNECTION = {
    "time": "%START_TIME%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "duration_ms": "%DURATION%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "flags": "%RESPONSE_FLAGS%",
    "backend": "%UPSTREAM_CLUSTER%",
    "endpoint": "%UPSTREAM_HOST%",
    "cluster": "%METADATA(UPSTREAM_HOST:flota:cluster)%",
    "region": "%METADATA(UPSTREAM_HOST:flota:region)%",
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}
_REQUEST = {
    **_CONNECTION,
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%REQ(:PATH)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "route": "%ROUTE_NAME%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "upstream_ms": "%RESPONSE_DURATION%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
}


def access_log(protos: Protos, path: str | None, listener: str, http: bool) -> list[Fields]:
    """envoy.config.accesslog.v3.AccessLog list: empty without a path. Values keep their types; unknown ones are null."""
    if path is None:
        return []
    fields = {"listener": listener, **(_REQUEST if http else _CONNECTION)}
    if path == STANDARD_OUTPUT:
        return [extension(protos, "envoy.access_loggers.stdout", "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                          log_format={"json_format": fields})]
    return [extension(protos, "envoy.access_loggers.file", "envoy.extensions.access_loggers.file.v3.FileAccessLog",
                      path=path, log_format={"json_format": fields})]
