"""The plan of one proxy as xDS resources. Work is proportional to the change: what the plan kept is not looked at again."""

from collections.abc import Callable, Iterable, Mapping

from flota.envoy.clusters import ClusterBuilder
from flota.envoy.endpoints import EndpointsBuilder
from flota.envoy.listeners import ListenerBuilder
from flota.envoy.options import Options
from flota.envoy.protos import Protos
from flota.envoy.routes import RouteBuilder
from flota.envoy.secrets import SecretBuilder
from flota.envoy.tables import EncodedTable, TableEncoder, TableLink, table_name
from flota.envoy.udp import with_mixtures
from flota.envoy.wire import CDS, EDS, LDS, RDS, SDS, SRDS, Ref, Resource, Snapshot, TypeUrl
from flota.plan import Backend, Listener, ProxyPlan, RouteTable


class _Kept:
    """Resources by name, each remade only when what it is made from changed. Equal content stays the same object."""

    def __init__(self, make: Callable[..., Resource]) -> None:
        self._make = make
        self._of: tuple[object, ...] = ()
        self._from: dict[str, tuple[object, ...]] = {}
        self._made: Mapping[str, Resource] = {}

    def renew(self, of: tuple[object, ...], sources: Callable[[], dict[str, tuple[object, ...]]]) -> Mapping[str, Resource]:
        """The very same mapping when nothing in it has changed. `of`: the parts of the plan that `sources` looks at."""
        if len(of) == len(self._of) and all(map(_same, of, self._of)):
            return self._made
        before, self._from, self._of = self._from, sources(), of
        made: dict[str, Resource] = {}
        moved = len(self._from) != len(self._made)
        for name, parts in self._from.items():
            kept = self._made.get(name)
            if kept is None or before[name] != parts:  # compares objects by identity first
                one = self._make(*parts)
                if kept is None or kept.version != one.version or kept.needs != one.needs:
                    kept, moved = one, True
            made[name] = kept
        if moved:
            self._made = made
        return self._made


def _same(one: object, other: object) -> bool:
    return one is other


class Encoder:
    """One proxy's. Not for more than one task."""

    def __init__(self, protos: Protos, options: Options) -> None:
        settings = options.settings
        self._protos = protos
        self._way = options.way
        self._routes = RouteBuilder(protos, settings)
        self._tables: dict[str, TableEncoder] = {}
        self._encoded: tuple[EncodedTable, ...] = ()
        self._joined: tuple[Mapping[str, Resource], Mapping[str, Resource]] = ({}, {})
        self._plan: ProxyPlan | None = None
        self._snapshot: Snapshot = {}
        self._dns: tuple[Mapping[str, Backend], list[str]] = ({}, [])
        self._clusters = _Kept(ClusterBuilder(protos, options.system_roots, settings.max_body_bytes).resource)
        self._endpoints = _Kept(EndpointsBuilder(protos).resource)
        self._secrets = _Kept(SecretBuilder(protos).resource)
        self._sockets = ListenerBuilder(protos, options)
        self._listeners = _Kept(self._sockets.resource)

    def snapshot(self, plan: ProxyPlan) -> Snapshot:
        """All resources of the proxy, by type and name. Whatever didn't change is the very same object as last time."""
        if plan is self._plan:
            return self._snapshot
        backends, endpoints = with_mixtures(plan)
        routes, scopes = self._encode_tables(plan.tables)
        links = {table.link.name: table.link for table in self._encoded}
        new: Snapshot = {
            CDS: self._clusters.renew(
                (backends, *(endpoints[each] for each in self._named(backends))),
                lambda: {name: (one, endpoints[one.endpoints]) if one.dns else (one,) for name, one in backends.items()}),
            EDS: self._endpoints.renew(
                (backends, endpoints), lambda: {name: (one, endpoints[one.endpoints]) for name, one in backends.items() if not one.dns}),
            SDS: self._secrets.renew((plan.secrets,), lambda: {name: (one,) for name, one in plan.secrets.items()}),
            RDS: routes,
            SRDS: scopes,
            LDS: self._listeners.renew(
                (plan.listeners, *links.values()),
                lambda: {name: (one, *_tables_of(one, links)) for name, one in plan.listeners.items()}),
        }
        self._sockets.forget_others(plan.listeners)
        self._plan, self._snapshot = plan, new
        return new

    def _named(self, backends: Mapping[str, Backend]) -> list[str]:
        """Endpoints that are names for DNS: they are part of their cluster."""
        if self._dns[0] is not backends:
            self._dns = backends, [one.endpoints for one in backends.values() if one.dns]
        return self._dns[1]

    def plan_name(self, ref: Ref) -> str:
        """The part of the plan that a resource belongs to: a listener, table, backend or secret by its name."""
        type_url, name = ref
        return table_name(name) if type_url in (RDS, SRDS) else name

    def version(self, type_url: TypeUrl, name: str) -> str:
        """Of a resource in the last snapshot; empty where there is none."""
        one = self._snapshot.get(type_url, {}).get(name)
        return "" if one is None else one.version

    def route_names(self, table: str, hosts: Iterable[str]) -> frozenset[str]:
        """The RouteConfigurations of a table that these hosts lie in; those without an exact name, or none at all, lie in each."""
        found = self._tables.get(table)
        return frozenset() if found is None else found.route_names(hosts)

    def _encode_tables(self, tables: Mapping[str, RouteTable]) -> tuple[Mapping[str, Resource], Mapping[str, Resource]]:
        for name in self._tables.keys() - tables.keys():
            del self._tables[name]
        for name, table in tables.items():
            known = self._tables.get(name)
            if known is None or known.sharded != table.sharded:
                self._tables[name] = TableEncoder(self._protos, self._routes, self._way, table.sharded)
        before, now = self._encoded, tuple(self._tables[name].encode(table) for name, table in tables.items())
        if len(before) != len(now) or not all(map(_same, before, now)):
            self._encoded = now
            routes = {name: one for table in now for name, one in table.routes.items()}
            scopes = {name: one for table in now for name, one in table.scopes.items()}
            self._joined = routes, _unless_equal(self._joined[1], scopes)
        return self._joined


def _tables_of(listener: Listener, links: Mapping[str, TableLink]) -> list[TableLink]:
    return [links[chain.table] for chain in listener.chains if chain.table is not None]


def _unless_equal(before: Mapping[str, Resource], now: Mapping[str, Resource]) -> Mapping[str, Resource]:
    same = len(before) == len(now) and all(before.get(name) is one for name, one in now.items())
    return before if same else now
