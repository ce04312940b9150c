"""Route tables as sharded scoped routes: a change costs its shard, not the whole table.

Every request gets one of 256 keys from its host (64 where no module computes it); a scope leads each key to a RouteConfiguration with the
exact hosts of that key and all wildcard hosts, so Envoy's own look-up (exact, longest suffix, `*`) finds what Gateway API says. A whole
table of 5,000 hosts costs Envoy 127 ms per change, a shard 1 ms. Source: Envoy, scoped route discovery; figures: `make bench`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping

import msgspec

from flota.envoy.protos import Protos
from flota.envoy.routes import EncodedHost, RouteBuilder
from flota.envoy.scope_key import HEADER, KEYS, Way, key_of
from flota.envoy.wire import RDS, SRDS, Ref, Resource, field, resource
from flota.plan import RouteTable, VirtualHost

OWN_HEADERS = ("x-envoy-external-address",)
"""What Envoy adds to requests of its own accord and no backend has asked for; the client's address is in X-Forwarded-For."""
STEPS = ((0, 1), (40, 8), (400, 64), (1500, 256))
"""(hosts, RouteConfigurations behind the keys for more than these): start-up of small fleets stays cheap, and a change costs 2 kB and
Envoy 30 µs per host of its shard."""


class TableLink(msgspec.Struct, frozen=True):
    """What a listener has to know of a table; another object only when a listener has to change."""

    name: str
    sharded: bool
    refs: frozenset[Ref]
    """All resources of the table."""


class EncodedTable(msgspec.Struct, frozen=True):
    """A table as resources."""

    routes: Mapping[str, Resource]
    scopes: Mapping[str, Resource]
    link: TableLink


def scope_prefix(table: str, way: Way) -> str:
    """What the keys of a table begin with: scopes of all tables are one set to Envoy."""
    return way[0] + hashlib.blake2b(f"{KEYS[way]} {table}".encode(), digest_size=6).hexdigest()


def table_name(resource_name: str) -> str:
    """The table that a RouteConfiguration or a scope belongs to."""
    return re.sub(r"/[mc]([0-9a-f]{12}/(hold/\d+/)?\d+|\d+/\d+)$", "", resource_name)


def shard_count(hosts: int, wildcards: int, keys: int) -> int:
    """RouteConfigurations behind so many keys. Each has a copy of every wildcard host, so many of those ask for fewer."""
    fitting = (count for more, count in STEPS if hosts > more and count <= keys and count * wildcards <= hosts)
    return max(fitting, default=1)


