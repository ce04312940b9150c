"""The rig's own room on this machine: network, mounts, host name and process numbers apart from everything else.

Nothing that happens in it touches the host's network, and everything in it ends with its first process.
"""

import ctypes
import ctypes.util
import os
import shutil
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rig.build import UnavailableError

ADDRESS = "10.255.0.1"
"""Of the rig's host side in its own network: what pods see when they are called from outside of pods."""

_NEWNS, _NEWUTS, _NEWIPC, _NEWPID, _NEWNET = 0x00020000, 0x04000000, 0x08000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG = 1
_TOOLS = {"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux", "unshare": "util-linux", "setpriv": "util-linux"}
_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    # From a loopback address to a pod, and from a pod to what listens on loopback.
    "net/ipv4/conf/all/route_localnet": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/ip_unprivileged_port_start": "0",
    "net/ipv4/ip_local_port_range": "20000 60999",
}


class HostNetwork:
    """The network that we came from. Make it before `enter`."""

    def __init__(self) -> None:
        self._namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def listener(self, address: str, port: int) -> socket.socket:
        """A TCP listener there, for us here: a socket stays in the network where it was made. Raises OSError."""
        with ThreadPoolExecutor(1, "host network") as thread:
            return thread.submit(self._made, address, port).result()

    def _made(self, address: str, port: int) -> socket.socket:
        # Of this thread only (setns(2)), and it ends with this.
        libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
        if libc.setns(self._namespace, _NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return socket.create_server((address, port))


def missing() -> str | None:
    """Why a node can't run here; None when it can."""
    if os.geteuid() != 0:
        return "a node needs root: it makes network namespaces"
    absent = sorted({package for tool, package in _TOOLS.items() if shutil.which(tool) is None})
    if absent:
        return f"a node needs the packages {', '.join(absent)}"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "a node needs overlayfs in the kernel"
    return None


def enter(note: Path) -> int | None:
    """Go on in a room of our own. Returns None there, as its first process; outside, the exit code once it is over.

    Call before any thread or event loop is there. `note` gets the first process's number as the host sees it. Raises UnavailableError.
    """
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    reading, writing = os.pipe()
    if libc.unshare(_NEWNS | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET):
        raise UnavailableError(f"no namespaces for a node: {os.strerror(ctypes.get_errno())}")
    child = os.fork()
    if child:
        os.close(reading)
        note.write_text(f"{child}\n")
        os.close(writing)
        return _outside(child)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.close(writing)
    # Until our number is noted, nobody could be told that we are ready.
    os.read(reading, 1)
    os.close(reading)
    _furnish()
    return None


def _outside(child: int) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _frame: os.kill(child, got))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _furnish() -> None:
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "proc", "proc", "/proc")
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
    # Every address must have a route before the balancer can turn it elsewhere.
    run("ip", "route", "add", "default", "dev", "lo", "src", ADDRESS)
    for name, value in _SYSCTLS.items():
        (Path("/proc/sys") / name).write_text(value)
    socket.sethostname("rig")


def run(*command: str, stdin: str = "") -> None:
    """A short command that must succeed. Raises UnavailableError."""
    ended = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise UnavailableError(f"{' '.join(command)}: {ended.stderr.strip()}")
