"""What sources must know over a restart: the last admitted documents, when each object was first seen, its generation."""

from datetime import datetime

import msgspec


class Remembered(msgspec.Struct, frozen=True, array_like=True):
    """An object that was in effect: its document as text, and the file it stood in (relative to the folder)."""

    cluster: str
    group: str
    kind: str
    namespace: str
    name: str
    path: str
    text: bytes
    first_seen: datetime
    generation: int


class SourceMemory(msgspec.Struct, frozen=True, omit_defaults=True):
    """All of it; a plain value for msgspec's encoders. Holds Secrets: keep it readable for the owner only."""

    objects: tuple[Remembered, ...] = ()
