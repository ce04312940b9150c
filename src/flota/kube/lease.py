"""Leader election on a coordination.k8s.io Lease, with client-go's rules and its times.

Only how long a record has gone unchanged by *our* monotonic clock counts, never the times written in it: clocks of machines differ. A
leader that could not renew within `renew_s` stops by itself, which is before anybody else may take over.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, Protocol

import msgspec
from msgspec import Struct, field

from flota.kube.errors import ApiError
from flota.kube.resource import LEASES, Resource
from flota.kube.timing import Clock, Jitter, Sleep


class Times(Struct, frozen=True):
    """Seconds: how long a lease holds, how long its holder tries to renew it, and the pause between attempts."""

    lease_s: int = 15
    renew_s: float = 10.0
    retry_s: float = 2.0


class _Meta(Struct, rename="camel", omit_defaults=True):
    name: str
    namespace: str
    resource_version: str = ""


class _Spec(Struct, rename="camel", omit_defaults=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(Struct, omit_defaults=False, rename="camel"):
    """The object."""

    metadata: _Meta
    spec: _Spec = field(default_factory=_Spec)
    api_version: str = "coordination.k8s.io/v1"
    kind: str = "Lease"


class Writer(Protocol):
    """What of a client is needed."""

    async def get(self, resource: Resource, name: str, namespace: str = "") -> bytes | ApiError: ...
    async def create(self, resource: Resource, body: object, namespace: str = "") -> bytes | ApiError: ...
    async def replace(self, resource: Resource, name: str, body: object, namespace: str = "") -> bytes | ApiError: ...


class Candidate:
    """Who may lead by what has been seen; pure but for its memory of when the record last changed. Times are monotonic seconds."""

    def __init__(self, identity: str, times: Times) -> None:
        self.identity = identity
        self.times = times
        self._seen: tuple[object, ...] | None = None
        self._seen_at = 0.0
        self.until = float("-inf")
        """We may act as leader until then."""

    def leads(self, now: float) -> bool:
        """Whether we may act as leader at this moment."""
        return now < self.until

    def observe(self, spec: _Spec, now: float) -> Literal["renew", "take", "wait"]:
        """What the record at the server allows us."""
        record = (spec.holder_identity, spec.renew_time, spec.acquire_time, spec.lease_transitions)
        if record != self._seen:
            self._seen, self._seen_at = record, now
        if spec.holder_identity == self.identity:
            return "renew"
        self.lost()
        if not spec.holder_identity:
            return "take"
        return "take" if now >= self._seen_at + (spec.lease_duration_seconds or self.times.lease_s) else "wait"

    def written(self, asked: float) -> None:
        """The record is ours, by a request that was sent at `asked`."""
        self.until = asked + self.times.renew_s

    def lost(self) -> None:
        """Somebody else leads, or we give it up."""
        self.until = float("-inf")

    def record(self, old: _Spec, wall: datetime) -> _Spec:
        """What to write to take or keep it."""
        stamp = wall.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        mine = old.holder_identity == self.identity
        turns = old.lease_transitions or 0
        return _Spec(
            holder_identity=self.identity,
            lease_duration_seconds=self.times.lease_s,
            acquire_time=old.acquire_time if mine and old.acquire_time else stamp,
            renew_time=stamp,
            lease_transitions=turns if mine or old.holder_identity is None else turns + 1,
        )


class LeaderElection:
    """Keeps trying to lead. `changed(True)` when we start to, `changed(False)` the moment we no longer may."""

    def __init__(
        self,
        client: Writer,
        namespace: str,
        name: str,
        identity: str,
        *,
        clock: Clock,
        jitter: Jitter,
        changed: Callable[[bool], None],
        times: Times | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._client = client
        self._namespace, self._name = namespace, name
        self._clock, self._jitter, self._sleep = clock, jitter, sleep
        self._changed = changed
        self._told = False
        self._lease: Lease | None = None
        self.candidate = Candidate(identity, times or Times())
        self.holder = ""
        """Who leads as far as we know."""
        self.trouble: ApiError | None = None
        """Why the last attempt did not work."""

    def leads(self) -> bool:
        """Whether we may act as leader now; ask right before each write."""
        return self.candidate.leads(self._clock.monotonic())

    async def run(self) -> None:
        """Until cancelled; then the lease is given up, so that another takes over at once."""
        times = self.candidate.times
        try:
            while True:
                try:
                    async with asyncio.timeout(self._left()):
                        await self._attempt()
                except TimeoutError:
                    self.trouble = ApiError(0, "TimedOut", f"the lease could not be renewed within {times.renew_s:g} s")
                self._tell()
                await self._pause(times.retry_s * (1 + 0.2 * self._jitter()))
        finally:
            held = self.leads()
            self.candidate.lost()
            self._tell()
            if held:
                await self._release()

    def _left(self) -> float:
        """Seconds that an attempt may take: a leader's until its time is up."""
        now, until = self._clock.monotonic(), self.candidate.until
        return until - now if until > now else self.candidate.times.renew_s

    async def _pause(self, seconds: float) -> None:
        """Wait; a leader whose time ends meanwhile stops then."""
        now, until = self._clock.monotonic(), self.candidate.until
        if self._told and now < until < now + seconds:
            await self._sleep(until - now)
            self._tell()
            return
        await self._sleep(seconds)

    def _tell(self) -> None:
        leads = self.leads()
        if leads != self._told:
            self._told = leads
            self._changed(leads)

    async def _attempt(self) -> None:
        if self._lease is not None and self.leads():
            await self._write(self._lease, self._clock.monotonic())
            return
        found = await self._read()
        if isinstance(found, ApiError):
            self.trouble = found
            return
        asked = self._clock.monotonic()
        if found is None:
            meta = _Meta(self._name, self._namespace)
            lease = Lease(meta, self.candidate.record(_Spec(), self._clock.now()))
            self._wrote(await self._client.create(LEASES, lease, self._namespace), asked)
            return
        self.holder = found.spec.holder_identity or ""
        if self.candidate.observe(found.spec, asked) == "wait":
            self.trouble = None
            self._tell()
            return
        await self._write(found, asked)

    async def _write(self, found: Lease, asked: float) -> None:
        lease = Lease(found.metadata, self.candidate.record(found.spec, self._clock.now()))
        self._wrote(await self._client.replace(LEASES, self._name, lease, self._namespace), asked)

    def _wrote(self, answer: bytes | ApiError, asked: float) -> None:
        lease = answer if isinstance(answer, ApiError) else _decoded(answer)
        if isinstance(lease, ApiError):
            self.trouble, self._lease = lease, None  # perhaps somebody else has written it: read before the next attempt
            return
        self.trouble, self._lease = None, lease
        self.holder = self.candidate.identity
        self.candidate.observe(lease.spec, asked)
        self.candidate.written(asked)

    async def _read(self) -> Lease | ApiError | None:
        answer = await self._client.get(LEASES, self._name, self._namespace)
        if isinstance(answer, ApiError):
            return None if answer.code == 404 else answer
        return _decoded(answer)

    async def _release(self) -> None:
        """Say that nobody leads; the next one need not wait for the lease to run out (client-go ReleaseOnCancel)."""
        if self._lease is None:
            return
        spec = msgspec.structs.replace(self._lease.spec, holder_identity="", lease_duration_seconds=1)
        try:
            async with asyncio.timeout(self.candidate.times.retry_s):
                await self._client.replace(LEASES, self._name, Lease(self._lease.metadata, spec), self._namespace)
        except TimeoutError:
            return


def _decoded(answer: bytes) -> Lease | ApiError:
    try:
        return msgspec.json.decode(answer, type=Lease)
    except msgspec.DecodeError as error:
        return ApiError(200, "BadAnswer", f"a Lease that is none: {error}")
