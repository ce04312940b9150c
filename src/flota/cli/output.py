"""Printing answers: JSON and YAML for programs, tables for people."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from flota.cli.options import Output

T = TypeVar("T")
_COLOURS = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}


def write(text: str) -> None:
    """One or more lines on stdout."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def note(text: str) -> None:
    """A line for people, on stderr, so that it never mixes with an answer."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def emit(body: bytes, type_: type[T], output: Output, table: Callable[[T, bool], str]) -> None:
    """Print a report that arrives as JSON. `table` gets the report and whether to be wide."""
    if output is Output.JSON:
        write(msgspec.json.format(body, indent=2).decode())
    elif output is Output.YAML:
        write(as_yaml(msgspec.json.decode(body)))
    else:
        write(table(msgspec.json.decode(body, type=type_), output is Output.WIDE))


def as_yaml(value: object) -> str:
    """YAML in the order given."""
    import yaml

    return yaml.dump(value, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False, allow_unicode=True, width=200)


def coloured() -> bool:
    """Whether stdout is a terminal that wants colour (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str) -> str:
    """The text in a colour, or plain where there is none."""
    return f"\033[{_COLOURS[colour]}m{text}\033[0m" if text and coloured() else text


def table(header: Sequence[str], rows: Iterable[Sequence[str]], colours: Callable[[int, str], str | None] | None = None) -> str:
    """Aligned columns, as kubectl prints them. `colours` names the colour of a cell by column and text."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    printed = []
    for number, line in enumerate(lines):
        cells = []
        for column, cell in enumerate(line):
            colour = colours(column, cell) if colours is not None and number else None
            padding = " " * (widths[column] - len(cell)) if column < len(line) - 1 else ""
            cells.append((paint(cell, colour) if colour else cell) + padding)
        printed.append("   ".join(cells).rstrip())
    return "\n".join(printed)
