"""What the API server has of the objects that we write to: their identity and status, followed while we lead."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from flota.clock import Clock
from flota.fleet.kinds import KINDS
from flota.fleet.meta import Key
from flota.kube.cache import Undecodable
from flota.kube.client import Client
from flota.kube.pace import Pace
from flota.kube.reflector import Reflector
from flota.kube.resource import Resource
from flota.kube.timing import Jitter

Ref = tuple[str, str, str]
"""(kind, namespace, name)."""
WRITTEN = (
    "GatewayClass", "Gateway", "ListenerSet", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute",
    "BackendTLSPolicy", "XBackend", "XBackendTrafficPolicy", "TrafficPolicy",
)
"""Kinds that are told about themselves."""


class HeldMeta(Struct, rename="camel"):
    """Of metadata what a write needs."""

    uid: str = ""
    resource_version: str = ""
    generation: int = 0


class Held(Struct):
    """An object as the API server has it."""

    metadata: HeldMeta
    status: dict[str, Any] = field(default_factory=dict)


def decode(raw: Raw | bytes) -> Held | Undecodable:
    """An object's JSON. A status that is no object is taken for none."""
    try:
        return msgspec.json.decode(raw, type=Held)
    except msgspec.DecodeError as error:
        return Undecodable("Undecodable", str(error))


def resource_of(kind: str) -> Resource:
    """How the API server's paths name a kind of `WRITTEN`."""
    found = next(each for each in KINDS if each.kind == kind)
    lower = kind.lower()
    plural = f"{lower[:-1]}ies" if lower.endswith("cy") else f"{lower}es" if lower.endswith("s") else f"{lower}s"
    return Resource(found.group, found.versions[0], plural, kind, found.namespaced)


class Heldings:
    """Follows all of `WRITTEN`. `changed` is told what differs."""

    def __init__(self, client: Client, clock: Clock, jitter: Jitter, pace: Pace, changed: Callable[[Iterable[Ref]], None]) -> None:
        self._changed = changed
        self._own: dict[Ref, tuple[str, Held]] = {}
        """What our own write gave, until the API server's stream shows it: (version that it replaced, the new one)."""
        self._reflectors: Mapping[str, Reflector[Held]] = {
            kind: Reflector(
                client, resource_of(kind), lambda raw, _: decode(raw),
                clock=clock, jitter=jitter, pace=pace, notify=partial(self._notify, kind),
            )
            for kind in WRITTEN
        }  # fmt: skip

    def get(self, ref: Ref) -> Held | None:
        """The newest that is known; None if there is no such object, or it has not been read yet."""
        seen = self._reflectors[ref[0]].cache.objects.get(ref[1:])
        replaced, own = self._own.get(ref, ("", None))
        if own is not None and seen is not None and seen.metadata.resource_version == replaced:
            return own
        self._own.pop(ref, None)
        return seen

    def wrote(self, ref: Ref, before: Held, after: Held) -> None:
        """The answer to our own write."""
        seen = self._reflectors[ref[0]].cache.objects.get(ref[1:])
        if seen is not None and seen.metadata.resource_version != after.metadata.resource_version:
            self._own[ref] = (seen.metadata.resource_version, after)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for kind, each in self._reflectors.items():
                tasks.create_task(each.run(), name=f"held {kind}")

    def _notify(self, kind: str) -> None:
        keys: Iterable[Key] = self._reflectors[kind].cache.take()
        self._changed((kind, *each) for each in keys)
