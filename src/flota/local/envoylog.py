"""What Envoy's own log says about why it ended."""

import re
from collections.abc import Sequence

import msgspec

_LINE = re.compile(r"^\[[^\]]*\]\[\d+\]\[(?P<level>\w+)\]\[[^\]]*\] (?:\[[^\]]*\] )?(?P<text>.*)$")
_LOUD = {"critical", "error"}
_SHOWN = 3

_CAUSES = (
    (
        re.compile(r"domain socket.*errno=98|bind.*domain socket"),
        "AnotherEnvoy",
        "an Envoy with the same base id runs already",
    ),
    (re.compile(r"Address already in use|errno=98"), "PortInUse", "a port it wants is taken (see `ss -lntup`)"),
    (
        re.compile(r"Permission denied"),
        "PermissionDenied",
        "a port below 1024 needs root or CAP_NET_BIND_SERVICE, or a file is not readable",
    ),
    (re.compile(r"No space left on device"), "DiskFull", "the disk is full"),
    (
        re.compile(r"Unable to parse|INVALID_ARGUMENT|Proto constraint validation|Protobuf message"),
        "BootstrapRefused",
        "Envoy does not take its configuration",
    ),
)


class Trouble(msgspec.Struct, frozen=True):
    """Why something does not run: a reason in one word, a message for people."""

    reason: str
    message: str


def trouble(lines: Sequence[str], words: str) -> Trouble:
    """The cause of an end from the last loud lines of a log; `words` say how it ended."""
    loud = [text for level, text in map(_split, lines) if level in _LOUD][-_SHOWN:]
    # Envoy says some things without its log (a bad command line); then the last lines are all there is.
    said = loud or [line.strip() for line in lines if line.strip()][-_SHOWN:]
    # Protobuf sprinkles blanks into its messages so that nobody relies on them; people should not see that.
    whole = " | ".join(" ".join(line.split()) for line in said)
    for pattern, reason, advice in _CAUSES:
        if pattern.search(whole):
            return Trouble(reason, f"{words}: {advice}: {whole}")
    return Trouble("Crashed", f"{words}: {whole}" if whole else words)


def _split(line: str) -> tuple[str, str]:
    found = _LINE.match(line)
    return (found["level"], found["text"]) if found else ("", line)
