"""One delta xDS stream as a pure state machine: requests, snapshots and the time go in, responses and events come out.

Source: Envoy's xDS protocol, "Incremental xDS" and "Eventual consistency considerations". The rules here:
- Make before break: a resource goes out when what it newly needs is acknowledged, and is removed when no version of
  another resource that the proxy may still use needs it. Envoy holds back its acknowledgement of clusters until they
  are warm, so an acknowledged cluster is one that can take requests.
- Nobody waits for a stranger: waiting is per resource, ends after `needs_timeout`, and a late answer for a type only
  slows further responses of this type down, it doesn't stop them.
- A refused version is not sent again on this stream, unless it may heal by itself (see `again`); a response is split until
  the resource that is meant stands alone.
"""

from collections.abc import Iterable, Mapping

import msgspec

from flota.envoy.again import Again
from flota.envoy.boarding import Boarding
from flota.envoy.events import Ack, Event
from flota.envoy.holdings import RANK, WILDCARD_TYPES, Alarm, Holdings
from flota.envoy.landing import Landing
from flota.envoy.ordering import Ordering
from flota.envoy.wire import CDS, LDS, Ref, Resource, Snapshot, TypeUrl, delta_response


class Request(msgspec.Struct, frozen=True):
    """A DeltaDiscoveryRequest; `error` is the message of its error_detail."""

    type_url: TypeUrl
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = {}
    nonce: str = ""
    error: str | None = None


