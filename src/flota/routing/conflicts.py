"""Listeners that a connection or request cannot tell apart (Gateway API, "Distinct Listeners"; ListenerSet, GEP-1713)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from flota.fleet.gateway import Listener
from flota.routing.listeners import Fault, hostname, implied_kinds, listed

Spot = tuple[bool, int]
"""(whether UDP, port)."""


class Places:
    """Ports and hostnames of one Gateway as they are taken, in the order of precedence: the Gateway's own listeners first, then those of
    its ListenerSets, the oldest first."""

    def __init__(self) -> None:
        self._hosts: defaultdict[Spot, set[str]] = defaultdict(set)
        self._families: defaultdict[Spot, set[str]] = defaultdict(set)

    def take(self, listeners: Iterable[Listener]) -> dict[str, Fault]:
        """Take the places of one object's listeners. Gives those that are conflicted, by name.

        Who came before keeps its place, whatever else may be wrong with it; among themselves none wins.
        """
        rest: list[Listener] = []
        found: dict[str, Fault] = {}
        for each in listeners:
            fault = self._outdone(each) if implied_kinds(each) else None
            if fault:
                found[each.name] = fault
            elif implied_kinds(each):
                rest.append(each)
        for each in rest:
            self._hosts[_spot(each)].add(hostname(each))
            self._families[_spot(each)].add(_family(each))
        return found | conflicts(rest)

    def _outdone(self, listener: Listener) -> Fault | None:
        """Messages name no listener: who defines a ListenerSet may have no right to see the others."""
        families = self._families.get(_spot(listener))
        if not families:
            return None
        family = _family(listener)
        if families != {family}:
            return Fault("ProtocolConflict", f"port {listener.port} has another protocol in the Gateway or an older ListenerSet")
        if family in ("TCP", "UDP"):
            return Fault("ListenerConflict", f"port {listener.port} belongs to the Gateway or an older ListenerSet")
        if hostname(listener) in self._hosts[_spot(listener)]:
            text = f"port {listener.port} with hostname {hostname(listener)} belongs to the Gateway or an older ListenerSet"
            return Fault("HostnameConflict", text)
        return None


def conflicts(listeners: Iterable[Listener]) -> dict[str, Fault]:
    """Listeners of one object that cannot be told apart, by name. None of them wins."""
    groups: defaultdict[Spot, list[Listener]] = defaultdict(list)
    for each in listeners:
        if implied_kinds(each):
            groups[_spot(each)].append(each)
    found: dict[str, Fault] = {}
    for (_, port), group in groups.items():
        found |= _conflicts_on(port, group)
    return found


def _conflicts_on(port: int, group: list[Listener]) -> Mapping[str, Fault]:
    families = {_family(each) for each in group}
    if len(families) > 1 or (families & {"TCP", "UDP"} and len(group) > 1):
        text = f"port {port} can't be shared by {listed(f'{each.name} ({each.protocol})' for each in group)}"
        return {each.name: Fault("ProtocolConflict", text) for each in group}
    hosts: defaultdict[str, list[str]] = defaultdict(list)
    for each in group:
        hosts[hostname(each)].append(each.name)
    return {
        name: Fault("HostnameConflict", f"{listed(names)} all have port {port} and hostname {host}")
        for host, names in hosts.items()
        if len(names) > 1
        for name in names
    }


def _spot(listener: Listener) -> Spot:
    return listener.protocol == "UDP", listener.port


def _family(listener: Listener) -> str:
    """Protocols of one family share a port: the server name tells them apart."""
    return {"HTTPS": "TLS"}.get(listener.protocol, listener.protocol)
