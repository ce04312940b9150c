"""What the ADS server has to tell: who is there, what was accepted, what was refused and why."""

from collections.abc import Mapping

import msgspec

from flota.envoy.wire import Ref, TypeUrl


class Connected(msgspec.Struct, frozen=True):
    """A proxy opened a stream. Streams count up; during a hot restart a proxy has two."""

    proxy: str
    stream: int


class Disconnected(msgspec.Struct, frozen=True):
    """A stream of a proxy ended; the proxy itself may well live on with what it has."""

    proxy: str
    stream: int


class Ack(msgspec.Struct, frozen=True):
    """A proxy has these versions in use (None: it has given the resource up).

    `seconds` is the time from sending to the acknowledgement, 0 for what it brought along when it reconnected.
    """

    proxy: str
    type_url: TypeUrl
    versions: Mapping[str, str | None]
    seconds: float


class Refusal(msgspec.Struct, frozen=True):
    """A proxy refused this version of exactly this resource, with Envoy's own words. It keeps the version it had."""

    proxy: str
    type_url: TypeUrl
    name: str
    version: str
    message: str


class Overdue(msgspec.Struct, frozen=True):
    """A resource was sent although these of its needs were never acknowledged: they took longer than is good to wait."""

    proxy: str
    type_url: TypeUrl
    name: str
    missing: tuple[Ref, ...]


Event = Connected | Disconnected | Ack | Refusal | Overdue
