"""What the kernel says about processes (proc(5)): the facts by which a process is known again and a stranger is told
apart.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

PROC = Path("/proc")


class Facts(msgspec.Struct, frozen=True):
    """One line of /proc/PID/stat, as far as it is needed."""

    pid: int
    state: str
    """One letter; Z and X are dead."""
    session: int
    started: int
    """Clock ticks after boot: with the pid and the boot id it names a process for ever, whatever the wall clock
    does.
    """

    @property
    def alive(self) -> bool:
        return self.state not in "ZX"


class Machine(msgspec.Struct, frozen=True):
    """Where pids mean what they say: this boot, this pid namespace."""

    boot: str
    namespace: str


def machine() -> Machine:
    """The machine as it is now; equal values mean that recorded pids can be compared."""
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return Machine(boot, os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 - not a path, a name


def facts(pid: int) -> Facts | None:
    """The facts about a pid, None when there is no such process."""
    try:
        text = (PROC / str(pid) / "stat").read_text("latin-1")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command (field 2) is in brackets and may hold anything, brackets and blanks too: count from the last bracket.
    rest = text.rpartition(")")[2].split()
    return Facts(pid, rest[0], int(rest[3]), int(rest[19]))


def mark_of(pid: int, variable: str) -> str | None:
    """The value of a variable in the environment a process was started with; None when unset or not ours to read."""
    try:
        environ = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    start = f"{variable}=".encode()
    for entry in environ.split(b"\0"):
        if entry.startswith(start):
            return entry[len(start) :].decode("utf-8", "replace")
    return None


def marked(variable: str, prefix: str) -> Iterator[tuple[Facts, str]]:
    """All living processes that were started with a variable whose value starts with `prefix`, with that value."""
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        mark = mark_of(int(entry.name), variable)
        if mark is None or not mark.startswith(prefix):
            continue
        found = facts(int(entry.name))
        if found is not None and found.alive:
            yield found, mark
