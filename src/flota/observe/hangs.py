"""Endpoints that take requests and answer none. Pure; time is handed in.

Envoy notices a hung process only through attempts that it may give up on. Requests that may not be replayed are never given up on, so a
hang that only they meet is seen here: requests went out after the last answer, some are still under way, and nothing came back for longer
than the backend's own limit. That is a suspicion; a probe of the endpoint decides. Where many requests wait like that, a process that still
answers a probe is of no use either (its database is gone, its workers are locked): it is stuck until it has answered well again.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from flota.observe.samples import HostSample

PATIENCE_MS = 500
STUCK_MS = 1000
STUCK_REQUESTS = 10
"""Fewer may be one slow request and its followers."""
QUIET_S = 4.0
"""A stuck endpoint without a request under way has nothing to show that it got well, so it is tried again."""

Key = tuple[str, str]
"""(label, address)."""


class _Watch(Struct, frozen=True):
    total: int
    """Requests sent when the last answer came."""
    answered: int
    waiting_since: float | None = None


class _Stuck(Struct, frozen=True):
    succeeded: int
    quiet_since: float | None = None


class HangWatch:
    """All endpoints of one proxy."""

    def __init__(self) -> None:
        self._hosts: dict[Key, _Watch] = {}
        self._stuck: dict[Key, _Stuck] = {}

    @property
    def stuck(self) -> frozenset[Key]:
        """Those that answer no request, whatever a probe says."""
        return frozenset(self._stuck)

    def step(self, now: float, samples: Iterable[HostSample], limits: Mapping[str, int]) -> set[Key]:
        """Those that seem to hang. `limits`: ms by label; a backend without one is not judged."""
        before, self._hosts = self._hosts, {}
        were, self._stuck = self._stuck, {}
        suspects = set()
        for sample in samples:
            key = (sample.label, sample.address)
            watch = self._hosts[key] = _advance(before.get(key), sample, now)
            if key in were and (still := _still(were[key], sample, now)) is not None:
                self._stuck[key] = still
            limit = limits.get(sample.label)
            if limit is None or watch.waiting_since is None:
                continue
            waited = (now - watch.waiting_since) * 1000
            if waited >= max(PATIENCE_MS, limit):
                suspects.add(key)
            if waited >= max(STUCK_MS, limit) and sample.total - watch.total >= STUCK_REQUESTS:
                self._stuck.setdefault(key, _Stuck(sample.succeeded))
        return suspects


def _advance(watch: _Watch | None, sample: HostSample, now: float) -> _Watch:
    if watch is None or sample.total < watch.total or sample.answered != watch.answered or not sample.active:
        return _Watch(sample.total, sample.answered)
    if watch.waiting_since is None and sample.total > watch.total:
        return _Watch(watch.total, watch.answered, now)
    return watch


def _still(stuck: _Stuck, sample: HostSample, now: float) -> _Stuck | None:
    """None when it may serve again."""
    if sample.succeeded != stuck.succeeded:
        return None
    since = None if sample.active else now if stuck.quiet_since is None else stuck.quiet_since
    return None if since is not None and now - since >= QUIET_S else _Stuck(stuck.succeeded, since)
