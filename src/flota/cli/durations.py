"""Durations as people type them."""

import re

from flota.cli.failure import Failure

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds(text: str, option: str) -> float:
    """`90s`, `30m`, `1h30m`, `500ms`, or a plain number of seconds. Raises Failure, naming the option."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        found = float(text)
    elif text and not _PART.sub("", text):
        found = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    else:
        raise Failure(f"{option} {text}: not a duration; write 90s, 30m or 1h30m", 2)
    if found <= 0:
        raise Failure(f"{option} {text}: must be more than zero", 2)
    return found
