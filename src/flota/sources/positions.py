"""Where in a document a field stands: only worked out when there is something to say about it.

The parser of `yaml` keeps no positions, which makes the common case (nothing wrong) fast; here the document is read once
more, looking only for the paths asked for. Pure.
"""

from collections.abc import Iterable

import yaml
from yaml.events import (
    AliasEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from flota.sources.events import events_of, line_of

Path = tuple[str | int, ...]


def lines_of(text: bytes, paths: Iterable[Path]) -> dict[Path, int]:
    """For each path the line (from 1) of its key or list item; where it is not there, of the nearest part above it that is.

    `text` is a document that was parsed before.
    """
    wanted = set(paths)
    found = _find(text, {path[:end] for path in wanted for end in range(1, len(path) + 1)})
    first = first_line(text)
    return {path: next((found[path[:n]] for n in range(len(path), 0, -1) if path[:n] in found), first) for path in wanted}


def first_line(text: bytes) -> int:
    """The line of the first content: behind comments, blank lines and the marker (within the first 64 KiB)."""
    for number, line in enumerate(text[:65_536].splitlines(), 1):
        content = line.removeprefix(b"---").strip()
        if content and not content.startswith(b"#"):
            return number
    return 1


def _find(text: bytes, wanted: set[Path]) -> dict[Path, int]:
    tracker = _Tracker(wanted)
    try:
        for event in events_of(text):
            tracker.take(event)
            if len(tracker.found) == len(wanted):
                break
    except yaml.YAMLError:  # JSON that is not quite YAML: what was found so far has to do
        pass
    return tracker.found


class _Tracker:
    """Follows the events of one document with the path of where it is."""

    def __init__(self, wanted: set[Path]) -> None:
        self.found: dict[Path, int] = {}
        self._wanted = wanted
        self._path: list[str | int | None] = []
        """The key or index reached in each open mapping or list; None in a mapping = a key comes next."""

    def take(self, event: Event) -> None:
        kind = type(event)
        if kind is MappingEndEvent or kind is SequenceEndEvent:
            self._path.pop()
            self._next()
        elif kind in (ScalarEvent, AliasEvent, MappingStartEvent, SequenceStartEvent):
            if self._path and self._path[-1] is None:
                self._path[-1] = getattr(event, "value", "")
                self._note(event)
                return
            if self._path and isinstance(self._path[-1], int):
                self._note(event)
            if kind is MappingStartEvent:
                self._path.append(None)
            elif kind is SequenceStartEvent:
                self._path.append(0)
            else:
                self._next()

    def _note(self, event: Event) -> None:
        path = tuple(part for part in self._path if part is not None)
        if path in self._wanted:
            self.found.setdefault(path, line_of(event))

    def _next(self) -> None:
        if self._path:
            last = self._path[-1]
            self._path[-1] = last + 1 if isinstance(last, int) else None
