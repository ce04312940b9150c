"""Endpoints that take requests and answer none, from what proxies tell of attempts that wait. Pure; time is handed in.

An attempt that waits longer than is usual there is a suspicion; a probe of the endpoint decides. Where several of one kind wait and none
of that kind was answered since, a process that still answers probes is of no use either (its database is locked, its workers are gone):
it is stuck until it has answered such a request well again. Kinds are judged apart, as answers to others prove nothing: a process may
answer every GET while each POST waits for a lock. (What may be repeated has a second attempt beside it, and the proxy ejects by that.)
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct

from flota.fleet.signals import Attempt
from flota.observe.samples import HostSample
from flota.observe.usual import Usual

PATIENCE_MS = 500
STUCK_MS, STUCK_REQUESTS = 750, 5
"""Fewer may be one slow request and its followers."""
NEXT_MS, NEXT_REQUESTS = 500, 3
"""Where one endpoint is stuck less is needed of the next: in turns of a second each, a region would take too long."""
QUIET_S = 4.0
"""A stuck endpoint without a request under way has nothing to show that it got well, so it is tried again."""
HEARD_S = 1.5
"""Proxies tell of a waiting attempt every half second; who was not heard of for so long has ended."""
SLACK_S = 0.15
"""What is told arrives up to a tenth of a second late, so which of two things came first is known no better."""
FORGET_S = 60.0
MANY_KINDS = 10_000
"""Paths of gRPC calls are the client's to choose; beyond so many they are judged together."""

NEVER = -math.inf

Key = tuple[str, str]
"""(label, address)."""


class Kind(NamedTuple):
    """Requests to one endpoint whose answers prove something of each other."""

    label: str
    address: str
    repeatable: bool
    path: str

    @property
    def key(self) -> Key:
        """The endpoint."""
        return self.label, self.address

    @property
    def words(self) -> str:
        """The requests, as people call them."""
        return f"calls of {self.path}" if self.path else "requests like POST, which may not be sent twice"


class _Wait(Struct):
    """An attempt without an answer."""

    sent: float
    heard: float
    given_up: bool = False

    def ms(self, now: float) -> float:
        """How long it has waited, or did until it was given up."""
        return ((self.heard if self.given_up else now) - self.sent) * 1000


class _Watch(Struct):
    """One kind at one endpoint."""

    waits: dict[str, _Wait] = {}
    answered: float = NEVER
    """When the last good answer began."""
    stuck_since: float | None = None
    quiet_since: float | None = None

    def answer(self, at: float) -> None:
        """A good answer began."""
        self.answered = max(self.answered, at)
        if self.stuck_since is not None and at > self.stuck_since - SLACK_S:
            self.stuck_since = None

    def settle(self, now: float) -> None:
        """Forget attempts that are no longer heard of, and let a stuck endpoint be tried again after a quiet while."""
        self.waits = {name: wait for name, wait in self.waits.items() if now - wait.heard <= HEARD_S}
        self.quiet_since = None if self.waits else now if self.quiet_since is None else self.quiet_since
        if self.quiet_since is not None and now - self.quiet_since >= QUIET_S:
            self.stuck_since = None

    def idle(self, now: float) -> bool:
        """Whether nothing of it needs to be remembered."""
        return not self.waits and self.stuck_since is None and now - self.answered > FORGET_S


class _Count(NamedTuple):
    """Good answers as the proxy counts them, and between which looks the last of them began."""

    succeeded: int = 0
    earliest: float = NEVER
    latest: float = NEVER


_NONE = _Count()


class Suspicion(NamedTuple):
    """`known`: what is usual there was learnt, so a short silence tells."""

    key: Key
    known: bool


