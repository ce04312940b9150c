"""What one stream of a proxy has of one xDS type: subscribed, in flight, acknowledged, refused, and still due."""

from collections import deque
from collections.abc import Mapping

import msgspec

from flota.envoy.wire import CDS, EDS, LDS, RDS, SDS, SRDS, Ref, Resource, TypeUrl

# Who may refer to whom: only to what stands lower. Also the order in which types are sent.
RANK: Mapping[TypeUrl, int] = {EDS: 0, SDS: 0, CDS: 1, RDS: 2, SRDS: 3, LDS: 4}
# A first request without names means "everything" for these (xDS protocol, "legacy wildcard").
WILDCARD_TYPES = frozenset((CDS, LDS, SRDS))


class Alarm:
    """When something has to be looked at again even if nothing happens; the earliest time counts."""

    def __init__(self) -> None:
        self.at: float | None = None

    def by(self, at: float) -> None:
        self.at = at if self.at is None else min(self.at, at)


class Due(msgspec.Struct):
    """A name whose wanted content is not with the proxy. `waits`: since when it waits for which other resource."""

    waits: dict[Ref, float]
    judged: bool = False


class Flight(msgspec.Struct, frozen=True):
    """A response without an answer yet."""

    nonce: str
    sent: dict[str, Resource]
    removed: tuple[str, ...]
    at: float

    def content(self) -> dict[str, Resource | None]:
        """All names in it, None for a removal."""
        return {**self.sent, **dict.fromkeys(self.removed)}


class Holdings:
    """The state of one type on one stream. Bookkeeping only: what to send and when is decided by the Session."""

    def __init__(self, type_url: TypeUrl) -> None:
        self.type_url = type_url
        self.wildcard = False
        self.greeted = False
        """Whether anything was sent on this stream, or an earlier one."""
        self.names: set[str] = set()
        self.held: dict[str, Resource] = {}
        """Acknowledged, and made by this process."""
        self.foreign: dict[str, str] = {}
        """Versions that the proxy brought along and that are not (known to be) ours: what they refer to is unknown."""
        self.flights: dict[str, Flight] = {}
        self.flying: dict[str, tuple[str, Resource | None]] = {}
        """The newest flight of a name: nonce and content."""
        self.refused: dict[str, str] = {}
        self.absent: set[str] = set()
        """Subscribed names that the proxy has been told don't exist."""
        self.doubtful: set[str] = set()
        """Held, but their removal was part of a refused response: Envoy may have carried it out or not."""
        self.forced: set[str] = set()
        """To be sent even if the version is the same."""
        self.due: dict[str, Due] = {}
        self.apart: deque[tuple[str, ...]] = deque()
        """Groups from a refused response, to be sent by themselves until the culprit is found."""
        self.apart_next = False
        self.newest_next = False
        """Of more than fits into one response, every second one begins with what changed last: a new route doesn't wait until
        all hosts of a large table have got a new limit, and the oldest doesn't wait for ever."""

    def subscribes(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def make_due(self, name: str) -> None:
        """The name has to be looked at (again); how long it has waited so far still counts."""
        due = self.due.pop(name, None)
        if due is None:
            due = Due(waits={})
        else:
            due.judged = False
        self.due[name] = due  # behind all others: the order is that of the last changes

    def sent(self, name: str) -> Resource | None:
        """What the proxy has or is about to have, None if nothing, or something that is not ours."""
        flying = self.flying.get(name)
        return flying[1] if flying is not None else self.held.get(name)

    def leaving(self, name: str) -> bool:
        """Whether its removal is on the way, so that it must be sent again before it can be relied on."""
        flying = self.flying.get(name)
        return flying is not None and flying[1] is None

    def has(self, name: str) -> bool:
        """Whether the proxy has anything under this name, or is about to."""
        flying = self.flying.get(name)
        return flying[1] is not None if flying is not None else name in self.held or name in self.foreign

    def candidates(self) -> list[str]:
        """The names to look at for the next response.

        A group of suspects goes alone; it takes turns with everything else, so neither holds up the other.
        """
        while self.apart and not any(name in self.due for name in self.apart[0]):
            self.apart.popleft()
        grouped = {name for group in self.apart for name in group}
        others = [name for name in self.due if name not in grouped]
        if self.apart and (self.apart_next or not others):
            self.apart_next = False
            return [name for name in self.apart.popleft() if name in self.due]
        self.apart_next = True
        return others[::-1] if self.newest_next else others
