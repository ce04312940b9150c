"""Strict YAML: the bytes of one document → a plain value, in steps.

Built on libyaml's events with a stack of our own, so depth, node count and what aliases expand to are limits we set and not
limits we crash at. A parse is a generator that pauses every few hundred events: a caller can stop, or do other work in
between. Doubled keys, cycles and tags that are not YAML's own are refused; anchors, aliases and merge keys (`<<`) are
allowed within the limits. Source: YAML 1.2.2, read as kubectl reads it (see `scalars`).
"""

import json
from collections.abc import Generator
from itertools import islice
from typing import NamedTuple, TypeVar

import msgspec
import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from yaml.reader import ReaderError

from flota.sources import scalars
from flota.sources.events import events_of, line_of

MAX_DOCUMENT = 1_572_864
"""Bytes of one document, and of what its aliases expand to: etcd's own limit for a request (1.5 MiB)."""
MAX_NODES = 150_000
"""Values in one document, aliases expanded. The largest custom resource definitions have some 30,000."""
MAX_DEPTH = 100
"""Levels of nesting. Kubernetes objects stay below 30."""
STEP = 500
"""Events between two pauses: about a millisecond."""

_MOST_TAGS = 1_000  # libyaml compares each %TAG directive with all before it, in one go
T = TypeVar("T")
Steps = Generator[None, None, T]
Value = object


class Flaw(msgspec.Struct, frozen=True):
    """Why bytes are not a document. `line` and `column` count from 1, inside what was handed in."""

    line: int
    column: int
    message: str


class Parsed(msgspec.Struct, frozen=True):
    """A document's value (None for an empty one) and how many values it is made of."""

    value: Value
    nodes: int


