"""Pieces of many routes → the virtual hosts of one route table, where a change costs the hosts it touches."""

from collections import defaultdict
from collections.abc import Iterable
from operator import itemgetter

from flota.plan import Match, ObjectRef, Respond, RouteEntry, RouteSource, RouteTable, VirtualHost
from flota.routing.ages import Age
from flota.routing.fronts import Front, FrontId
from flota.routing.hostnames import ANY, chain, intersect, most_specific
from flota.routing.matches import takes_all
from flota.routing.routeplans import Piece
from flota.routing.rules import Ranked

Tier = tuple[FrontId, str]
"""A listener and a hostname of routes: all pieces there compete by precedence alone."""


class HostTable:
    """One route table, kept up to date by difference.

    A host belongs to the most specific listener of its port that covers it, and only to that (listener isolation). Its
    entries are those of its own hostname, then those of each wildcard above it, as Envoy looks into one virtual host only.
    """

    def __init__(self, name: str, fronts: Iterable[Front], elsewhere: Iterable[Front] = ()) -> None:
        """`elsewhere`: listeners of the same port with tables of their own; for their hosts this one answers 421, as a client
        may re-use a connection that was opened for another host (RFC 9110 section 15.5.20)."""
        self.name = name
        self.fronts = {front.id: front.hostname for front in fronts}
        self.elsewhere = {front.id: front.hostname for front in elsewhere}
        self.rebuilt = 0
        """Virtual hosts built so far: what a change has cost."""
        self._by_hostname = {hostname: each for each, hostname in (*self.elsewhere.items(), *self.fronts.items())}
        exact = all(not each.startswith("*") for each in self.fronts.values())
        self._sharded = not (exact and len(self.fronts) == 1 and name.startswith("https/"))
        self._pieces: defaultdict[Tier, dict[ObjectRef, Piece]] = defaultdict(dict)
        self._merged: dict[Tier, tuple[RouteEntry, ...]] = {}
        self._domains: defaultdict[FrontId, dict[str, set[str]]] = defaultdict(dict)
        self._hosts: dict[str, VirtualHost] = {}
        self._table = RouteTable(name, {}, self._sharded)
        self._keep_apart()

    def update(self, removed: Iterable[Piece], added: Iterable[Piece]) -> RouteTable:
        """Replace pieces and give the table; the same object when nothing in it changed."""
        touched: set[Tier] = set()
        for piece in removed:
            self._pieces[piece.front, piece.hostname].pop(piece.ref, None)
            touched.add((piece.front, piece.hostname))
        for piece in added:
            self._pieces[piece.front, piece.hostname][piece.ref] = piece
            touched.add((piece.front, piece.hostname))
        dirty: set[tuple[FrontId, str]] = set()
        for tier in touched:
            dirty |= self._settle(tier)
        changed = [self._build(front, domain) for front, domain in dirty]
        if any(changed) or len(self._table.hosts) != len(self._hosts):
            self._table = RouteTable(self.name, dict(self._hosts), self._sharded)
        return self._table

    def adopt(self, old: RouteTable) -> RouteTable:
        """Take over the hosts of the table's last version that are still the same, so that nobody sees a change there."""
        for domain, host in self._hosts.items():
            before = old.hosts.get(domain)
            if before is not None and before == host:
                self._hosts[domain] = before
        same = old.sharded == self._sharded and old.hosts == self._hosts
        self._table = old if same else RouteTable(self.name, dict(self._hosts), self._sharded)
        return self._table

    def _keep_apart(self) -> None:
        """A listener's own hostname is answered by it alone, also while it has no routes."""
        for each, hostname in self.elsewhere.items():
            source = RouteSource("Gateway", each.namespace, each.owner, 0, rule_name=each.listener)
            self._hosts[hostname] = VirtualHost(hostname, (RouteEntry(source, Match(), Respond(421)),))
        for hostname in self.fronts.values():
            if self._is_kept(hostname):
                self._hosts[hostname] = VirtualHost(hostname, ())

    def _is_kept(self, hostname: str) -> bool:
        return hostname != ANY and len(self._by_hostname) > 1

    def _settle(self, tier: Tier) -> set[tuple[FrontId, str]]:
        """Note what a tier holds now. Gives the hosts of its listener that it reaches."""
        front, hostname = tier
        self._merged.pop(tier, None)
        domains = self._domains[front]
        own = intersect(self.fronts[front], hostname)
        if own is None:
            return set()
        reached = {own} if not hostname.startswith("*") else _below(domains, hostname) | {own}
        if self._pieces.get(tier):
            domains.setdefault(own, set()).add(hostname)
        else:
            self._pieces.pop(tier, None)
            makers = domains.get(own, set())
            makers.discard(hostname)
            if not makers:
                domains.pop(own, None)
        return {(front, domain) for domain in reached}

    def _build(self, front: FrontId, domain: str) -> bool:
        """Build one host again; whether it is another now."""
        owner = most_specific(domain, self._by_hostname)
        if owner is None or self._by_hostname[owner] != front:
            return False
        old = self._hosts.get(domain)
        if domain not in self._domains[front]:
            if domain == self.fronts[front] and self._is_kept(domain):
                self._hosts[domain] = VirtualHost(domain, ())
            else:
                self._hosts.pop(domain, None)
            return old != self._hosts.get(domain)
        self.rebuilt += 1
        new = VirtualHost(domain, self._entries(front, domain))
        if old == new:
            return False
        self._hosts[domain] = new
        return True

    def _entries(self, front: FrontId, domain: str) -> tuple[RouteEntry, ...]:
        entries: list[RouteEntry] = []
        for hostname in chain(domain):
            for entry in self._tier((front, hostname)):
                entries.append(entry)
                if takes_all(entry.match):
                    return tuple(entries)
        return tuple(entries)

    def _tier(self, tier: Tier) -> tuple[RouteEntry, ...]:
        merged = self._merged.get(tier)
        if merged is None:
            pieces = self._pieces.get(tier)
            if not pieces:
                return ()
            ranked = [(_order(piece.age, each), each.entry) for piece in pieces.values() for each in piece.entries]
            ranked.sort(key=itemgetter(0))
            merged = self._merged[tier] = tuple(entry for _, entry in ranked)
        return merged


def _order(age: Age, ranked: Ranked) -> tuple[object, ...]:
    """The full order of precedence: match, age and name of the route, order of rules and matches in it."""
    source = ranked.entry.source
    return (ranked.precedence, age, source.kind, source.rule, source.match)


def _below(domains: Iterable[str], wildcard: str) -> set[str]:
    if wildcard == ANY:
        return set(domains)
    suffix = wildcard[1:]
    return {each for each in domains if each.removeprefix("*").endswith(suffix)}
