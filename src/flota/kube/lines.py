"""A stream of bytes → its lines, each bounded. Pure."""

from collections.abc import Iterator

MAX_LINE = 16 << 20
"""Bytes of one line. The API server's own limit for an object is some 3 MiB; a longer line is no event."""


class Lines:
    """Feed it chunks; it gives whole lines without their line break, and None in place of one that is too long."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._skipping = False

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """The lines that `chunk` completes; empty ones are left out."""
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            yield from self._line(piece)
        self._keep(rest)

    def _line(self, piece: bytes) -> Iterator[bytes | None]:
        self._keep(piece)
        parts, skipped = self._parts, self._skipping
        self._parts, self._size, self._skipping = [], 0, False
        if skipped:
            yield None
        elif parts:
            yield parts[0] if len(parts) == 1 else b"".join(parts)

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit:
            self._parts, self._skipping = [], True
        elif piece:
            self._parts.append(piece)
