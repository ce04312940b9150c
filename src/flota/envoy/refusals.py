"""Envoy's words for a refusal, as people read them: what is wrong, and how to mend it.

Source: Envoy 1.40, what it answers when a listener's socket cannot be had; each seen (tests/features/test_survival.py).
"""

import re

import msgspec

_BIND = re.compile(r"cannot bind '\[?(?P<address>[^'\]]*)\]?:(?P<port>\d+)': (?P<why>[^\n]*)")
HALF = 250
"""Signs of either end of a long message."""


class Refused(msgspec.Struct, frozen=True):
    """`reason` is PortUnavailable (Gateway API, a listener's Accepted), AddressNotUsable (a Gateway's Programmed), or Invalid."""

    reason: str
    message: str


def shortened(said: str) -> str:
    """Envoy may quote the whole resource: what is wrong stands at the beginning and at the end."""
    words = " ".join(said.split())
    return words if len(words) <= 2 * HALF else f"{words[:HALF]} … {words[-HALF:]}"


def explained(name: str, said: str) -> Refused:
    """What it means that a proxy refused the resource `name` with the words `said`."""
    bind = _BIND.search(said)
    if bind is None:
        return Refused("Invalid", f"the proxy refused {name}, and keeps the version it had, if any: {shortened(said)}")
    address, port, why = bind["address"], bind["port"], bind["why"]
    if "Address already in use" in why:
        advice = "is taken by another process: end that one (`ss -lnp` shows it) or choose another port"
        return Refused("PortUnavailable", f"port {port} of {address} {advice}; tried again every few seconds")
    if "Permission denied" in why:
        advice = "needs root, CAP_NET_BIND_SERVICE or a lower `sysctl net.ipv4.ip_unprivileged_port_start`; or choose a port from 1024"
        return Refused("PortUnavailable", f"port {port} of {address} {advice}")
    if "Cannot assign requested address" in why:
        return Refused("AddressNotUsable", f"no interface of this machine has the address {address}; tried again every few seconds")
    return Refused("PortUnavailable", f"port {port} of {address} cannot be used: {why}")