def finish(steps: Steps[T]) -> T:
    """Run steps to their end at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def parse(text: bytes) -> Steps[Parsed | Flaw]:
    """The one document in `text` (UTF-8). Never raises, whatever the bytes."""
    if len(text) > MAX_DOCUMENT:
        return Flaw(1, 1, f"a document of {len(text):,} bytes; at most {MAX_DOCUMENT:,} are allowed")
    if text.count(b"%TAG") > _MOST_TAGS:
        return Flaw(1, 1, f"%TAG more than {_MOST_TAGS:,} times in one document")
    quick = _json(text) if text.lstrip()[:1] == b"{" else None
    if quick is not None:
        return quick
    builder = _Builder()
    try:
        events = events_of(text)
        while part := tuple(islice(events, STEP)):
            for event in part:
                builder.take(event)
            yield
    except _RefusedError as refused:
        return Flaw(refused.line, refused.column, refused.message)
    except ReaderError as error:
        before = text[: int(error.position)]
        return Flaw(before.count(b"\n") + 1, len(before) - before.rfind(b"\n"), f"{error.reason}")
    except yaml.MarkedYAMLError as error:
        return _flaw_of(error)
    return Parsed(builder.value, builder.nodes)


def _flaw_of(error: yaml.MarkedYAMLError) -> Flaw:
    mark = error.problem_mark or error.context_mark
    message = ", ".join(str(part) for part in (error.problem, error.context) if part)
    return Flaw(mark.line + 1, mark.column + 1, message) if mark else Flaw(1, 1, message)


class _RefusedError(Exception):
    def __init__(self, event: Event, message: str) -> None:
        super().__init__(message)
        self.line = line_of(event)
        self.column = event.start_mark.column + 1 if event.start_mark else 1
        self.message = message


class _Size(NamedTuple):
    nodes: int
    text: int


class _Frame:
    """A mapping or sequence that is still open."""

    __slots__ = ("anchor", "items", "key", "merged", "merging", "pairs", "start")

    def __init__(self, pairs: dict[str, Value] | None, items: list[Value] | None, anchor: str | None, start: _Size) -> None:
        self.pairs = pairs
        self.items = items
        self.anchor = anchor
        self.start = start
        self.key: str | None = None
        self.merging = False
        self.merged: list[dict[str, Value]] = []


_MERGE = "<<"


class _Builder:
    """Takes events one by one; holds the value when the last one was taken."""

    def __init__(self) -> None:
        self.value: Value = None
        self.nodes = 0
        self._text = 0
        self._documents = 0
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Value, _Size]] = {}

    def take(self, event: Event) -> None:
        if isinstance(event, ScalarEvent):
            self._scalar(event)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            self._open(event)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._close(event)
        elif isinstance(event, AliasEvent):
            self._alias(event)
        elif isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _RefusedError(event, "a second document starts here without a line `---` before it")

    def _scalar(self, event: ScalarEvent) -> None:
        text: str = event.value
        self._count(event, 1, len(text))
        if "\0" in text:
            raise _RefusedError(event, "a NUL character is not allowed, escaped neither")
        try:
            if event.implicit[0]:
                if text == _MERGE and self._wants_key():
                    self._stack[-1].key = _MERGE
                    self._stack[-1].merging = True
                    return
                value = scalars.resolve(text)
            elif event.tag is None:
                value = text
            else:
                value = text if event.implicit[1] else scalars.tagged(event.tag, text)
        except ValueError as error:
            raise _RefusedError(event, str(error)) from None
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, _Size(1, len(text)))
        self._put(event, value)

    def _open(self, event: MappingStartEvent | SequenceStartEvent) -> None:
        mapping = type(event) is MappingStartEvent
        if event.tag is not None and event.tag not in ("!", f"tag:yaml.org,2002:{'map' if mapping else 'seq'}"):
            raise _RefusedError(event, f"the tag {scalars.shown(event.tag)} is not allowed; leave it out")
        if len(self._stack) >= MAX_DEPTH:
            raise _RefusedError(event, f"nested more than {MAX_DEPTH} levels deep")
        if self._wants_key():
            raise _RefusedError(event, "a key must be a string, and this one is a mapping or a list")
        start = _Size(self.nodes, self._text)
        if event.anchor is not None:  # known but unfinished: an alias to it in here would be a cycle
            self._anchors.pop(event.anchor, None)
        self._stack.append(_Frame({} if mapping else None, None if mapping else [], event.anchor, start))
        self._count(event, 1, 2)

    def _close(self, event: Event) -> None:
        frame = self._stack.pop()
        value: Value = frame.items
        if frame.pairs is not None:
            value = frame.pairs
            for merged in frame.merged:
                for key, inner in merged.items():
                    frame.pairs.setdefault(key, inner)
        if frame.anchor is not None:
            size = _Size(self.nodes - frame.start.nodes, self._text - frame.start.text)
            self._anchors[frame.anchor] = (value, size)
        self._put(event, value)

    def _alias(self, event: AliasEvent) -> None:
        if event.anchor not in self._anchors:
            raise _RefusedError(event, f"the alias *{event.anchor} has no anchor &{event.anchor} that ends before it")
        value, size = self._anchors[event.anchor]
        self._count(event, size.nodes, size.text)
        self._put(event, value)

    def _count(self, event: Event, nodes: int, text: int) -> None:
        self.nodes += nodes
        self._text += text
        if self.nodes > MAX_NODES:
            raise _RefusedError(event, f"more than {MAX_NODES:,} values in one document (aliases expanded)")
        if self._text > MAX_DOCUMENT:
            raise _RefusedError(event, f"more than {MAX_DOCUMENT:,} characters in one document (aliases expanded)")

    def _wants_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].pairs is not None and self._stack[-1].key is None

    def _put(self, event: Event, value: Value) -> None:
        if not self._stack:
            self.value = value
            return
        frame = self._stack[-1]
        if frame.items is not None:
            frame.items.append(value)
        elif frame.key is None:
            frame.key = self._key(event, frame, value)
        else:
            self._set(event, frame, value)

    def _set(self, event: Event, frame: _Frame, value: Value) -> None:
        assert frame.pairs is not None and frame.key is not None  # noqa: PT018, S101 - a mapping with its key at hand
        if frame.merging:
            frame.merging = False
            for part in value if isinstance(value, list) else [value]:
                if not isinstance(part, dict):
                    raise _RefusedError(event, "`<<` merges a mapping or a list of mappings")
                frame.merged.append(part)
        else:
            frame.pairs[frame.key] = value
        frame.key = None

    @staticmethod
    def _key(event: Event, frame: _Frame, value: Value) -> str:
        if isinstance(value, dict | list):
            raise _RefusedError(event, "a key must be a string, and this one is a mapping or a list")
        try:
            key = scalars.as_key(value)  # type: ignore[arg-type]
        except ValueError as error:
            raise _RefusedError(event, str(error)) from None
        if frame.pairs is not None and key in frame.pairs:
            raise _RefusedError(event, f"the key {key!r} is there twice; keep one")
        return key


def _json(text: bytes) -> Parsed | None:
    """Plain JSON at C speed (and as JSON: surrogate pairs, long keys). None: read it as YAML, which also says what is wrong."""
    nodes = sum(text.count(mark) for mark in (b",", b"[", b"{", b":")) + 1
    if nodes > MAX_NODES or b"\\u0000" in text:
        return None
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_number, parse_float=_number, parse_int=_number)
        if b"\\u" in text:
            msgspec.json.encode(value)  # fails on half a surrogate pair
    except (ValueError, RecursionError):
        return None
    return Parsed(value, nodes) if _depth_fits(value) else None


def _pairs(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("doubled key")
    return value


def _no_number(name: str) -> Value:
    raise ValueError(name)


def _number(text: str) -> Value:
    value = scalars.resolve(text)
    return _no_number(text) if isinstance(value, str) else value


def _depth_fits(value: Value) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level if isinstance(outer, dict | list)
                 for inner in (outer.values() if isinstance(outer, dict) else outer) if isinstance(inner, dict | list)]
        if not level:
            return True
    return False
