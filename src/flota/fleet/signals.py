"""What was observed of the running fleet and decisions may use."""

from collections.abc import Mapping

from msgspec import Struct, field

ClusterBackend = tuple[str, str]
"""(cluster whose proxy saw it, name of the backend)."""
ClusterAddress = tuple[str, str]
"""(cluster of the endpoint, `address:port`)."""


class Attempt(Struct, frozen=True):
    """What a proxy tells of one attempt of a request at an endpoint, while it waits or when it has ended."""

    id: str
    backend: str
    address: str
    """`address:port`, an IPv6 address in brackets."""
    repeatable: bool
    """Whether its method may be repeated (RFC 9110 section 9.2.2)."""
    sent_ms: int | None
    """How long ago the last byte of the request was sent; None while some are missing, which is the client's doing. Of an attempt that is
    under way it is known only the first time: half a second."""
    answered_ms: int | None = None
    """How long the answer took to begin; None when it has not."""
    good: bool = False
    """It began with a status below 500."""
    ended: bool = False
    kind: str = ""
    """The method of a gRPC call: some are streams that wait for long."""


class Signals(Struct, frozen=True):
    """The world's echo; empty when nothing was observed yet."""

    per_try: Mapping[ClusterBackend, int] = field(default_factory=dict)
    """Learned limit of one try, in milliseconds."""
    sick: frozenset[ClusterBackend] = frozenset()
    """Backends whose nearest tier answers, but badly."""
    dead: Mapping[ClusterAddress, str] = field(default_factory=dict)
    """Endpoints whose data path fails, with the reason."""
    suspect: Mapping[str, str] = field(default_factory=dict)
    """Clusters that are silent, with the reason; their endpoints are kept."""
