"""Objects that are read only when something speaks of them: Secrets and ConfigMaps.

One watch tells the *metadata* of all of a kind, so nothing secret comes over the wire unasked; what is wanted is read by name whenever its
version changes. Where listing is not allowed, what is wanted is read by name from time to time.
"""

import asyncio
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Raw, Struct

from flota.clock import Clock
from flota.fleet.kinds import Kind
from flota.fleet.meta import Key
from flota.kube.cache import Undecodable
from flota.kube.client import Client
from flota.kube.errors import ApiError
from flota.kube.pace import Pace
from flota.kube.reflector import Reflector
from flota.kube.resource import Resource
from flota.kube.timing import Jitter
from flota.sources.served import Held, decoder

POLL_S = 30.0
"""Between two looks where nothing tells of changes."""
RETRY_S = 2.0
AT_ONCE = 4
"""Reads by name at a time."""


class _Version(Struct, rename="camel"):
    resource_version: str = ""


class _Head(Struct):
    metadata: _Version


_head = msgspec.json.Decoder(_Head)


class NamedObjects:
    """The objects of one kind that are wanted. `notify` is called after changes."""

    def __init__(
        self, client: Client, kind: Kind, resource: Resource, *, clock: Clock, jitter: Jitter, pace: Pace, notify: Callable[[], None]
    ) -> None:
        self.kind = kind
        self.objects: Mapping[Key, Struct] = {}
        """Replaced when one changes."""
        self.faults: dict[Key, Undecodable] = {}
        self.trouble: ApiError | None = None
        """Why what is wanted could not be read."""
        self.reflector: Reflector[str] = Reflector(
            client, resource, _version, clock=clock, jitter=jitter, pace=pace, notify=self._hear, metadata_only=True
        )
        self._client, self._resource, self._clock, self._notify = client, resource, clock, notify
        self._decode = decoder(kind)
        self._wanted: frozenset[Key] = frozenset()
        self._read: dict[Key, str] = {}
        """Wanted objects that were looked for, with the version that was found; empty where there was none."""
        self._woken = asyncio.Event()

    def want(self, keys: frozenset[Key]) -> None:
        """Read these, and no others, from now on."""
        if keys != self._wanted:
            self._wanted = keys
            self._woken.set()

    @property
    def settled(self) -> bool:
        """Whether everything wanted was looked for."""
        return self._wanted <= self._read.keys() and (self._told() or self._blind())

    def _told(self) -> bool:
        return self.reflector.state.synced

    def _blind(self) -> bool:
        """Listing is not allowed: no change is told."""
        trouble = self.reflector.state.trouble
        return not self._told() and trouble is not None and trouble.code in (401, 403)

    def _hear(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.reflector.run(), name=f"sources.{self._resource}.metadata")
            tasks.create_task(self._follow(), name=f"sources.{self._resource}.wanted")

    async def _follow(self) -> None:
        while True:
            self._woken.clear()
            wait: float | None = None
            if self._told() or self._blind():
                failed = await self._round()
                wait = RETRY_S if failed else POLL_S if self._blind() else None
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                if self._blind():
                    self._read.clear()

    async def _round(self) -> bool:
        """Read what is wanted and new; whether something could not be read."""
        versions = self.reflector.cache.objects
        news: dict[Key, Struct | None] = {key: None for key in self.objects if key not in self._wanted}
        self._read = {key: version for key, version in self._read.items() if key in self._wanted}
        due: list[Key] = []
        for key in sorted(self._wanted):
            version = versions.get(key, "")
            if self._told() and not version:
                news[key], self._read[key] = None, ""
                self.faults.pop(key, None)
            elif key not in self._read or (self._told() and self._read[key] != version):
                due.append(key)
        failed = False
        for start in range(0, len(due), AT_ONCE):
            some = due[start : start + AT_ONCE]
            answers = await asyncio.gather(*(self._client.get(self._resource, name, namespace) for namespace, name in some))
            for key, answer in zip(some, answers, strict=True):
                failed |= not self._take(key, answer, news)
        self._publish(news)
        return failed

    def _take(self, key: Key, answer: bytes | ApiError, news: dict[Key, Struct | None]) -> bool:
        if isinstance(answer, ApiError):
            if answer.code == 404:
                news[key], self._read[key] = None, ""
                return True
            self.trouble = answer
            if answer.code == 403:
                self._read[key] = ""  # not ours to see: looked for, and not found
                return True
            return False
        self.trouble = None
        version = _version(Raw(answer), None)
        before = self.objects.get(key)
        held = self._decode(Raw(answer), Held(before) if before is not None else None)
        self._read[key] = version if isinstance(version, str) else ""
        self.faults.pop(key, None)
        if isinstance(held, Undecodable):
            self.faults[key] = held
        else:
            news[key] = held.object
        return True

    def _publish(self, news: Mapping[Key, Struct | None]) -> None:
        changed = {key: value for key, value in news.items() if self.objects.get(key) is not value}
        if changed:
            merged = {**self.objects, **changed}
            self.objects = {key: value for key, value in merged.items() if value is not None}
        self._notify()


def _version(raw: Raw, before: str | None) -> str | Undecodable:
    try:
        return _head.decode(raw).metadata.resource_version
    except msgspec.DecodeError as error:
        return Undecodable("BadAnswer", str(error))
