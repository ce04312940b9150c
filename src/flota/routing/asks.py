"""Backends that routes ask for: each resolved once, again only when something it depends on changed."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, TypeVar

from msgspec import Struct

from flota.fleet.signals import Signals
from flota.plan import Backend, Endpoints, Replay, Secret, Session
from flota.plan.routes import COLD_MS
from flota.routing.keys import BackendKey, RouteKey, Target

K = TypeVar("K")
Hint = Literal["HTTP", "GRPC", "TCP", "UDP", "TLS"]
"""What the route speaks to the backend; TLS = bytes that the client encrypted."""


class Ask(NamedTuple):
    """A rule of a route sends to a backend."""

    backend: BackendKey
    route: RouteKey
    hint: Hint
    certificate: str | None = None
    """Name of the `Secret` to show to a backend that speaks TLS."""


class Found(Struct, frozen=True):
    """What stands behind an ask."""

    backend: Backend
    endpoints: Endpoints
    secrets: tuple[Secret, ...]
    replay: Replay
    rtt_ms: int = 0
    """To the farthest place in use."""
    session: Session | None = None
    """What a policy of the backend asks for."""


class Missing(Struct, frozen=True):
    """Why nothing stands behind it (reason of ResolvedRefs)."""

    reason: str
    message: str


class Answer(Struct, frozen=True):
    """What a route's plan depends on, so that endpoints may come and go without planning the route again."""

    backend: str | None
    replay: Replay = "Idempotent"
    per_try_ms: int = COLD_MS
    sick: bool = False
    session: Session | None = None
    reason: str = ""
    message: str = ""


Resolve = Callable[[Ask], Found | Missing]


class Asks:
    """The asks of one cluster's routes with their answers. A memo: it never changes what is answered."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._found: dict[Ask, Found | Missing] = {}
        self._answers: dict[Ask, Answer] = {}
        self._by_target: defaultdict[Target, set[Ask]] = defaultdict(set)
        self._by_label: defaultdict[str, set[Ask]] = defaultdict(set)
        self._signals = Signals()
        self._resolve: Resolve | None = None

    def refresh(self, resolve: Resolve, changed: Iterable[Target] | None, signals: Signals) -> tuple[set[Ask], set[Ask]]:
        """Take over a newer way to resolve. Answers (asks that resolve to something else, asks with another answer)."""
        self._resolve = resolve
        dirty = set(self._found) if changed is None else self._of(changed)
        moved = {each for each in dirty if self._take(each)}
        heard = self._heard(signals)
        self._signals = signals
        return moved, {each for each in moved | heard if self._say(each)}

    def found(self, ask: Ask) -> Found | Missing:
        """What stands behind an ask that was answered before."""
        return self._found[ask]

    def answer(self, ask: Ask) -> Answer:
        """The answer to an ask; a new one is resolved now."""
        if ask not in self._found:
            self._take(ask)
            self._say(ask)
            self._by_target[Target(ask.backend.kind, ask.backend.namespace, ask.backend.name)].add(ask)
            self._by_target[Target(*ask.route[:3])].add(ask)
        return self._answers[ask]

    def forget(self, ask: Ask) -> None:
        """No route asks it any more."""
        found = self._found.pop(ask, None)
        self._answers.pop(ask, None)
        for target in (Target(ask.backend.kind, ask.backend.namespace, ask.backend.name), Target(*ask.route[:3])):
            _discard(self._by_target, target, ask)
        if isinstance(found, Found):
            _discard(self._by_label, found.backend.label, ask)

    def _of(self, changed: Iterable[Target]) -> set[Ask]:
        dirty: set[Ask] = set()
        for target in changed:
            dirty |= self._by_target.get(target, set())
        return dirty

    def _take(self, ask: Ask) -> bool:
        """Resolve it again; whether that gave something else."""
        assert self._resolve is not None, "refresh comes before the first answer"  # noqa: S101
        old, new = self._found.get(ask), self._resolve(ask)
        if old is not None and old == new:
            return False
        if isinstance(old, Found):
            _discard(self._by_label, old.backend.label, ask)
        if isinstance(new, Found):
            self._by_label[new.backend.label].add(ask)
        self._found[ask] = new
        return True

    def _say(self, ask: Ask) -> bool:
        old, new = self._answers.get(ask), self._worded(self._found[ask])
        self._answers[ask] = new
        return old != new

    def _worded(self, found: Found | Missing) -> Answer:
        if isinstance(found, Missing):
            return Answer(None, reason=found.reason, message=found.message)
        seen = (self._cluster, found.backend.label)
        limit = self._signals.per_try.get(seen, COLD_MS)
        return Answer(
            found.backend.name, found.replay, _reaching(limit, found.rtt_ms), seen in self._signals.sick, found.session
        )

    def _heard(self, signals: Signals) -> set[Ask]:
        """Asks of whose backend something else was observed."""
        if signals is self._signals:
            return set()
        labels = {label for cluster, label in self._signals.sick ^ signals.sick if cluster == self._cluster}
        old, new = self._signals.per_try, signals.per_try
        if old is not new:
            labels |= {
                key[1] for key in old.keys() | new.keys() if key[0] == self._cluster and old.get(key) != new.get(key)
            }
        heard: set[Ask] = set()
        for label in labels:
            heard |= self._by_label.get(label, set())
        return heard


def _reaching(limit_ms: int, rtt_ms: int) -> int:
    """The learnt limit of an attempt (three times what is usual, mostly of the nearest tier), such that an attempt that has
    to travel has at least half of it left for its answer."""
    return max(limit_ms, rtt_ms + limit_ms // 2)


def _discard(index: defaultdict[K, set[Ask]], key: K, ask: Ask) -> None:
    held = index.get(key)
    if held is not None:
        held.discard(ask)
        if not held:
            del index[key]
