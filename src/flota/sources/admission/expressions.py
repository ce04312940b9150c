"""Regular expressions: RE2 decides, because Envoy matches with it."""

from flota.fleet import expressions
from flota.sources.admission.fault import Faults, Path, fault, quoted


def expression(path: Path, pattern: str) -> Faults:
    """A fault with RE2's reason, and the position of what it names, if `pattern` is not an RE2 expression."""
    reason = expressions.fault(pattern)
    if reason is not None:
        culprit = reason.rpartition(": ")[2]
        at = pattern.find(culprit) if ": " in reason else len(pattern) - 1
        where = f" at character {at + 1}" if at >= 0 and culprit != pattern else ""
        said = f"{quoted(pattern)} is not a regular expression of RE2{where}: {reason}; see the RE2 syntax, which has no look-around"
        yield fault(path, "Invalid", said)
