"""Whether a program listens, from the kernel's socket tables: nobody is called for it."""

from collections.abc import Sequence
from pathlib import Path

from flota.fleet.pods import ContainerPort

_LISTEN, _UNCONNECTED = "0A", "07"
"""States in /proc/net/tcp and /proc/net/udp (proc(5))."""


def listens(pid: int, ports: Sequence[ContainerPort]) -> bool:
    """Whether all declared ports are open in a process's network namespace; any at all where none is declared."""
    if not ports:
        return bool(_open(pid, "tcp", _LISTEN) or _open(pid, "udp", _UNCONNECTED))
    return all(port.container_port in _open(pid, *_table(port.protocol)) for port in ports if port.protocol in ("TCP", "UDP"))


def _table(protocol: str) -> tuple[str, str]:
    return ("tcp", _LISTEN) if protocol == "TCP" else ("udp", _UNCONNECTED)


def _open(pid: int, table: str, state: str) -> set[int]:
    found: set[int] = set()
    for name in (table, f"{table}6"):
        try:
            lines = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        rows = (line.split() for line in lines)
        found |= {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == state}
    return found
