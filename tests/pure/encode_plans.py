"""Small plans for tests of the encoding, and generated ones."""

from typing import Any

from hypothesis import strategies as st

from flota.plan import (
    Backend,
    Endpoint,
    Endpoints,
    FilterChain,
    Forward,
    HealthCheck,
    Listener,
    Locality,
    Match,
    PathMatch,
    ProxyPlan,
    Respond,
    RouteEntry,
    RouteSource,
    RouteTable,
    Secret,
    ServerTLS,
    Tier,
    VirtualHost,
    WeightedBackend,
)


def backend(service: str, protocol: Any = "HTTP1", **more: Any) -> Backend:
    name = f"Service/default/{service}/80/{protocol}"
    return Backend(name, f"service/default/{service}/80", "Service", "default", service, 80, service, protocol,
                   **{"health": HealthCheck(250, 200), **more})


def endpoints(name: str, *tiers: int) -> Endpoints:
    """One tier per port."""
    return Endpoints(name, tuple(Tier((Locality(f"c{port}", f"r{port}", "", (Endpoint("127.0.0.1", port),)),)) for port in tiers))


def entry(action: Any, match: Match | None = None, rule: int = 0, **more: Any) -> RouteEntry:
    return RouteEntry(RouteSource("HTTPRoute", "default", "route", rule), match or Match(), action, **more)


def forward(*services: str, **more: Any) -> Forward:
    return Forward(tuple(WeightedBackend(backend(one).name) for one in services), **more)


def host(domain: str, *entries: RouteEntry) -> VirtualHost:
    return VirtualHost(domain, entries or (entry(Respond(204)),))


def table(*hosts: VirtualHost, name: str = "default/gw/http", sharded: bool = True) -> RouteTable:
    return RouteTable(name, {one.domain: one for one in hosts}, sharded)


def proxy_plan(*tables: RouteTable, services: tuple[str, ...] = (), secrets: tuple[Secret, ...] = ()) -> ProxyPlan:
    """A plan with one listener per table."""
    backends = [backend(one) for one in services]
    tls = ServerTLS(tuple(one.name for one in secrets)) if secrets else None
    listeners = [Listener(f"tcp/127.0.0.1/{8000 + number}", "127.0.0.1", 8000 + number, "TCP",
                          (FilterChain(f"chain {one.name}", tls=tls, table=one.name),)) for number, one in enumerate(tables)]
    return ProxyPlan("us", "us-east", "", {one.name: one for one in listeners}, {one.name: one for one in tables},
                     {one.name: one for one in backends}, {one: endpoints(one, 1, 2) for one in services},
                     {one.name: one for one in secrets})


SERVICES = ("a", "b", "c")
_entries = st.builds(
    lambda service, path, hedge: entry(forward(service, hedge_ms=hedge), Match(PathMatch("Prefix", path))),
    st.sampled_from(SERVICES), st.sampled_from(["/", "/x", "/y"]), st.sampled_from([3000, 250]))
_domains = st.one_of(st.sampled_from(["*", "*.test", "*.a.test"]), st.integers(0, 60).map(lambda number: f"h{number}.test"))
tables = st.dictionaries(_domains, st.lists(_entries, max_size=2).map(tuple), max_size=60).map(
    lambda hosts: table(*(VirtualHost(domain, entries) for domain, entries in hosts.items())))
plans = st.builds(lambda one, services: proxy_plan(one, services=tuple(services)), tables,
                  st.lists(st.sampled_from(SERVICES), min_size=3, max_size=3, unique=True))
