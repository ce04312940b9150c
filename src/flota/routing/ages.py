"""Who came first: the order in which the API settles what nothing else does."""

from datetime import UTC, datetime

from flota.fleet.meta import ObjectMeta

Age = tuple[bool, datetime, str]
"""Sorts ascending: the oldest first, then by `namespace/name`; without a time last."""

_NEVER = datetime.min.replace(tzinfo=UTC)


def age(metadata: ObjectMeta) -> Age:
    """Precedence of the object among its kind."""
    seen = metadata.creation_timestamp
    return (seen is None, seen or _NEVER, f"{metadata.namespace}/{metadata.name}")