class HangWatch:
    """All endpoints of one proxy."""

    def __init__(self) -> None:
        self._watches: dict[Kind, _Watch] = {}
        self._usual: dict[tuple[str, str], Usual] = {}
        """By label and path, of requests that may not be repeated."""
        self._counts: dict[Key, _Count] = {}
        self._looked = NEVER

    @property
    def busy(self) -> bool:
        """Whether anything waits or is stuck, so that `step` has something to say."""
        return any(watch.waits or watch.stuck_since is not None for watch in self._watches.values())

    @property
    def stuck(self) -> dict[Key, str]:
        """Those that answer no request of some kind, whatever a probe says, and of which."""
        return {kind.key: kind.words for kind, watch in self._watches.items() if watch.stuck_since is not None}

    def take(self, now: float, label: str, attempt: Attempt) -> None:
        """What the proxy tells. An attempt whose request is not complete waits for its client, not for the endpoint."""
        if attempt.sent_ms is None:
            return
        path = attempt.kind if len(self._watches) < MANY_KINDS else ""
        watch = self._watches.setdefault(Kind(label, attempt.address, attempt.repeatable, path), _Watch())
        known = None if attempt.ended else watch.waits.get(attempt.id)
        sent = now - attempt.sent_ms / 1000 if known is None else known.sent
        if attempt.answered_ms is not None:
            watch.waits.pop(attempt.id, None)
            if attempt.good:
                watch.answer(sent + attempt.answered_ms / 1000)
                if attempt.ended and not attempt.repeatable:
                    self._usual.setdefault((label, path), Usual()).note(now, attempt.answered_ms)
        elif attempt.ended and not attempt.repeatable:
            watch.waits.pop(attempt.id, None)
        else:
            watch.waits[attempt.id] = _Wait(sent, now, attempt.ended)

    def look(self, now: float, samples: Iterable[HostSample]) -> None:
        """What the proxy counts: a good answer of an endpoint, whatever to, is a sign of life."""
        before, self._counts = self._counts, {}
        for sample in samples:
            key = (sample.label, sample.address)
            old = before.get(key, _Count(sample.succeeded))
            self._counts[key] = old if sample.succeeded == old.succeeded else _Count(sample.succeeded, self._looked, now)
        self._looked = now

    def answered_since(self, key: Key, since: float) -> bool:
        """Whether a good answer of the endpoint may have begun later."""
        counted = self._counts.get(key, _NONE).latest > since
        return counted or any(watch.answered > since for kind, watch in self._watches.items() if kind.key == key)

    def step(self, now: float, limits: Mapping[str, int]) -> set[Suspicion]:
        """Those that seem to hang. `limits`: ms by label, of attempts that may be repeated."""
        found = set()
        for kind, watch in list(self._watches.items()):
            watch.settle(now)
            if watch.idle(now):
                del self._watches[kind]
            elif watch.waits:
                found |= self._judge(now, kind, watch, limits)
        return found

    def _judge(self, now: float, kind: Kind, watch: _Watch, limits: Mapping[str, int]) -> set[Suspicion]:
        since = max(watch.answered, self._counts.get(kind.key, _NONE).earliest) if kind.repeatable else watch.answered
        waits = [wait for wait in watch.waits.values() if wait.sent > since - SLACK_S]
        longest = max((wait.ms(now) for wait in waits), default=0.0)
        if kind.repeatable:
            limit = limits.get(kind.label)
            given_up = limit is not None and any(wait.given_up and wait.ms(now) >= limit for wait in waits)
            return {Suspicion(kind.key, limit is not None)} if given_up or longest >= max(PATIENCE_MS, limit or 0) else set()
        usual = self._usual.get((kind.label, kind.path))
        limit = None if usual is None else usual.limit_ms(now)
        if limit is not None and watch.stuck_since is None:
            enough_ms, enough = (NEXT_MS, NEXT_REQUESTS) if self._stuck_elsewhere(kind) else (STUCK_MS, STUCK_REQUESTS)
            if longest >= max(enough_ms, limit) and len(waits) >= enough:
                watch.stuck_since = now
        return {Suspicion(kind.key, limit is not None)} if longest >= max(PATIENCE_MS, limit or 0) else set()

    def _stuck_elsewhere(self, kind: Kind) -> bool:
        return any(watch.stuck_since is not None and (other.label, other.path) == (kind.label, kind.path)
                   for other, watch in self._watches.items())
