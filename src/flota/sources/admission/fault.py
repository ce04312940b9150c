"""What is wrong with a document, and where."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

from msgspec import Struct

Path = tuple[str | int, ...]
"""Field names as written in the manifest, and list positions from 0."""
Faults = Iterator["Fault"]
T = TypeVar("T")
_LONGEST_STEP = 260


class Fault(Struct, frozen=True):
    """One thing that is wrong. `message` starts with the field's path and says what is allowed.

    `reason` is one of the API server's: Required, Invalid, NotSupported, Duplicate, Forbidden, TooLong, TooMany, TooFew,
    UnknownField, TypeInvalid; or of ours: UnknownKind, UnknownVersion, NotSupportedYet.
    """

    path: Path
    reason: str
    message: str


def text(path: Path) -> str:
    """The path as people write it: `spec.rules[0].matches[1].path`, `metadata.labels[a.b/c]`."""
    out = ""
    for step in path:
        part = step if isinstance(step, int) or len(step) <= _LONGEST_STEP else f"{step[:_LONGEST_STEP]}…"
        if isinstance(part, int) or "." in part or "/" in part or not part:
            out += f"[{part}]"
        else:
            out += f".{part}" if out else part
    return out


def fault(path: Path, reason: str, said: str) -> Fault:
    """A fault at `path`; `said` goes on after the path."""
    return Fault(path, reason, f"{text(path)}: {said}" if path else said)


def quoted(value: object) -> str:
    """A value as the message shows it: strings in quotes, long ones cut."""
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 80 else f'"{value[:70]}…"'
    if isinstance(value, int) and not -(10**20) < value < 10**20:
        return "a number of more than 20 digits"  # Python refuses to print very long ones
    return str(value)


def doubled(path: Path, values: Iterable[T], key: Callable[[T], Hashable], field: str, what: str) -> Faults:
    """A fault for each of `values` whose key came before: at `path[i].field` (`path[i]` where field is empty)."""
    seen: dict[Hashable, int] = {}
    for index, value in enumerate(values):
        known = seen.setdefault(key(value), index)
        if known != index:
            place = (*path, index, field) if field else (*path, index)
            yield fault(place, "Duplicate", f"{what}, as in {text((*path, known))}; remove one of the two")
