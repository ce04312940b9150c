"""The live table of `flota up`, `flota status --watch` and the demo: redrawn in a terminal, plain lines of what changed elsewhere."""

import sys
from collections.abc import Callable
from typing import TextIO

from flota.cli.status_table import place
from flota.report.status import FleetStatus


class Screen:
    """Redraws a text in place. Without a terminal it prints a text only when it is another one than before."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._live = self._out.isatty()
        self._last = ""

    @property
    def live(self) -> bool:
        """Whether the text is redrawn in place."""
        return self._live

    def show(self, text: str) -> None:
        """Replace what is shown."""
        if self._live:
            # Home, each line with the rest of the old one erased, then everything below: no flicker, nothing left over.
            body = "".join(f"{line}\033[K\n" for line in text.splitlines())
            self._out.write(f"\033[H{body}\033[J" if self._last else f"\033[2J\033[H{body}")
        elif text != self._last:
            self._out.write(f"{text}\n")
        self._last = text
        self._out.flush()

    def finish(self) -> None:
        """Leave what is shown, and go on below it."""
        if self._live and self._last:
            self._out.write("\n")
            self._out.flush()


def changes(before: FleetStatus | None, now: FleetStatus) -> tuple[str, ...]:
    """What is different, a line each: for logs and pipes."""
    lines = []
    for title, state_of in _TRACKED:
        old = state_of(before) if before is not None else {}
        new = state_of(now)
        lines += [f"{title} {name}: {state}" for name, state in new.items() if old.get(name) != state]
        lines += [f"{title} {name}: gone" for name in old if name not in new]
    return tuple(lines)


def _clusters(status: FleetStatus) -> dict[str, str]:
    return {each.name: f"{each.state or 'Unknown'}, {each.reason}" for each in status.clusters}


def _gateways(status: FleetStatus) -> dict[str, str]:
    return {
        place(each.cluster, "", each.namespace, each.name): f"{each.reason} {','.join(each.addresses)}".strip() for each in status.gateways
    }


def _problems(status: FleetStatus) -> dict[str, str]:
    return {place(each.cluster, each.kind, each.namespace, each.name): f"{each.reason}: {each.message}" for each in status.problems}


def _drains(status: FleetStatus) -> dict[str, str]:
    return {each.target: f"until {each.until.isoformat(timespec='seconds')}" for each in status.drains}


_TRACKED: tuple[tuple[str, Callable[[FleetStatus], dict[str, str]]], ...] = (
    ("cluster", _clusters),
    ("gateway", _gateways),
    ("drain", _drains),
    ("problem", _problems),
)
