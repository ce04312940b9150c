"""What a proxy's answer to a response means for one stream: acknowledged, refused, or to be asked again in smaller parts."""

from flota.envoy import suspects
from flota.envoy.again import Again
from flota.envoy.events import Ack, Event, Refusal
from flota.envoy.holdings import Due, Flight, Holdings
from flota.envoy.ordering import Ordering
from flota.envoy.wire import LDS, SRDS, TypeUrl


class Landing:
    """Takes in answers. Shares the holdings of its stream with those who send."""

    def __init__(self, proxy: str, types: dict[TypeUrl, Holdings], ordering: Ordering, again: Again, events: list[Event]) -> None:
        self._proxy = proxy
        self._types = types
        self._ordering = ordering
        self._again = again
        self._events = events

    def landed(self, state: Holdings, flight: Flight, error: str | None, now: float) -> None:
        """The answer to a response; `error` None is an acknowledgement."""
        newest = []
        for name in flight.content():
            if state.flying.get(name, ("",))[0] == flight.nonce:
                del state.flying[name]
                newest.append(name)
        if error is None:
            self._accepted(state, flight, now)
        else:
            self._refused(state, flight, newest, error.strip(), now)

    def _accepted(self, state: Holdings, flight: Flight, now: float) -> None:
        first = state.type_url == LDS and not self._ordering.scopes_in_use()
        for name, one in flight.content().items():
            self._ordering.uncount(state.held.pop(name, None))
            state.foreign.pop(name, None)
            state.doubtful.discard(name)
            self._again.accepted((state.type_url, name))
            if one is not None and state.subscribes(name):
                state.held[name] = one
                state.refused.pop(name, None)
            else:
                self._ordering.uncount(one)
            if one is not None and not state.leaving(name):
                self._ordering.arrived((state.type_url, name))
        if first and self._ordering.scopes_in_use():
            self._send_scopes_again()
        versions = {name: None if one is None else one.version for name, one in flight.content().items()}
        self._events.append(Ack(self._proxy, state.type_url, versions, now - flight.at))

    def _send_scopes_again(self) -> None:
        """Envoy acknowledges scopes even when no listener takes them: the first one after that would wait for ever (seen with 1.40)."""
        scopes = self._types.get(SRDS)
        if scopes is not None:
            for name in scopes.held:
                scopes.forced.add(name)
                scopes.make_due(name)

    def _refused(self, state: Holdings, flight: Flight, names: list[str], error: str, now: float) -> None:
        for one in flight.sent.values():
            self._ordering.uncount(one)
        content = flight.content()
        if len(content) == 1:
            for name, one in flight.sent.items():
                state.refused[name] = one.version
                if name in state.doubtful:
                    state.doubtful.discard(name)
                    self._ordering.uncount(state.held.pop(name, None))
                self._again.refused((state.type_url, name), error, now)
                if name in state.held and not state.leaving(name):
                    self._ordering.arrived((state.type_url, name))
                self._events.append(Refusal(self._proxy, state.type_url, name, one.version, error))
            return
        state.doubtful.update(name for name in flight.removed if name in state.held)
        if not names:
            return
        # Envoy applied the good ones of most kinds of response but has not recorded their versions, so all go again.
        for name in names:
            state.due[name] = Due(waits={}, judged=True)
            state.forced.add(name)
        state.apart.extend(suspects.groups(names, error))
        state.apart_next = False
