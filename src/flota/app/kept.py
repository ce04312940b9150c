"""What a later Flota goes on from; a document of the state folder (digest-checked, owner-only: it holds Secrets)."""

import threading
from typing import Literal

import msgspec

from flota.fleet.drain import Drain
from flota.fleet.problem import Problem
from flota.fleet.signals import Signals
from flota.local.state import StateFolder
from flota.sources.memory import SourceMemory


class KeptBad(msgspec.Struct, frozen=True):
    """A route that the proxy of its cluster did not take."""

    cluster: str
    kind: Literal["HTTPRoute", "GRPCRoute"]
    namespace: str
    name: str
    envoy: str
    """The version of Envoy that said so; another one is asked again."""
    message: str
    refused: bytes
    """The route that was refused, and the one that was accepted before (empty: none); MessagePack."""
    accepted: bytes


class Kept(msgspec.Struct, frozen=True):
    """The last good state of the sources, the drains in force, and what was learnt."""

    memory: SourceMemory = SourceMemory()
    drains: tuple[Drain, ...] = ()
    per_try: tuple[tuple[str, str, int], ...] = ()
    """(cluster, backend label, milliseconds)."""
    bad: tuple[KeptBad, ...] = ()

    def signals(self) -> Signals:
        """What was learnt, as a decision reads it."""
        return Signals(per_try={(cluster, label): ms for cluster, label, ms in self.per_try})


class Keeper:
    """Writes it, from any thread; an older state never replaces a newer one."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._as_of = float("-inf")

    def save(self, kept: Kept, as_of: float) -> Problem | None:
        """Keep what was true at `as_of` (monotonic seconds). Gives why it could not be kept."""
        with self._lock:
            if as_of < self._as_of:
                return None
            self._as_of = as_of
            return self._state.save("kept", kept)
