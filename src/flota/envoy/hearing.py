"""What proxies tell of attempts, heard: Envoy's access log service (envoy/service/accesslog/v3/als.proto), beside ADS."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.exceptions import ProtocolError, StreamTerminatedError
from grpclib.server import Stream

from flota.envoy.attempts import TELL_EVERY_MS
from flota.envoy.protos import Protos
from flota.envoy.retries import IDEMPOTENT
from flota.fleet.signals import Attempt

METHOD = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
_ENDED = 9
"""AccessLogType.UpstreamEnd."""

Hear = Callable[[str, Sequence[Attempt]], None]
"""(proxy, what it tells, in order)."""


class AttemptService:
    """The service; give it to the ADS server. `hear` is called at once, in order; it must not block."""

    def __init__(self, protos: Protos, hear: Hear) -> None:
        self._message_type = protos.message("envoy.service.accesslog.v3.StreamAccessLogsMessage")
        methods = protos.message("envoy.data.accesslog.v3.HTTPRequestProperties").DESCRIPTOR.fields_by_name["request_method"].enum_type
        self._repeatable = frozenset(methods.values_by_name[name].number for name in IDEMPOTENT)
        self._hear = hear

    def __mapping__(self) -> Mapping[str, Handler]:
        """The methods that we serve, as grpclib asks for them."""
        return {METHOD: Handler(self._handle, Cardinality.STREAM_UNARY, self._message_type, bytes)}

    async def _handle(self, stream: Stream[Any, bytes]) -> None:
        proxy = ""
        try:
            while (message := await stream.recv_message()) is not None:
                proxy = proxy or message.identifier.node.id
                self._hear(proxy, [self.attempt(entry) for entry in message.http_logs.log_entry])
        except (StreamTerminatedError, ProtocolError, ConnectionError):
            pass  # the proxy went away; it reconnects by itself

    def attempt(self, entry: Any) -> Attempt:
        """envoy.data.accesslog.v3.HTTPAccessLogEntry as a value."""
        common, request = entry.common_properties, entry.request
        address = common.upstream_remote_address.socket_address
        sent = _milliseconds(common, "time_to_last_upstream_tx_byte")
        begun = _milliseconds(common, "time_to_first_upstream_rx_byte")
        status = entry.response.response_code.value
        ended = common.access_log_type == _ENDED
        # Envoy says how long it took only when it has ended; before, that it was told again is all that is known.
        now = common.duration.ToMilliseconds() if ended else (sent or 0) + TELL_EVERY_MS
        return Attempt(
            # Envoy gives an attempt no name of its own.
            id=f"{request.request_id}/{common.start_time.ToNanoseconds()}",
            backend=common.upstream_cluster,
            address=f"[{address.address}]:{address.port_value}" if ":" in address.address else f"{address.address}:{address.port_value}",
            kind=request.path if common.route_name.startswith("GRPCRoute/") else "",
            repeatable=request.request_method in self._repeatable,
            sent_ms=None if sent is None else now - sent,
            answered_ms=None if sent is None or begun is None or not status else max(0, begun - sent),
            good=0 < status < 500,
            ended=ended,
        )


def _milliseconds(message: Any, name: str) -> int | None:
    return getattr(message, name).ToMilliseconds() if message.HasField(name) else None
