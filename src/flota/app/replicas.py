"""Replicas tell the leader what their proxies have acknowledged: a stream from each, by the door that proxies use.

Whoever asks shows a certificate of Flota's own; a proxy's is not enough.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, cast

import msgspec
from grpclib.client import Channel
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.server import Stream

from flota.app.acks import Nodes
from flota.clock import Clock
from flota.envoy.grpc import RawCodec
from flota.fleet.meta import Key
from flota.latest import Latest
from flota.writeback.pki import CONTROL_PLANE_URI

METHOD = "/flota.replicas.v1.Acknowledgements/Follow"
RETRY_S = 1.0
GRACE_S = 10.0
"""What a replica told counts so much longer when it is gone: its proxies are about to follow another one."""
Reports = dict[str, Nodes]
"""Group of node ids (a Gateway's) → its proxies."""
_GONE = (OSError, GRPCError, ProtocolError, StreamTerminatedError, msgspec.DecodeError, asyncio.TimeoutError)


class _Bytes:
    """Messages are JSON; grpclib wants something to decode with."""

    @staticmethod
    def FromString(data: bytes) -> bytes:  # noqa: N802  (protobuf's name)
        return data


class Acknowledgements:
    """The service: everything at first, then each Gateway that differs. `report` gives the proxies of a group that follow us."""

    def __init__(self, report: Callable[[str], Nodes]) -> None:
        self._report = report
        self._changes: Latest[dict[str, int]] = Latest({})
        self._count = 0

    def changed(self, groups: Iterable[str]) -> None:
        """Something of these is to be told."""
        self._count += 1
        self._changes.set({**self._changes.get(), **dict.fromkeys(groups, self._count)})

    def __mapping__(self) -> Mapping[str, Handler]:
        """The method that we serve, as grpclib asks for it."""
        return {METHOD: Handler(self._follow, Cardinality.UNARY_STREAM, _Bytes, bytes)}

    async def _follow(self, stream: Stream[Any, bytes]) -> None:
        if not is_ours(stream.peer.cert()):
            await stream.send_trailing_metadata(status=Status.PERMISSION_DENIED, status_message="only replicas of Flota may ask")
            return
        told: dict[str, int] = {}
        with contextlib.suppress(StreamTerminatedError, ProtocolError, ConnectionError):
            await stream.recv_message()
            async for changes in self._changes.follow():
                news = {group: self._report(group) for group, count in changes.items() if told.get(group) != count}
                told = dict(changes)
                await stream.send_message(msgspec.json.encode(news))


class Peers:
    """The leader's side: follows all other replicas. `moved` is told of Gateways of which something else is known now."""

    def __init__(self, tls: ssl.SSLContext, clock: Clock, moved: Callable[[Iterable[str]], None]) -> None:
        self._tls, self._clock, self._moved = tls, clock, moved
        self._reports: dict[str, Reports] = {}
        self._heard: dict[str, int] = {}
        """Messages by replica."""
        self._following: dict[str, asyncio.Task[None]] = {}

    def nodes(self, group: str) -> Nodes:
        """The Gateway's proxies that follow other replicas."""
        found: dict[str, Any] = {}
        for reports in self._reports.values():
            found.update(reports.get(group, {}))
        return found

    async def run(self, addresses: Latest[frozenset[tuple[str, int]]]) -> None:
        """Follow the replicas at these (host, port) until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                async for wanted in addresses.follow():
                    names = {f"{host}:{port}": (host, port) for host, port in wanted}
                    for gone in self._following.keys() - names.keys():
                        self._following.pop(gone).cancel()
                        tasks.create_task(self._drop_later(gone), name=f"replica {gone} gone")
                    for name in names.keys() - self._following.keys():
                        self._following[name] = tasks.create_task(self._follow(name, *names[name]), name=f"replica {name}")
        finally:
            self._following.clear()
            self._reports.clear()

    async def _follow(self, name: str, host: str, port: int) -> None:
        lost = self._clock.monotonic()
        while True:
            heard = self._heard.get(name, 0)
            with contextlib.suppress(*_GONE):
                await self._listen(name, host, port)
            now = self._clock.monotonic()
            if self._heard.get(name, 0) != heard:
                lost = now
            if now - lost >= GRACE_S:
                self._drop(name)
            await asyncio.sleep(RETRY_S)

    async def _listen(self, name: str, host: str, port: int) -> None:
        channel = Channel(host, port, codec=RawCodec(), ssl=self._tls)
        try:
            async with channel.request(METHOD, Cardinality.UNARY_STREAM, bytes, _Bytes) as stream:
                await stream.send_message(b"", end=True)
                await stream.recv_initial_metadata()
                if stream.peer is None or not is_ours(stream.peer.cert()):
                    return  # a proxy's certificate is by the same authority
                known: Reports = {}
                async for message in cast("AsyncIterator[bytes]", stream):
                    known = {**known, **msgspec.json.decode(message, type=Reports)}
                    moved = known.keys() | self._reports.get(name, {}).keys()
                    self._reports[name] = known
                    self._heard[name] = self._heard.get(name, 0) + 1
                    self._moved(moved)
        finally:
            channel.close()

    async def _drop_later(self, name: str) -> None:
        await asyncio.sleep(GRACE_S)
        if name not in self._following:
            self._drop(name)

    def _drop(self, name: str) -> None:
        self._heard.pop(name, None)
        self._moved(self._reports.pop(name, {}))


def is_ours(certificate: Mapping[str, Any] | None) -> bool:
    """Whether it is a certificate of Flota's own (as `ssl.SSLSocket.getpeercert` tells it)."""
    return ("URI", CONTROL_PLANE_URI) in (certificate or {}).get("subjectAltName", ())


def gateways(groups: Iterable[str]) -> Iterable[Key]:
    """(namespace, name) of the Gateways that node ids of these groups belong to."""
    return ((namespace, name) for _, namespace, name in (each.split("/") for each in groups))