class TableEncoder:
    """One table and what was made of it. Give it the newest table; it redoes what changed."""

    def __init__(self, protos: Protos, builder: RouteBuilder, way: Way, sharded: bool) -> None:
        self.sharded = sharded
        self._builder = builder
        self._way = way
        self._scope = protos.message("envoy.config.route.v3.ScopedRouteConfiguration")
        self._tail = protos.message("envoy.config.route.v3.RouteConfiguration")(
            ignore_port_in_host_matching=True, request_headers_to_remove=[HEADER, *OWN_HEADERS]
        ).SerializeToString(deterministic=True)
        self._table: RouteTable | None = None
        self._hosts: dict[str, EncodedHost] = {}
        self._wildcards: set[str] = set()
        self._shards: dict[int, dict[str, EncodedHost]] = {}
        self._count = 0
        self._made: EncodedTable | None = None

    def encode(self, table: RouteTable) -> EncodedTable:
        """The same object again when nothing that the proxy sees has changed."""
        if self._made is None or self._table is not table:
            self._made = self._encode(table)
            self._table = table
        return self._made

    def route_names(self, hosts: Iterable[str]) -> frozenset[str]:
        """The RouteConfigurations that these hosts lie in; no hosts = any host."""
        if self._table is None:
            return frozenset()
        shards = {shard for host in (tuple(hosts) or ("*",)) for shard in self._places(host.lower())}
        return frozenset(self._route_name(self._table, shard) for shard in shards)

    def _encode(self, table: RouteTable) -> EncodedTable:
        changed, gone = self._renew(table.hosts)
        count = self._shards_of()
        before = self._made if count == self._count else None
        if before is None:
            self._count = count
            self._shards = {shard: {} for shard in range(count)}
            changed, gone = set(self._hosts), set()
        dirty = self._move(changed, gone)
        if before is not None and not dirty:
            return before
        return self._join(table, before, range(count) if before is None else sorted(dirty))

    def _shards_of(self) -> int:
        return shard_count(len(self._hosts), len(self._wildcards), KEYS[self._way]) if self.sharded else 1

    def _renew(self, hosts: Mapping[str, VirtualHost]) -> tuple[set[str], set[str]]:
        """Domains whose bytes are new, and those that are gone."""
        changed = set()
        before = {} if self._table is None else self._table.hosts
        for domain in [domain for domain, host in hosts.items() if before.get(domain) is not host]:
            known = self._hosts.get(domain)
            encoded = self._hosts[domain] = self._builder.host(hosts[domain])
            if known != encoded:
                changed.add(domain)
            if domain.startswith("*"):
                self._wildcards.add(domain)
        gone = self._hosts.keys() - hosts.keys() if len(self._hosts) != len(hosts) else set()
        for domain in gone:
            del self._hosts[domain]
            self._wildcards.discard(domain)
        return changed, gone

    def _move(self, changed: Iterable[str], gone: Iterable[str]) -> set[int]:
        """Put hosts where they belong; the shards that are no longer what they were."""
        dirty: set[int] = set()
        for domain in gone:
            for shard in self._places(domain):
                del self._shards[shard][domain]
                dirty.add(shard)
        for domain in changed:
            for shard in self._places(domain):
                self._shards[shard][domain] = self._hosts[domain]
                dirty.add(shard)
        return dirty

    def _places(self, domain: str) -> Iterable[int]:
        return range(self._count) if domain.startswith("*") else (key_of(domain, self._way) % self._count,)

    def _join(self, table: RouteTable, before: EncodedTable | None, dirty: Iterable[int]) -> EncodedTable:
        routes = {} if before is None else dict(before.routes)
        for shard in dirty:
            name = self._route_name(table, shard)
            routes[name] = self._shard(name, self._shards[shard])
        if before is not None:
            return msgspec.structs.replace(before, routes=routes)
        scopes = dict(self._scopes(table)) if self.sharded else {}
        refs = {(RDS, name) for name in routes} | {(SRDS, name) for name in scopes}
        return EncodedTable(routes, scopes, TableLink(table.name, self.sharded, frozenset(refs)))

    def _route_name(self, table: RouteTable, shard: int) -> str:
        return f"{table.name}/{self._way[0]}{self._count}/{shard}" if self.sharded else table.name

    def _shard(self, name: str, hosts: Mapping[str, EncodedHost]) -> Resource:
        # In order of names, so that the bytes don't depend on what happened before.
        ordered = [hosts[domain] for domain in sorted(hosts)]
        body = b"".join((field(1, name.encode()), *(host.body for host in ordered), self._tail))
        return resource(RDS, name, body, frozenset().union(*(host.needs for host in ordered)))

    def _scopes(self, table: RouteTable) -> Iterable[tuple[str, Resource]]:
        """The scopes that requests use, and one per RouteConfiguration whose key nobody sends.

        The latter make Envoy ask for a RouteConfiguration before a scope in use is pointed at it, when their number changes.
        """
        prefix = scope_prefix(table.name, self._way)
        for shard in range(self._count):
            yield self._one_scope(f"{table.name}/{prefix}/hold/{self._count}/{shard}", f"{prefix}/hold/{self._count}/{shard}",
                                  self._route_name(table, shard))
        for key in range(KEYS[self._way]):
            yield self._one_scope(f"{table.name}/{prefix}/{key}", f"{prefix}/{key}", self._route_name(table, key % self._count))

    def _one_scope(self, name: str, key: str, routes: str) -> tuple[str, Resource]:
        message = self._scope(name=name, route_configuration_name=routes, key={"fragments": [{"string_key": key}]})
        return name, resource(SRDS, name, message, ((RDS, routes),))