class Session:
    """What one stream of one proxy has and still has to get. Not for more than one task."""

    def __init__(self, proxy: str, opened: float, needs_timeout: float = 2.0, remembered: Mapping[Ref, str] | None = None) -> None:
        """`remembered`: what the proxy refused on its last stream; it counts if this is the same process once more."""
        self.proxy = proxy
        self._snapshot: Snapshot | None = None
        self._types: dict[TypeUrl, Holdings] = {}
        self._alarm = Alarm()
        self._again = Again()
        self._ordering = Ordering(self._types, self._alarm, opened, needs_timeout)
        self._remembered = remembered or {}
        self._events: list[Event] = []
        self._boarding = Boarding(proxy, self._types, self._ordering, self._alarm, self._events)
        self._landing = Landing(proxy, self._types, self._ordering, self._again, self._events)

    def publish(self, snapshot: Snapshot) -> None:
        """Newest wins. Until the first one nothing is answered, so a server that is still reading removes nothing."""
        before, self._snapshot = self._snapshot, snapshot
        self._ordering.wanted = snapshot
        for type_url in (before or {}).keys() | snapshot.keys():
            old, new = (before or {}).get(type_url, {}), snapshot.get(type_url, {})
            if old is not new:
                self._changed(type_url, old, new)

    def _changed(self, type_url: TypeUrl, old: Mapping[str, Resource], new: Mapping[str, Resource]) -> None:
        state = self._types.get(type_url)
        names = [name for name, one in new.items() if old.get(name) is not one]
        gone = [name for name in old if name not in new]
        for name in gone:
            self._ordering.arrived((type_url, name))
            self._again.accepted((type_url, name))
            if state is not None:
                state.refused.pop(name, None)  # should it be wanted again, it is judged again
        self._judge_again(type_url, names)
        if state is not None:
            for name in (*names, *gone):
                if state.subscribes(name):
                    state.make_due(name)

    def _judge_again(self, type_url: TypeUrl, changed: Iterable[str]) -> None:
        """What was refused for something it needs (a listener for a certificate) may be good once that has changed."""
        refs: set[Ref] | None = None
        for state in self._types.values():
            for name in tuple(state.refused):
                one = self._wanted(state.type_url).get(name)
                refs = {(type_url, each) for each in changed} if refs is None else refs
                if one is not None and not refs.isdisjoint(one.needs):
                    del state.refused[name]
                    state.make_due(name)

    def receive(self, request: Request, now: float) -> None:
        """Take in one request. An unknown or outdated nonce is no answer to anything, its subscriptions still count."""
        first = request.type_url not in self._types
        state = self._types.setdefault(request.type_url, Holdings(request.type_url))
        flight = state.flights.pop(request.nonce, None)
        if flight is not None:
            self._landing.landed(state, flight, request.error, now)
        if first:
            state.wildcard = request.type_url in WILDCARD_TYPES and not request.subscribe
            state.foreign.update(request.initial_versions)
            state.greeted = bool(request.initial_versions)
            for name in request.initial_versions:
                state.make_due(name)
        self._subscribe(state, request.subscribe, request.initial_versions)
        self._unsubscribe(state, request.unsubscribe)
        if first:
            if request.initial_versions:  # only a process that had a stream before brings versions along
                state.refused.update({n: version for (t, n), version in self._remembered.items() if t == state.type_url})
            state.foreign = {n: version for n, version in state.foreign.items() if state.subscribes(n)}
        if state.wildcard and first:
            self._all_due(state)

    def _subscribe(self, state: Holdings, names: Iterable[str], known: Mapping[str, str]) -> None:
        for name in names:
            if name == "*":
                state.wildcard = True
                self._all_due(state)
                continue
            state.names.add(name)
            state.absent.discard(name)
            if name not in known:
                state.forced.add(name)
            state.make_due(name)

    def _unsubscribe(self, state: Holdings, names: Iterable[str]) -> None:
        for name in names:
            if name == "*":
                state.wildcard = False
            state.names.discard(name)
        given_up = (name for name in names if not state.subscribes(name))
        if "*" in names:
            given_up = (name for name in (*state.held, *state.foreign) if not state.subscribes(name))
        for name in tuple(given_up):
            self._forget(state, name)

    def _forget(self, state: Holdings, name: str) -> None:
        self._ordering.uncount(state.held.pop(name, None))
        state.due.pop(name, None)
        state.foreign.pop(name, None)
        for names in (state.absent, state.forced, state.doubtful):
            names.discard(name)

    def _all_due(self, state: Holdings) -> None:
        for name in self._wanted(state.type_url):
            state.make_due(name)

    def pump(self, now: float) -> list[bytes]:
        """The responses that can go now, in order of sending; sets `wake_at`."""
        self._alarm.at = None
        if self._snapshot is None:
            return []
        self._adopt()
        self._try_again(now)
        responses = []
        for state in sorted(self._types.values(), key=_sending_order):
            flight = self._boarding.next(state, now)
            if flight is None and state.type_url in (CDS, LDS) and not state.greeted and not self._wanted(state.type_url):
                # Envoy waits for a first answer, for clusters before it even asks for listeners: "nothing" is one too.
                flight = self._boarding.nothing(state, now)
            if flight is not None:
                responses.append(delta_response(state.type_url, flight.nonce, flight.sent.values(), flight.removed))
        return responses

    @property
    def wake_at(self) -> float | None:
        """When `pump` should be called again even if nothing happens."""
        return self._alarm.at

    def take_events(self) -> list[Event]:
        """What happened since the last call."""
        events = self._events[:]
        self._events.clear()
        return events

    def _adopt(self) -> None:
        """What the proxy brought along and is the same as what we want is as good as acknowledged."""
        for state in self._types.values():
            wanted = self._wanted(state.type_url)
            same = [n for n, version in state.foreign.items() if n in wanted and wanted[n].version == version]
            for name in same:
                del state.foreign[name]
                state.held[name] = wanted[name]
                self._ordering.count(wanted[name])
                self._ordering.arrived((state.type_url, name))
            if same:
                self._events.append(Ack(self.proxy, state.type_url, {n: wanted[n].version for n in same}, 0.0))

    def _try_again(self, now: float) -> None:
        for type_url, name in self._again.due(now, self._alarm):
            state, one = self._types[type_url], self._wanted(type_url).get(name)
            if one is None or state.refused.get(name) != one.version:
                self._again.accepted((type_url, name))
            elif name not in state.flying:
                state.forced.add(name)
                state.make_due(name)

    def held(self, type_url: TypeUrl, name: str) -> str | None:
        """The acknowledged version, None if there is none."""
        state = self._types.get(type_url)
        if state is None:
            return None
        one = state.held.get(name)
        return state.foreign.get(name) if one is None else one.version

    def refused(self) -> dict[Ref, str]:
        """The versions that this stream refused and that are still the wanted ones."""
        return {
            (state.type_url, name): version
            for state in self._types.values()
            for name, version in state.refused.items()
            if (one := self._wanted(state.type_url).get(name)) is not None and one.version == version
        }

    def pending(self) -> set[Ref]:
        """What was published and is neither acknowledged nor refused, removals included if nothing stands in their way.

        What the proxy hasn't asked for counts where something that it has needs it, and always for clusters and listeners.
        """
        if self._snapshot is None:
            return set()
        found = {(state.type_url, name) for state in self._types.values() for name in state.flying}
        for state in self._types.values():
            wanted = self._wanted(state.type_url)
            found.update((state.type_url, n) for n in state.due if n in wanted or not self._ordering.in_use((state.type_url, n)))
        for type_url in (CDS, LDS):
            if type_url not in self._types:
                found.update((type_url, name) for name in self._wanted(type_url))
        return found | self._ordering.not_asked_for()

    def _wanted(self, type_url: TypeUrl) -> Mapping[str, Resource]:
        return self._ordering.wanted.get(type_url, {})


def _sending_order(state: Holdings) -> int:
    return -1 if state.type_url == CDS else RANK.get(state.type_url, 0)  # a changed cluster, then its endpoints
