"""Loopback addresses for gateways and pods: stable, recorded, and apart from those of other fleets on the machine.

An address is derived from the fleet folder and the owner's name, so the same owner gets the same address again; a
check by
binding and a look at the kernel's socket tables keep clear of everything else. 127.0.x.x is never used.
"""

import errno
import hashlib
import socket
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from flota.fleet.problem import Problem
from flota.local.state import StateFolder, local_problem

Port = tuple[str, int]
"""(protocol, number), the protocol "TCP" or "UDP"."""

_ATTEMPTS = 64
_DOCUMENT = "addresses"


def candidate(identity: str, owner: str, attempt: int) -> str:
    """The `attempt`-th address for an owner: one of 16.5 million, the same on every call."""
    digest = hashlib.sha256(f"{identity}/{owner}/{attempt}".encode()).digest()
    return f"127.{1 + digest[0] % 254}.{digest[1]}.{1 + digest[2] % 254}"


def bindable(address: str, port: Port) -> OSError | None:
    """Why a socket can't be bound now; None when it can."""
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    kind = socket.SOCK_STREAM if port[0] == "TCP" else socket.SOCK_DGRAM
    try:
        probe = socket.socket(family, kind)
    except OSError as error:  # a kernel without IPv6
        return error
    with probe:
        if kind == socket.SOCK_STREAM:
            # Connections of a dead predecessor in TIME_WAIT don't keep a server from binding, so they don't count here.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port[1]))
            if kind == socket.SOCK_STREAM:
                probe.listen(1)
        except OSError as error:
            return error
    return None


def used_addresses(proc: Path = Path("/proc/net")) -> frozenset[str]:
    """The IPv4 addresses that sockets of this network namespace are bound to; empty where the kernel hides the
    tables.
    """
    found: set[str] = set()
    for table in ("tcp", "udp"):
        try:
            lines = (proc / table).read_text().splitlines()[1:]
        except OSError:
            continue
        found.update(line.split()[1].partition(":")[0] for line in lines)
    return frozenset(str(IPv4Address(int(word, 16).to_bytes(4, "little"))) for word in found)


def check_ports(address: str, ports: tuple[Port, ...]) -> tuple[str, str] | None:
    """Reason and message of the first port that can't be bound on an address, None when all can."""
    for port in ports:
        error = bindable(address, port)
        if error is not None:
            return _reason(address, port, error)
    return None


def _reason(address: str, port: Port, error: OSError) -> tuple[str, str]:
    place = f"{address}:{port[1]}/{port[0]}"
    if error.errno == errno.EADDRINUSE:
        return (
            "PortInUse",
            f"{place} is taken by another process (see `ss -lntup`): stop it or use another port or address",
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return "PrivilegedPort", (
            f"{place} needs root (or CAP_NET_BIND_SERVICE, or a lower net.ipv4.ip_unprivileged_port_start): use a port from 1024 on"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return "AddressNotUsable", f"{address} is not an address of this machine"
    return "AddressNotUsable", f"cannot bind {place}: {error.strerror}"


class Addresses:
    """The addresses given out by one fleet. The record is a document of the state folder."""

    def __init__(self, state: StateFolder, used: Callable[[], frozenset[str]] = used_addresses) -> None:
        self._state = state
        self._used = used
        kept = state.load(_DOCUMENT, dict[str, str])
        self.problem: Problem | None = kept if isinstance(kept, Problem) else None
        """Why the record could not be read or written, None when all is well."""
        self._given: dict[str, str] = kept if isinstance(kept, dict) else {}

    def given(self) -> Mapping[str, str]:
        """Owner → address."""
        return dict(self._given)

    def give(self, owner: str, ports: tuple[Port, ...] = (), *, running: bool = False) -> str | Problem:
        """The address of an owner (such as `pod/us/default/web-5d-0`), a new one where it has none.

        A recorded address is kept when its holder runs (its own sockets would fail the check) or when it is free;
        otherwise
        the owner moves to another one.
        """
        recorded = self._given.get(owner)
        if recorded is not None and (running or check_ports(recorded, ports) is None):
            return recorded
        avoid = self._used() | frozenset(self._given.values())
        fault = ("NoAddress", "no free loopback address was found")
        for attempt in range(_ATTEMPTS):
            address = candidate(self._state.identity, owner, attempt)
            if address in avoid:
                continue
            found = check_ports(address, ports)
            if found is None:
                return self._record(owner, address)
            fault = found
        return local_problem("Address", owner, *fault, retry=True)

    def adopt(self, owner: str, address: str) -> None:
        """Take note of an address that a running process of ours has."""
        if self._given.get(owner) != address:
            self._record(owner, address)

    def release(self, owner: str) -> None:
        """The owner is gone for good."""
        if self._given.pop(owner, None) is not None:
            self.problem = self._state.save(_DOCUMENT, self._given)

    def _record(self, owner: str, address: str) -> str:
        self._given[owner] = address
        self.problem = self._state.save(_DOCUMENT, self._given)
        return address
