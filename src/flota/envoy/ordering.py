"""Make before break, for one stream: what has to wait for what, and what may go only after what.

Facts about Envoy 1.40 behind it, each found with the real one (tests/features/test_ads_*.py):
- It holds back the acknowledgement of clusters until all of them are warm, first health check included (one that times
  out after 0.3 s delays it by 0.3 s). So "acknowledged" means "can take requests"; and one cluster that doesn't get
  warm holds back the acknowledgements of all, though not the clusters themselves.
- "Doesn't exist" as the answer for endpoints ends the wait of their cluster at once; no answer ends it after 15 s.
- A scope whose table has not arrived answers 404.
- Tables of scopes are asked for by listeners: while none has them, scopes are acknowledged and wait.
"""

from collections import Counter
from collections.abc import Mapping

from flota.envoy.holdings import RANK, Alarm, Holdings
from flota.envoy.wire import LDS, RDS, SRDS, Ref, Resource, Snapshot, TypeUrl


class Ordering:
    """Who needs whom among what the proxy has and what it should have."""

    def __init__(self, types: Mapping[TypeUrl, Holdings], alarm: Alarm, opened: float, needs_timeout: float) -> None:
        self.wanted: Snapshot = {}
        self._types = types
        self._alarm = alarm
        self._opened = opened
        self._needs_timeout = needs_timeout
        self._uses: Counter[Ref] = Counter()
        """How many versions of resources that the proxy may have in use need this one."""
        self._used_types: Counter[TypeUrl] = Counter()
        """How many resources of a type are in `_uses`: asked at every push, when those are thousands."""
        self._waiters: dict[Ref, set[Ref]] = {}

    def count(self, one: Resource | None) -> None:
        """The proxy may from now on use this version."""
        for ref in () if one is None else one.needs:
            self._used_types[ref[0]] += ref not in self._uses
            self._uses[ref] += 1

    def uncount(self, one: Resource | None) -> None:
        """The proxy surely doesn't use this version any more."""
        for ref in () if one is None else one.needs:
            if self._uses[ref] > 1:
                self._uses[ref] -= 1
            elif self._uses.pop(ref, 0):
                self._used_types[ref[0]] -= 1

    def in_use(self, ref: Ref) -> bool:
        """Whether something that the proxy has needs it."""
        return ref in self._uses

    def not_asked_for(self) -> set[Ref]:
        """What is wanted and needed by what the proxy has, but not (yet) subscribed."""
        return {ref for ref in self._uses if ref[1] in self.wanted.get(ref[0], {}) and not self._subscribed(ref)}

    def arrived(self, ref: Ref) -> None:
        """Nobody has to wait for this one any longer."""
        for type_url, name in self._waiters.pop(ref, ()):
            due = self._types[type_url].due.get(name)
            if due is not None:
                due.waits.pop(ref, None)

    def waits(self, state: Holdings, name: str, one: Resource, now: float) -> tuple[Ref, ...]:
        """What this due resource is waiting for. Only what its predecessor didn't need counts: the rest is in use."""
        due = state.due[name]
        if not due.judged:
            before = state.sent(name)
            new = one.needs if before is None else one.needs - before.needs
            due.waits = {r: due.waits.get(r, now) for r in new if not self._usable(r, state, name)}
            due.judged = True
            for ref in due.waits:
                self._waiters.setdefault(ref, set()).add((state.type_url, name))
        return tuple(due.waits)

    def overdue(self, state: Holdings, name: str, now: float) -> bool:
        """Whether it has waited for long enough; if not, the alarm is set for that time."""
        ends = max(state.due[name].waits.values()) + self._needs_timeout
        if now < ends:
            self._alarm.by(ends)
        return now >= ends

    def _usable(self, ref: Ref, needer: Holdings, needer_name: str) -> bool:
        type_url, name = ref
        one = self.wanted.get(type_url, {}).get(name)
        if one is None:
            return True  # nothing that we could wait for
        if self._subscribed(ref):
            state = self._types[type_url]
            held = None if state.leaving(name) else state.held.get(name)
            return held is not None and one.version in (held.version, state.refused.get(name, held.version))
        # Not subscribed: what the needer brings about itself can't come before it. But a scope that is in use must not
        # point to a table that is not there, nor a listener open before the tables of its scopes: those wait.
        if type_url != RDS or needer.type_url not in (SRDS, LDS):
            return True
        if needer.type_url == SRDS:
            return not needer.has(needer_name)
        if SRDS not in self._types or not self.scopes_in_use():
            return True
        return not any(ref in scope.needs for scope in self.wanted.get(SRDS, {}).values())

    def scopes_in_use(self) -> bool:
        """Whether the proxy has a listener that looks tables up by scope. Without one Envoy acknowledges scopes and does not ask for
        their tables, also when it has just refused the listener that made it ask for scopes (seen with 1.40)."""
        listeners = self._types.get(LDS)
        return listeners is not None and (bool(listeners.foreign) or any(map(_has_scopes, listeners.held.values())))

    def _subscribed(self, ref: Ref) -> bool:
        state = self._types.get(ref[0])
        return state is not None and state.subscribes(ref[1])

    def removable(self, state: Holdings, names: list[str], now: float) -> tuple[str, ...]:
        """Those that no version of anything that the proxy may have in use needs."""
        if not names:
            return ()
        unknown = self._unknown_users(state.type_url, now)
        return tuple(n for n in names if not state.has(n) or not (unknown or self.in_use((state.type_url, n))))

    def _unknown_users(self, type_url: TypeUrl, now: float) -> bool:
        """Whether the proxy has resources of which we can't know the needs.

        Just after it reconnected it may have some of types that it hasn't spoken of yet.
        """
        rank = RANK.get(type_url, 0)
        if type_url != LDS and LDS not in self._types and now < self._opened + self._needs_timeout:
            self._alarm.by(self._opened + self._needs_timeout)
            return True
        if any(state.foreign and RANK.get(state.type_url, 0) > rank for state in self._types.values()):
            return True
        return any(used and t not in self._types and RANK.get(t, 0) > rank for t, used in self._used_types.items())


def _has_scopes(listener: Resource) -> bool:
    return any(type_url == SRDS for type_url, _ in listener.needs)
