"""What a later Flota goes on from; a document of the state folder (digest-checked, owner-only: it holds Secrets)."""

import msgspec

from flota.fleet.drain import Drain
from flota.fleet.signals import Signals
from flota.sources.memory import SourceMemory


class Kept(msgspec.Struct, frozen=True):
    """The last good state of the sources, the drains in force, and what was learnt."""

    memory: SourceMemory = SourceMemory()
    drains: tuple[Drain, ...] = ()
    per_try: tuple[tuple[str, str, int], ...] = ()
    """(cluster, backend label, milliseconds)."""

    def signals(self) -> Signals:
        """What was learnt, as a decision reads it."""
        return Signals(per_try={(cluster, label): ms for cluster, label, ms in self.per_try})
