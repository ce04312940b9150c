"""Running `flota` as people do: a process, its output and its exit code."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple


class Ran(NamedTuple):
    """What a command said and how it ended. `cpu` in seconds, of the command and what it waited for."""

    code: int
    out: str
    err: str
    cpu: float

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def flota(*words: str, cwd: Path | None = None, timeout: float = 90, env: dict[str, str] | None = None) -> Ran:
    """Run one command to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        [sys.executable, "-m", "flota.cli", *words],
        cwd=cwd, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ran(ended.returncode, ended.stdout, ended.stderr, cpu)
