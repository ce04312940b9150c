"""Endpoints that take requests and answer none. Pure; time is handed in.

Envoy notices a hung process only through attempts that it may give up on. Requests that may not be replayed are never given up on, so a
hang that only they meet is seen here: requests went out after the last answer, some are still under way, and nothing came back for longer
than the backend's own limit. That is a suspicion; a probe of the endpoint decides.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from flota.observe.samples import HostSample

PATIENCE_MS = 750


class _Watch(Struct):
    total: int
    answered: int
    waiting_since: float | None = None


class HangWatch:
    """All endpoints of one proxy."""

    def __init__(self) -> None:
        self._hosts: dict[tuple[str, str], _Watch] = {}

    def step(self, now: float, samples: Iterable[HostSample], limits: Mapping[str, int]) -> set[tuple[str, str]]:
        """(label, address) of those that seem to hang. `limits`: ms by label; a backend without one is not judged."""
        before, self._hosts = self._hosts, {}
        suspects = set()
        for sample in samples:
            key = (sample.label, sample.address)
            watch = self._hosts[key] = _advance(before.get(key), sample, now)
            limit = limits.get(sample.label)
            if limit is None or watch.waiting_since is None or not sample.active:
                continue
            if (now - watch.waiting_since) * 1000 >= max(PATIENCE_MS, limit):
                suspects.add(key)
        return suspects


def _advance(watch: _Watch | None, sample: HostSample, now: float) -> _Watch:
    if watch is None or sample.total < watch.total or sample.answered != watch.answered or not sample.active:
        return _Watch(sample.total, sample.answered)
    waiting = watch.waiting_since
    if waiting is None and sample.total > watch.total:
        waiting = now
    return _Watch(sample.total, sample.answered, waiting)
