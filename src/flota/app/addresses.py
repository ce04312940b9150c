"""Addresses for Gateways that ask for none: the edge finds them, the plan uses them."""

from collections.abc import Iterator, Mapping

from flota.fleet.fleet import Fleet
from flota.fleet.gateway import Gateway
from flota.fleet.problem import Problem
from flota.local.addresses import Addresses, Port

Given = Mapping[tuple[str, str, str], tuple[str, ...]]
_SCHEME = {"UDP": "UDP"}


class GatewayAddresses:
    """Keeps what was given; the identical mapping until it changes."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._given: Given = {}
        self._seen: Mapping[str, object] = {}
        self.problems: tuple[Problem, ...] = ()

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


def _owner(key: tuple[str, str, str]) -> str:
    return "gateway/" + "/".join(key)


def _without(fleet: Fleet) -> Iterator[tuple[tuple[str, str, str], tuple[Port, ...]]]:
    """Gateways without addresses of their own, with the ports they listen on."""
    for cluster in fleet.clusters.values():
        for (namespace, name), gateway in cluster.gateways.items():
            if not gateway.spec.addresses:
                yield (cluster.name, namespace, name), _ports(gateway)


def _ports(gateway: Gateway) -> tuple[Port, ...]:
    ports = {(_SCHEME.get(listener.protocol, "TCP"), listener.port) for listener in gateway.spec.listeners}
    return tuple(sorted(ports))
