"""Requests that came on a connection meant for another listener (RFC 9110 section 15.5.20, Gateway API Listener hostname)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from flota.routing.fronts import Front

MOST = 64
"""Listeners with TLS on one socket up to which each knows the hosts of all others: every one of them has a host in every table. With more,
requests for others' hosts get 404 in place of 421, which the API allows and a client does not try again elsewhere."""


def neighbours(fronts: Iterable[Front]) -> Mapping[str, tuple[Front, ...]]:
    """Served listeners that take connections by server name, by socket; sockets with too many of them have none."""
    found: defaultdict[str, list[Front]] = defaultdict(list)
    for front in fronts:
        if front.protocol in ("HTTPS", "TLS"):
            for socket in front.sockets:
                found[socket].append(front)
    return {socket: tuple(several) for socket, several in found.items() if len(several) <= MOST}


def elsewhere(front: Front, ports: Mapping[str, tuple[Front, ...]]) -> tuple[Front, ...]:
    """Other listeners that a request on a connection to this HTTPS listener might have been meant for."""
    if front.protocol != "HTTPS":
        return ()
    return tuple({each.id: each for socket in front.sockets for each in ports.get(socket, ()) if each.id != front.id}.values())
