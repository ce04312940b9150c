"""Addresses of Gateways: the edge finds one for those that leave it open, and says which of the others nothing can listen on."""

from collections.abc import Iterable, Iterator, Mapping

from flota.fleet.fleet import Fleet
from flota.fleet.gateway import Gateway, ListenerSet
from flota.fleet.problem import Problem
from flota.local.addresses import Addresses, Port, check_ports
from flota.routing.listenersets import by_gateway

Given = Mapping[tuple[str, str, str], tuple[str, ...]]
Unusable = Mapping[tuple[str, str], str]
_ANY_PORT: Port = ("UDP", 0)
_SCHEME = {"UDP": "UDP"}


class GatewayAddresses:
    """Keeps what was given; the identical mapping until it changes."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._given: Given = {}
        self._seen: Mapping[str, object] = {}
        self._unusable: Unusable = {}
        self.problems: tuple[Problem, ...] = ()

    def unusable(self, fleet: Fleet) -> Unusable:
        """(cluster, address) that a Gateway names → why not. Addresses come and go with the machine's interfaces, so this is asked again
        and again."""
        asked = {
            (cluster.name, each.value)
            for cluster in fleet.clusters.values()
            for gateway in cluster.gateways.values()
            for each in gateway.spec.addresses
            if each.type == "IPAddress" and each.value
        }
        found = {(cluster, address): why for cluster, address in sorted(asked) if (why := _unfit(address))}
        if found != self._unusable:
            self._unusable = found
        return self._unusable

    def of(self, fleet: Fleet, running: frozenset[str]) -> Given:
        """(cluster, namespace, name) → addresses. `running`: clusters whose proxy lives and so holds its own sockets."""
        seen = {name: cluster.gateways for name, cluster in fleet.clusters.items()}
        if seen.keys() == self._seen.keys() and all(self._seen[name] is each for name, each in seen.items()):
            return self._given
        self._seen = seen
        given, problems = dict(self._given), []
        wanted = dict(_without(fleet))
        for key in given.keys() - wanted.keys():
            del given[key]
        for key, ports in wanted.items():
            if key in given:
                continue
            found = self._addresses.give(_owner(key), ports, running=key[0] in running)
            if isinstance(found, Problem):
                problems.append(found)
            else:
                given[key] = (found,)
        self.problems = tuple(problems)
        if given != self._given:
            self._given = given
        return self._given


def _unfit(address: str) -> str | None:
    found = check_ports(address, (_ANY_PORT,))
    return f"{found[1]}; give it to an interface, or name another one in spec.addresses" if found else None


def _owner(key: tuple[str, str, str]) -> str:
    return "gateway/" + "/".join(key)


def _without(fleet: Fleet) -> Iterator[tuple[tuple[str, str, str], tuple[Port, ...]]]:
    """Gateways that leave an address open, with the ports they listen on."""
    for cluster in fleet.clusters.values():
        for (namespace, name), gateway in cluster.gateways.items():
            if leaves_open(gateway):
                sets = by_gateway(cluster).get((namespace, name), ())
                yield (cluster.name, namespace, name), _ports((gateway, *sets))


def leaves_open(gateway: Gateway) -> bool:
    """Whether an address is to be found for it: it names none, or one of a type without a value."""
    addresses = gateway.spec.addresses
    return not addresses or any(each.type == "IPAddress" and not each.value for each in addresses)


def _ports(given: Iterable[Gateway | ListenerSet]) -> tuple[Port, ...]:
    ports = {(_SCHEME.get(listener.protocol, "TCP"), listener.port) for each in given for listener in each.spec.listeners}
    return tuple(sorted(ports))
