"""What of what is due goes into the next response of a type, and what has to wait."""

from collections.abc import Mapping

from flota.envoy.events import Event, Overdue
from flota.envoy.holdings import Alarm, Flight, Holdings
from flota.envoy.ordering import Ordering
from flota.envoy.wire import CDS, EDS, LDS, SDS, Resource, TypeUrl

# A full response of routes holds up Envoy's main thread for some 8 ms, and every other change with it.
MAX_RESPONSE_BYTES = 1 << 18
# Of these one response holds one resource. A secret that was refused Envoy acknowledges when it is sent once more, without taking it
# (seen with 1.40), so a refusal among several could not be looked into.
ALONE = frozenset((SDS,))
# After this long without an answer the next response of the type goes out anyway; doubled per response in flight.
PATIENCE = 0.05
MAX_PATIENCE = 1.0


class Boarding:
    """Fills responses. Shares the holdings of its stream with those who take in the answers."""

    def __init__(self, proxy: str, types: dict[TypeUrl, Holdings], ordering: Ordering, alarm: Alarm, events: list[Event]) -> None:
        self._proxy = proxy
        self._types = types
        self._ordering = ordering
        self._alarm = alarm
        self._events = events
        self._nonces = 0

    def next(self, state: Holdings, now: float) -> Flight | None:
        """The next response of this type, None when none can go now; the alarm is set for when one may."""
        if not state.due or not self._window_open(state, now):
            return None
        for _ in range(2 * len(state.apart) + 1):  # a group may turn out to be outdated, or to wait
            flight = self._board(state, now)
            if flight is not None:
                return flight
        return None

    def nothing(self, state: Holdings, now: float) -> Flight:
        """A response that says that there is nothing."""
        return self._take_off(state, {}, (), now)

    def _window_open(self, state: Holdings, now: float) -> bool:
        """One response in flight per type, so that newer content can gather; more only if an answer is late.

        Envoy answers late for clusters when one of them doesn't get warm; the others must not wait for that one.
        """
        if not state.flights or state.type_url in ALONE:
            return True
        last = max(flight.at for flight in state.flights.values())
        opens = last + min(MAX_PATIENCE, PATIENCE * 2.0 ** min(10, len(state.flights) - 1))
        if now < opens:
            self._alarm.by(opens)
        return now >= opens

    def _board(self, state: Holdings, now: float) -> Flight | None:
        wanted = self._wanted(state)
        sent: dict[str, Resource] = {}
        going: list[str] = []
        size, blocked = 0, False
        for name in state.candidates():
            one = wanted.get(name)
            if not state.subscribes(name) or (one is None and not self._worth_removing(state, name)):
                del state.due[name]
            elif one is None:
                going.append(name)
            elif self._is_there(state, name, one):
                del state.due[name]
            elif self._must_wait(state, name, one, now):
                blocked = True
            elif size and (state.type_url in ALONE or size + len(one.body) > MAX_RESPONSE_BYTES):
                self._alarm.by(now)
                state.newest_next = not state.newest_next
                break
            else:
                sent[name] = one
                size += len(one.body)
        else:
            state.newest_next = False
        # A listener may take over the address of one that goes: both have to be in the same response.
        later = (blocked and state.type_url == LDS) or (sent and state.type_url in ALONE)
        removed = () if later else self._ordering.removable(state, going, now)
        return self._take_off(state, sent, removed, now) if sent or removed else None

    def _must_wait(self, state: Holdings, name: str, one: Resource, now: float) -> bool:
        missing = self._ordering.waits(state, name, one, now)
        if not missing:
            return False
        if not self._ordering.overdue(state, name, now):
            return True
        self._events.append(Overdue(self._proxy, state.type_url, name, tuple(sorted(missing))))
        return False

    def _is_there(self, state: Holdings, name: str, one: Resource) -> bool:
        if name in state.forced:
            return False
        sent = state.sent(name)
        return (sent is not None and sent.version == one.version) or state.refused.get(name) == one.version

    def _take_off(self, state: Holdings, sent: dict[str, Resource], removed: tuple[str, ...], now: float) -> Flight:
        self._nonces += 1
        flight = Flight(nonce=str(self._nonces), sent=sent, removed=removed, at=now)
        state.flights[flight.nonce] = flight
        state.greeted = True
        for name, one in flight.content().items():
            if one is not None and state.type_url == CDS:
                self._refresh_endpoints(one)
            state.flying[name] = (flight.nonce, one)
            state.forced.discard(name)
            del state.due[name]
            self._ordering.count(one)
            if one is None and name in state.names:
                state.absent.add(name)
            else:
                state.absent.discard(name)
        return flight

    def _refresh_endpoints(self, cluster: Resource) -> None:
        """A new cluster, or a changed one, which to Envoy is a new one too, waits for its endpoints to be sent.

        If another cluster (or its former self) has subscribed to them, Envoy doesn't ask again; without this it would
        wait for 15 s (seen with 1.40).
        """
        endpoints = self._types.get(EDS)
        for type_url, name in cluster.needs:
            if type_url == EDS and endpoints is not None and endpoints.subscribes(name):
                endpoints.forced.add(name)
                endpoints.absent.discard(name)
                endpoints.make_due(name)

    def _worth_removing(self, state: Holdings, name: str) -> bool:
        return state.has(name) or (name in state.names and name not in state.absent)

    def _wanted(self, state: Holdings) -> Mapping[str, Resource]:
        return self._ordering.wanted.get(state.type_url, {})
