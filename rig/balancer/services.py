"""What Services and EndpointSlices mean for the balancer: addresses, ways, and who gets which load-balancer address. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

from rig.api import Object
from rig.balancer.ruleset import Way

Key = tuple[str, str]
"""(namespace, name)."""


def key(item: Object) -> Key:
    """Of any object with a namespace."""
    return item["metadata"]["namespace"], item["metadata"]["name"]


def ways(services: Iterable[Object], slices: Mapping[Key, Sequence[Object]], given: Mapping[Key, str]) -> list[Way]:
    """All ports of all addresses. `slices` by Service, `given` the load-balancer address of a Service."""
    found = []
    for service in services:
        addresses = [*cluster_ips(service), *service["spec"].get("externalIPs", ())]
        addresses += [given[key(service)]] if key(service) in given else []
        for port in service["spec"].get("ports", ()):
            protocol = port.get("protocol", "TCP").lower()
            if protocol in ("tcp", "udp"):
                there = _endpoints(port, slices.get(key(service), ()))
                found += [Way(address, protocol, port["port"], there) for address in addresses]
    return found


def cluster_ips(service: Object) -> list[str]:
    """Its IPv4 addresses inside the cluster; none where it is headless."""
    ips = service["spec"].get("clusterIPs") or [service["spec"].get("clusterIP", "None")]
    return [ip for ip in ips if ip not in ("", "None") and ip_address(ip).version == 4]


def _endpoints(port: Object, slices: Sequence[Object]) -> tuple[tuple[str, int], ...]:
    """Those that are ready; where none is, those that serve while they end, as kube-proxy does (KEP-1669)."""
    ready: set[tuple[str, int]] = set()
    serving: set[tuple[str, int]] = set()
    for each in slices:
        numbers = [own["port"] for own in each.get("ports") or () if own.get("name", "") == port.get("name", "") and own.get("port")]
        for endpoint in (each.get("endpoints") or ()) if each.get("addressType") == "IPv4" else ():
            conditions = endpoint.get("conditions") or {}
            places = {(address, number) for address in endpoint["addresses"] for number in numbers}
            if conditions.get("ready") is not False:
                ready |= places
            elif conditions.get("serving") and conditions.get("terminating"):
                serving |= places
    return tuple(sorted(ready or serving))


def give(services: Iterable[Object], given: Mapping[Key, str], prefix: str) -> dict[Key, str]:
    """The load-balancer address of each Service that wants one: what it had, what it asks for where that is free and ours, else a new
    one. Who asks for what can't be had gets nothing.

    `prefix` is three numbers such as 127.88.0: .1 to .199 are given out, .200 to .254 are only for those that ask.
    """
    wanting = {key(each): each["spec"].get("loadBalancerIP", "") for each in services if each["spec"].get("type") == "LoadBalancer"}
    kept = {who: given[who] for who, asked in wanting.items() if who in given and asked in ("", given[who])}
    taken = set(kept.values())
    for who, asked in sorted(wanting.items(), key=lambda pair: (pair[1] == "", pair[0])):
        if who in kept:
            continue
        free = (f"{prefix}.{number}" for number in range(1, 200))
        usable = (address for address in ((asked,) if asked else free) if address.startswith(f"{prefix}.") and address not in taken)
        address = next(usable, None)
        if address is not None:
            kept[who] = address
            taken.add(address)
    return kept
