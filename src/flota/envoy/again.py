"""Refusals that may heal by themselves, and when to try again: a port that is taken, an address that is not there yet."""

import math

from flota.envoy.holdings import Alarm
from flota.envoy.wire import Ref

FIRST = 1.0
LONGEST = 15.0
_HEALS = "cannot bind"
"""What Envoy says of a socket that the machine doesn't give it now (network/utility, listen socket creation)."""


class Again:
    """Waits of one stream, doubled from refusal to refusal. Only what was refused wakes anybody up."""

    def __init__(self) -> None:
        self._waits: dict[Ref, tuple[float, float]] = {}
        """When to send it once more (infinite: it is on its way), and how long the wait was."""

    def refused(self, ref: Ref, error: str, now: float) -> None:
        """Note a refusal; one of content that can never be right is not tried again."""
        if _HEALS not in error:
            self._waits.pop(ref, None)
            return
        wait = min(LONGEST, 2 * self._waits[ref][1]) if ref in self._waits else FIRST
        self._waits[ref] = (now + wait, wait)

    def accepted(self, ref: Ref) -> None:
        """It is healed, or gone."""
        self._waits.pop(ref, None)

    def due(self, now: float, alarm: Alarm) -> list[Ref]:
        """What to send once more, each once until it is refused again; the alarm is set for the rest."""
        found = [ref for ref, (at, _) in self._waits.items() if at <= now]
        for ref in found:
            self._waits[ref] = (math.inf, self._waits[ref][1])
        for at, _ in self._waits.values():
            if at < math.inf:
                alarm.by(at)
        return found
