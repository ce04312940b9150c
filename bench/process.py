"""CPU and memory of processes, as the kernel counts them."""

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")

def cpu_s(pid: int) -> float:
    """Seconds of CPU used so far by its threads (those that ended are not counted)."""
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9

def rss_mb(pid: int) -> float:
    """Resident memory in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1000

def pids_with(text: str) -> list[int]:
    """Processes whose command line holds the text; to be looked at, never to be killed."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                if text in (entry / "cmdline").read_bytes().decode(errors="replace"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
