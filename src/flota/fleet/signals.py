"""What was observed of the running fleet and decisions may use."""

from collections.abc import Mapping

from msgspec import Struct, field

ClusterBackend = tuple[str, str]
"""(cluster whose proxy saw it, name of the backend)."""
ClusterAddress = tuple[str, str]
"""(cluster of the endpoint, `address:port`)."""


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
