"""Listeners of Gateways and the pieces of byte-carrying routes → the sockets of a proxy."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from flota.plan import FilterChain, Listener, ObjectRef
from flota.routing.fronts import Front, FrontId
from flota.routing.hostnames import ANY, intersect, most_specific, specificity
from flota.routing.routeplans import Piece

Pieces = Mapping[FrontId, Iterable[Piece]]
Bind = tuple[str, int]
WILDCARD = "0.0.0.0"  # noqa: S104  (a pod's own address, known to nobody before it runs)
PRIVILEGED = 1023
STEP = 10_000
OWN_PORTS = frozenset({19001})
"""Ports that every proxy pod uses itself: readiness and figures."""


def group(fronts: Iterable[Front]) -> dict[str, tuple[Front, ...]]:
    """Served listeners by the name of their socket."""
    found: defaultdict[str, list[Front]] = defaultdict(list)
    for front in fronts:
        for socket in front.sockets:
            found[socket].append(front)
    return {name: tuple(each) for name, each in found.items()}


def bindings(sockets: Mapping[str, tuple[Front, ...]]) -> dict[str, Bind]:
    """Where the sockets of Gateways are that have a proxy of their own: on all addresses of its pod, and on an unprivileged port."""
    taken: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for fronts in sockets.values():
        taken[fronts[0].transport, fronts[0].addresses[0]].add(fronts[0].port)
    return {
        name: (WILDCARD, container_port(fronts[0].port, taken[fronts[0].transport, fronts[0].addresses[0]]))
        for name, fronts in sockets.items()
    }


def container_port(port: int, taken: Collection[int]) -> int:
    """The port inside the pod: 80 becomes 10080, or 20080 where 10080 is `taken` by another listener. No two ports become the same one."""
    if port > PRIVILEGED and port not in OWN_PORTS:
        return port
    return next(each for each in range(port + STEP, 1 << 16, STEP) if each not in taken)


def listener(name: str, fronts: tuple[Front, ...], pieces: Pieces, bind: Bind | None = None) -> Listener:
    """One socket with the chains of all listeners that share it."""
    transport, rest = name.split("/", 1)
    address = rest.rpartition("/")[0]
    chains: dict[str, FilterChain] = {}
    for front in fronts:
        for each in _chains(front, fronts, tuple(pieces.get(front.id, ()))):
            chains[each.name] = each
    return Listener(
        name=name,
        address=address,
        port=fronts[0].port,
        protocol="UDP" if transport == "udp" else "TCP",
        chains=tuple(chains[each] for each in sorted(chains)),
        bind=bind,
        gateways=tuple(sorted({front.gateway for front in fronts})),
    )


def outdone(socket: Listener, fronts: tuple[Front, ...], pieces: Pieces) -> dict[ObjectRef, str]:
    """Routes attached to a socket that get none of its connections, and why: of several only one can have them."""
    holders = {(each.source.kind, each.source.namespace, each.source.name) for each in socket.chains if each.source}
    by_name = {each.server_names: each.source for each in socket.chains}
    found: dict[ObjectRef, str] = {}
    for front in fronts:
        for piece in pieces.get(front.id, ()):
            holder = by_name.get(_names(intersect(front.hostname, piece.hostname) or ANY))
            if piece.source and holder and piece.ref[1:] not in holders:
                who = f"{holder.kind} {holder.namespace}/{holder.name}"
                found[piece.ref] = f"it gets no connections of listener {front.id.listener}: an older route has them ({who})"
    return found


def _chains(front: Front, fronts: tuple[Front, ...], pieces: tuple[Piece, ...]) -> Iterable[FilterChain]:
    if front.protocol == "HTTP":
        return (FilterChain("http", table=front.table),)
    if front.protocol == "HTTPS":
        return (FilterChain(f"https/{front.hostname}", _names(front.hostname), front.tls, table=front.table),)
    if front.protocol == "TLS":
        return _tls(front, fronts, pieces)
    return (_carrying(front.protocol.lower(), (), front, _winner(pieces)),)


def _tls(front: Front, fronts: tuple[Front, ...], pieces: tuple[Piece, ...]) -> Iterable[FilterChain]:
    """A chain for each server name. One for the listener's own is always there: it refuses what no route takes, and keeps
    wider listeners of the port out."""
    by_domain: defaultdict[str, list[Piece]] = defaultdict(list)
    by_domain[front.hostname] = []
    for piece in pieces:
        domain = intersect(front.hostname, piece.hostname)
        if domain and most_specific(domain, (each.hostname for each in fronts)) == front.hostname:
            by_domain[domain].append(piece)
    for domain, held in by_domain.items():
        yield _carrying(f"tls/{domain}", _names(domain), front, _winner(held))


def _winner(pieces: Iterable[Piece]) -> Piece | None:
    """Of several routes only one can have the connections: the most specific hostname, then the oldest route."""
    return min(
        pieces,
        key=lambda piece: ([-each for each in specificity(piece.hostname)], piece.age, piece.ref),
        default=None,
    )


def _carrying(name: str, names: tuple[str, ...], front: Front, piece: Piece | None) -> FilterChain:
    """A chain that carries bytes; without backends it ends every connection at once."""
    if piece is None:
        return FilterChain(name, names, front.tls, backends=())
    return FilterChain(name, names, front.tls, backends=piece.backends, source=piece.source)


def _names(hostname: str) -> tuple[str, ...]:
    return () if hostname == ANY else (hostname,)
