"""libyaml's events, typed. The only place that knows its binding."""

from collections.abc import Iterator

from yaml.cyaml import CParser  # type: ignore[attr-defined]
from yaml.events import Event, StreamEndEvent


def events_of(text: bytes) -> Iterator[Event]:
    """The events of `text` one by one, without the last (end of stream). Raises `yaml.YAMLError`."""
    next_event = CParser(text).get_event
    event = next_event()
    while event is not None and type(event) is not StreamEndEvent:
        yield event
        event = next_event()


def line_of(event: Event) -> int:
    """The line of an event, from 1."""
    return event.start_mark.line + 1 if event.start_mark else 1
