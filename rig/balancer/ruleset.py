"""Services as nftables rules. Pure: the same services give the same text.

One map leads from (address, protocol, port) to a chain that picks an endpoint at random; a connection keeps its endpoint, as the kernel
tracks it. What comes from a loopback address, or from the very pod that was picked, gets another source address, or no answer could
find its way back. Where no endpoint is, a connection is refused at once.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address
from typing import NamedTuple

TABLE = "rig"


class Way(NamedTuple):
    """One port of one address of a Service, and where it leads to."""

    address: str
    protocol: str
    """tcp or udp."""
    port: int
    endpoints: tuple[tuple[str, int], ...]


def ruleset(ways: Iterable[Way], source: str) -> str:
    """The whole table, for `nft -f`; it takes the place of the one before in one step. `source` stands for callers that are no pods."""
    known = sorted(set(ways), key=lambda way: (IPv4Address(way.address), way.protocol, way.port))
    open_ways = [way for way in known if way.endpoints]
    closed = [way for way in known if not way.endpoints]
    groups = sorted({(way.protocol, way.endpoints) for way in open_ways})
    names = {group: f"service-{number}" for number, group in enumerate(groups)}
    pods = sorted({ip for way in open_ways for ip, _ in way.endpoints}, key=IPv4Address)
    lines = [f"table ip {TABLE}", f"delete table ip {TABLE}", f"table ip {TABLE} {{"]
    for group, name in names.items():
        lines += _chains(name, *group)
    lines += _collection("map", "ways", "ipv4_addr . inet_proto . inet_service : verdict", [_way(way, names) for way in open_ways])
    lines += _collection("set", "closed", "ipv4_addr . inet_proto . inet_service", [_key(way) for way in closed])
    lines += _collection("set", "hairpins", "ipv4_addr . ipv4_addr", [f"{ip} . {ip}" for ip in pods])
    for name, hook in (("entering", "prerouting"), ("leaving", "output")):
        lines += [f" chain {name} {{", f"  type nat hook {hook} priority -100", f"  {_SERVICE} vmap @ways", " }"]
    lines += [
        " chain returning {",
        "  type nat hook postrouting priority 100",
        f'  ip saddr 127.0.0.0/8 oifname != "lo" snat to {source}',
        f"  ct status dnat ip saddr . ip daddr @hairpins snat to {source}",
        " }",
    ]
    for hook in ("forward", "output"):
        lines += [f" chain refusing-{hook} {{", f"  type filter hook {hook} priority 0"]
        lines += [f"  meta l4proto tcp {_SERVICE} @closed reject with tcp reset", f"  {_SERVICE} @closed reject", " }"]
    return "\n".join([*lines, "}", ""])


_SERVICE = "ip daddr . meta l4proto . th dport"


def _chains(name: str, protocol: str, endpoints: Sequence[tuple[str, int]]) -> list[str]:
    if len(endpoints) == 1:
        return [f" chain {name} {{", _turn(protocol, endpoints[0]), " }"]
    lines = []
    for number, endpoint in enumerate(endpoints):
        lines += [f" chain {name}-{number} {{", _turn(protocol, endpoint), " }"]
    choices = ", ".join(f"{number} : goto {name}-{number}" for number in range(len(endpoints)))
    return [*lines, f" chain {name} {{", f"  numgen random mod {len(endpoints)} vmap {{ {choices} }}", " }"]


def _turn(protocol: str, endpoint: tuple[str, int]) -> str:
    return f"  meta l4proto {protocol} dnat to {endpoint[0]}:{endpoint[1]}"


def _collection(kind: str, name: str, type_: str, elements: Sequence[str]) -> list[str]:
    held = [f"  elements = {{ {', '.join(elements)} }}"] if elements else []
    return [f" {kind} {name} {{", f"  type {type_}", *held, " }"]


def _key(way: Way) -> str:
    return f"{way.address} . {way.protocol} . {way.port}"


def _way(way: Way, names: dict[tuple[str, tuple[tuple[str, int], ...]], str]) -> str:
    return f"{_key(way)} : goto {names[way.protocol, way.endpoints]}"
