"""Which of several objects about one thing prevails (GEP-713, Conflict Resolution)."""

from datetime import UTC, datetime
from typing import Protocol

from flota.fleet.meta import ObjectMeta

_EARLIEST = datetime(1, 1, 1, tzinfo=UTC)


class Dated(Protocol):
    """Any object."""

    @property
    def metadata(self) -> ObjectMeta: ...


def seniority(each: Dated) -> tuple[datetime, str, str]:
    """Sort key: the one first seen, then by namespace and name."""
    meta = each.metadata
    return meta.creation_timestamp or _EARLIEST, meta.namespace, meta.name
