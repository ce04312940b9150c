"""The delta ADS server: proxies come in by a door, each gets the newest snapshot published for its node id.

Source: envoy/service/discovery/v3/ads.proto, AggregatedDiscoveryService.DeltaAggregatedResources. All rules about what
is sent when are in `session`; here are only the streams and the time. An idle server wakes up for nothing: there are no
keepalives of ours (a kernel tells the end of the other side) and timers only while something waits.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.server import Stream

from flota.clock import Clock
from flota.envoy.doors import Door
from flota.envoy.events import Connected, Disconnected, Event, Refusal
from flota.envoy.grpc import GrpcServer, RawCodec, Service
from flota.envoy.protos import Protos
from flota.envoy.session import Request, Session
from flota.envoy.wire import Ref, Snapshot, TypeUrl
from flota.latest import Latest

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


class AdsServer:
    """Serves snapshots to proxies. `publish` may be called before, while and after `serve` runs, on the same event loop.

    `on_event` is called at once, in order; it must not block.
    """

    def __init__(
        self,
        door: Door,
        protos: Protos,
        clock: Clock,
        on_event: Callable[[Event], None] = lambda _: None,
        needs_timeout: float = 2.0,
        services: Sequence[Service] = (),
    ) -> None:
        """`services`: what else proxies may ask for at the same door."""
        self._door = door
        self._request_type = protos.message("envoy.service.discovery.v3.DeltaDiscoveryRequest")
        self._clock = clock
        self._on_event = on_event
        self._needs_timeout = needs_timeout
        self._services = services
        self._proxies: dict[str, _Proxy] = {}
        self._opened = 0
        self._tasks: asyncio.TaskGroup | None = None

    async def serve(self, ready: asyncio.Event | None = None) -> None:
        """Serve until cancelled. Sets `ready` when proxies can connect. Raises OSError if the socket can't be had."""
        listening = self._door.open()
        try:
            server = GrpcServer([self, *self._services], codec=RawCodec())
            async with asyncio.TaskGroup() as self._tasks:
                await server.start(sock=listening, ssl=self._door.tls)
                if ready is not None:
                    ready.set()
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    server.close()
                    await server.wait_closed()
        finally:
            self._tasks = None
            self._door.close(listening)

    def publish(self, proxy: str, snapshot: Snapshot) -> None:
        """What this proxy should have from now on. Mappings and resources that are the same objects cost nothing."""
        record = self._proxy(proxy)
        record.snapshot = snapshot
        for stream in record.streams:
            stream.session.publish(snapshot)
            stream.wake.set()
        record.moved()

    def forget(self, proxy: str) -> None:
        """Drop what is known of a proxy that will not come back."""
        record = self._proxies.get(proxy)
        if record is not None and not record.streams:
            del self._proxies[proxy]

    def connected(self, proxy: str) -> int:
        """How many streams the proxy has open: normally one, two during a hot restart."""
        return len(self._proxy(proxy).streams)

    def acknowledged(self, proxy: str, type_url: TypeUrl, name: str) -> str | None:
        """The version that the proxy last acknowledged, None if none.

        Asked of its newest stream (in a hot restart: the new process), or of the last one if none is open.
        """
        session = self._proxy(proxy).newest
        return None if session is None else session.held(type_url, name)

    def pending(self, proxy: str) -> set[Ref]:
        """What was published and is neither acknowledged nor refused."""
        return self._proxy(proxy).pending()

    def refused(self, proxy: str) -> Mapping[Ref, Refusal]:
        """The standing refusals: those of content that is still the published one."""
        record = self._proxy(proxy)
        current = {} if record.newest is None else record.newest.refused()
        return {ref: said for ref, said in record.refusals.items() if current.get(ref) == said.version}

    async def wait_settled(self, proxy: str, timeout: float) -> set[Ref]:  # noqa: ASYNC109  (the rest is the answer)
        """Wait until all that was published is acknowledged or refused; returns what isn't after `timeout` seconds."""
        record = self._proxy(proxy)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while record.pending():
                    await record.moves.changed()
        return record.pending()

    def __mapping__(self) -> dict[str, Handler]:
        """The methods that we serve, as grpclib asks for them."""
        return {METHOD: Handler(self._handle, Cardinality.STREAM_STREAM, self._request_type, bytes)}

    async def _handle(self, stream: Stream[Any, bytes]) -> None:
        # In our own task group: grpclib only logs what goes wrong in a handler, and a bug must not pass unnoticed.
        if self._tasks is None:
            raise GRPCError(Status.UNAVAILABLE, "shutting down")
        self._opened += 1
        await self._tasks.create_task(self._converse(stream, self._opened), name=f"ads stream {self._opened}")

    async def _converse(self, stream: Stream[Any, bytes], number: int) -> None:
        try:
            message = await stream.recv_message()
            if message is None or not message.node.id:
                reason = "the first request must name the node"
                await stream.send_trailing_metadata(status=Status.INVALID_ARGUMENT, status_message=reason)
            elif not self._door.admits(stream.peer.cert(), message.node.id):
                reason = f"this certificate is not that of {message.node.id}"
                await stream.send_trailing_metadata(status=Status.PERMISSION_DENIED, status_message=reason)
            else:
                await self._talk(stream, number, message)
        except* (StreamTerminatedError, ProtocolError, ConnectionError, DecodeError):
            pass  # the proxy went away; it reconnects by itself

    async def _talk(self, stream: Stream[Any, bytes], number: int, message: Any) -> None:
        record = self._proxy(message.node.id)
        remembered = {} if record.newest is None else record.newest.refused()
        session = Session(message.node.id, self._clock.monotonic(), self._needs_timeout, remembered)
        if record.snapshot is not None:
            session.publish(record.snapshot)
        ours = _Stream(session)
        record.open(ours)
        self._tell(record, [Connected(session.proxy, number)])
        try:
            async with asyncio.TaskGroup() as tasks:
                sender = tasks.create_task(self._send(stream, record, ours), name=f"ads sender {number}")
                while message is not None:
                    session.receive(_request(message), self._clock.monotonic())
                    self._tell(record, session.take_events())
                    ours.wake.set()
                    message = await stream.recv_message()
                sender.cancel()
        finally:
            record.streams.remove(ours)
            self._tell(record, [Disconnected(session.proxy, number)])

    async def _send(self, stream: Stream[Any, bytes], record: "_Proxy", ours: "_Stream") -> None:
        loop, session = asyncio.get_running_loop(), ours.session
        timer: asyncio.TimerHandle | None = None
        try:
            while True:
                await ours.wake.wait()
                ours.wake.clear()
                now = self._clock.monotonic()
                responses = session.pump(now)
                if timer is not None:
                    timer.cancel()
                wait = session.wake_at
                timer = None if wait is None else loop.call_later(max(0.0, wait - now), ours.wake.set)
                self._tell(record, session.take_events())
                record.moved()  # without an event, too: what turned out to be there already is no longer pending
                for response in responses:
                    await stream.send_message(response)
        finally:
            if timer is not None:
                timer.cancel()

    def _proxy(self, name: str) -> "_Proxy":
        return self._proxies.setdefault(name, _Proxy())

    def _tell(self, record: "_Proxy", events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Refusal):
                record.refusals[event.type_url, event.name] = event
            self._on_event(event)
        if events:
            record.moved()


class _Stream:
    """One open stream."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.wake = asyncio.Event()


class _Proxy:
    """What is known of one node id."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.streams: list[_Stream] = []
        self.refusals: dict[Ref, Refusal] = {}
        self.moves: Latest[object] = Latest(object())
        self._last: Session | None = None

    @property
    def newest(self) -> Session | None:
        return self.streams[-1].session if self.streams else self._last

    def open(self, stream: _Stream) -> None:
        self.streams.append(stream)
        self._last = stream.session

    def moved(self) -> None:
        """Wake those who wait for the proxy to settle."""
        self.moves.set(object())

    def pending(self) -> set[Ref]:
        if self.streams:
            return self.streams[-1].session.pending()
        return {(type_url, name) for type_url, those in (self.snapshot or {}).items() for name in those}


def _request(message: Any) -> Request:
    return Request(
        type_url=message.type_url,
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial_versions=dict(message.initial_resource_versions),
        nonce=message.response_nonce,
        error=message.error_detail.message or "refused without a reason" if message.HasField("error_detail") else None,
    )
