"""Reads folders with one hostile file each, every one in a process of its own, and prints what it cost.

Run by test_files_hostile. The processes are forked from this one, so that each starts small.
"""

import json
import os
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from flota.sources.folder import Folder, load
from flota.sources.memory import SourceMemory


def peak_mib() -> float:
    """The most memory this process had. (The kernel hands `ru_maxrss` on from the process that started this one.)"""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def probe(root: Path) -> dict[str, object]:
    """CPU seconds of reading the folder and of its longest step, peak memory, and what is told of it."""
    folder = Folder(root, SourceMemory())
    started, longest = time.process_time(), 0.0
    steps = load(folder, datetime.now(UTC))
    while True:
        before = time.process_time()
        ended = next(steps, "end") == "end"
        longest = max(longest, time.process_time() - before)
        if ended:
            break
    return {
        "seconds": time.process_time() - started,
        "longest": longest,
        "mib": peak_mib(),
        "problems": [[problem.file, problem.line, problem.reason, problem.message] for problem in folder.table.problems()],
        "good": [name for _, name in folder.table.objects("eu", "services")],
    }


def main(roots: list[Path]) -> None:
    """One line of JSON for each folder, in their order."""
    for root in roots:
        child = os.fork()
        if child == 0:
            sys.stdout.write(json.dumps(probe(root)) + "\n")
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"reading {root} failed")


if __name__ == "__main__":
    main([Path(root) for root in sys.argv[1:]])
