"""How a proxy finds the entry for a request: listener, chain, virtual host, entry — by the rules its engine goes by."""

from collections.abc import Iterable, Mapping

from msgspec import Struct, structs

from flota.fleet.expressions import fits
from flota.plan import FilterChain, Listener, Match, PathMatch, RouteEntry, RouteTable, ValueMatch, VirtualHost
from flota.routing.hostnames import ANY, chain
from flota.routing.paths import normalise, split


class Request(Struct, frozen=True):
    """A request as it is sent. `authority` as in the Host header; `path` with its query; header names in any case.

    `address`, `port` and `gateway` (namespace, name) choose the listener; what is None is open, the port then follows from
    the authority and the scheme. `server_name`: what the client asks for in TLS; None = the host of the authority.
    """

    authority: str
    path: str = "/"
    scheme: str = "http"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    address: str | None = None
    port: int | None = None
    gateway: tuple[str, str] | None = None
    server_name: str | None = None


def received(request: Request) -> Request:
    """The request as the proxy takes it in: the dot that makes a host name absolute (RFC 3986, 3.2.2) is removed, before a port too."""
    host = request.authority
    at = host.rfind(".")
    if at < 0 or host[at + 1 :][:1] not in ("", ":"):
        return request
    return structs.replace(request, authority=host[:at] + host[at + 1 :])


def bare_host(authority: str) -> str:
    """The authority in lower case without its port: what virtual hosts are compared with."""
    host = authority.lower()
    at = host.rfind(":")
    return host[:at] if at >= 0 and host.rfind("]") < at else host


def port_of(request: Request) -> int:
    """The port the client connects to."""
    if request.port is not None:
        return request.port
    host = bare_host(request.authority)
    given = request.authority[len(host) + 1 :]
    if given.isdigit():
        return int(given)
    return 443 if request.scheme == "https" else 80


def listeners(found: Iterable[Listener], request: Request) -> tuple[Listener, ...]:
    """Listeners the client may mean, in the order of their names. An IP address as host means that address."""
    port = port_of(request)
    several = sorted(
        (
            each
            for each in found
            if each.protocol == "TCP" and each.port == port
            if request.address in (None, each.address) and (request.gateway is None or request.gateway in each.gateways)
        ),
        key=lambda each: each.name,
    )
    literal = bare_host(request.authority).strip("[]")
    named = tuple(each for each in several if each.address == literal)
    return named if named and request.address is None else tuple(several)


def filter_chain(listener: Listener, request: Request) -> FilterChain | None:
    """The chain of a connection: by server name, exact before the longest wildcard before none. Without TLS there is no
    server name; nor is there for an IP address."""
    by_name = {name: each for each in listener.chains for name in each.server_names or (ANY,)}
    name = server_name(request)
    if name is None:
        return by_name.get(ANY)
    return next((by_name[each] for each in chain(name) if each in by_name), None)


def server_name(request: Request) -> str | None:
    """The name that the client asks for in TLS, in lower case. None without TLS and for IP addresses (RFC 6066, 3)."""
    host = bare_host(request.authority) if request.server_name is None else request.server_name.lower()
    plain = request.scheme != "https" or not host or host.startswith("[") or host.replace(".", "").isdigit()
    return None if plain else host


def virtual_host(hosts: Mapping[str, VirtualHost], authority: str) -> VirtualHost | None:
    """Exact, then the longest suffix with something in front of it, then `*`. Nothing else is tried after that."""
    host = bare_host(authority)
    if host in hosts and not host.startswith("*"):
        return hosts[host]
    suffixes = (name for name in hosts if name.startswith("*."))
    best = max((name for name in suffixes if host.endswith(name[1:]) and len(host) > len(name) - 1), key=len, default=ANY)
    return hosts.get(best)


def entry(host: VirtualHost, request: Request) -> RouteEntry | None:
    """The first entry that takes the request."""
    target = Seen.of(request)
    return next((each for each in host.entries if takes(each.match, target)), None)


class Seen(Struct, frozen=True):
    """A request as matchers see it: path normalised, all values of each header, the first of each query parameter."""

    path: str
    method: str
    headers: dict[str, tuple[str, ...]]
    query: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, request: Request) -> "Seen":
        """What matchers see of the request. `host` is the authority as it was sent."""
        path, query = split(request.path)
        headers: dict[str, tuple[str, ...]] = {"host": (request.authority,)}
        for name, value in request.headers:
            lower = name.lower()
            if lower != "host":
                headers[lower] = (*headers.get(lower, ()), value)
        return cls(normalise(path), request.method, headers, _first_of(query))


def is_grpc(request: Request) -> bool:
    """Whether it is a gRPC call."""
    return _is_grpc(Seen.of(request))


def takes(match: Match, seen: Seen) -> bool:
    """Whether all parts of the match hold."""
    return (
        _path(match.path, seen.path)
        and match.method in (None, seen.method)
        and all(_value(each, seen.headers) for each in match.headers)
        and all(_value(each, seen.query) for each in match.query)
        and (not match.grpc or _is_grpc(seen))
    )


def table_of(tables: Mapping[str, RouteTable], found: FilterChain) -> RouteTable | None:
    """The table of a chain; None for one that carries bytes."""
    return tables.get(found.table) if found.table is not None else None


def _path(match: PathMatch, path: str) -> bool:
    if match.kind == "Exact":
        return path == match.value
    if match.kind == "Regex":
        return fits(match.value, path)
    prefix = match.value.rstrip("/")
    return not prefix or path == prefix or path.startswith(prefix + "/")


def _value(match: ValueMatch, held: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether one of the values is the one asked for. Values of a header that is sent twice are not joined."""
    values = held.get(match.name, ())
    if match.kind == "Exact":
        return match.value in values
    return any(fits(match.value, value) for value in values)


def _first_of(query: str) -> dict[str, tuple[str, ...]]:
    """Query parameters as they were sent, escapes and all; of several with one name the first."""
    found: dict[str, tuple[str, ...]] = {}
    for pair in query.removeprefix("?").split("&"):
        name, _, value = pair.partition("=")
        if pair:
            found.setdefault(name, (value,))
    return found


def _is_grpc(seen: Seen) -> bool:
    kind = next(iter(seen.headers.get("content-type", ())), "")
    return kind == "application/grpc" or kind.startswith("application/grpc+")
