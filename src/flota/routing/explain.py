"""What the proxy of a cluster does with a request, and why: its own look-up, done on the plan."""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from flota.plan import (
    ClientCheck,
    Endpoint,
    FilterChain,
    Forward,
    Listener,
    Locality,
    PathMatch,
    ProxyPlan,
    Redirect,
    Respond,
    RouteEntry,
    RouteSource,
    RouteTable,
    Tier,
    WeightedBackend,
)
from flota.routing import lookup
from flota.routing.health import ANSWERING
from flota.routing.lookup import Request
from flota.routing.paths import normalise, replace_prefix, split
from flota.routing.undergone import by_backend, by_rule, is_preflight, session_of

__all__ = ["Answer", "Candidate", "Request", "explain_request"]

_GRPC = {404: "UNIMPLEMENTED", 503: "UNAVAILABLE"}
_WELL_KNOWN = {"http": 80, "https": 443}


class Candidate(Struct, frozen=True):
    """A backend the request may go to. `share` of the requests, 0.0 to 1.0; `backend` None = answered 500."""

    backend: str | None
    label: str
    share: float
    tiers: tuple[Tier, ...] = ()

    @property
    def serves(self) -> bool:
        """Whether any endpoint takes it: those that drain do where nothing else is left."""
        return any(each.state in ANSWERING for each in _endpoints(self.tiers))


class Answer(Struct, frozen=True):
    """`status`: what the proxy itself answers, None when it forwards (or there is no HTTP answer: see `why`).

    `grpc_status`: what the proxy answers a gRPC call; `status` is 200 then.
    `listener`, `chain`, `table`, `host`: how far the look-up came. `tiers`: those of the backend with the largest share.
    """

    status: int | None = None
    grpc_status: str | None = None
    listener: str | None = None
    chain: str | None = None
    table: str | None = None
    host: str | None = None
    entry: RouteEntry | None = None
    source: RouteSource | None = None
    candidates: tuple[Candidate, ...] = ()
    filters: tuple[str, ...] = ()
    location: str | None = None
    why: tuple[str, ...] = ()

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """Where the request goes first, and then."""
        best = max(self.candidates, key=lambda each: each.share, default=None)
        return best.tiers if best else ()


def explain_request(proxy: ProxyPlan, request: Request) -> Answer:
    """Simulate the proxy."""
    request = lookup.received(request)
    answer = _look(proxy, request)
    if answer.status is None or not lookup.is_grpc(request):
        return answer
    # What the proxy itself answers to a gRPC call is a gRPC status, which HTTP carries as a success.
    name = _GRPC.get(answer.status, "UNKNOWN")
    return _with(answer, [*answer.why, f"as a gRPC call it gets {name} in place of {answer.status}"], status=200, grpc_status=name)


def _look(proxy: ProxyPlan, request: Request) -> Answer:
    port = lookup.port_of(request)
    found = lookup.listeners(proxy.listeners.values(), request)
    if not found:
        ports = ", ".join(sorted({f"{each.address}:{each.port}" for each in proxy.listeners.values()})) or "nothing"
        return Answer(why=(f"nothing listens for it on port {port}: the proxy of {proxy.cluster} listens on {ports}",))
    listener = found[0]
    why = [f"{listener.address} port {port} belongs to {_gateways(listener)}"]
    if len(found) > 1:
        why.append(f"{len(found) - 1} more listen on that port ({', '.join(each.name for each in found[1:])}); this is the first")
    return _in_listener(proxy, listener, request, why)


def _in_listener(proxy: ProxyPlan, listener: Listener, request: Request, why: list[str]) -> Answer:
    at = Answer(listener=listener.name)
    chain = lookup.filter_chain(listener, request)
    if chain is None:
        named = lookup.server_name(request)
        why.append(f"no listener there takes {f'the server name {named}' if named else 'a connection without a name'}: it is closed")
        return _with(at, why)
    at = _with(at, why, chain=chain.name)
    table = lookup.table_of(proxy.tables, chain)
    if table is None:
        return _carried(proxy, chain, request, at, why)
    if (chain.tls is None) != (request.scheme == "http"):
        spoken = "plain HTTP" if chain.tls is None else "TLS"
        return _with(at, [*why, f"the listener speaks {spoken}, the request {request.scheme}: no HTTP answer comes back"])
    if chain.tls is not None and chain.tls.clients is not None:
        why = [*why, _checked(chain.tls.clients)]
    return _in_table(proxy, table, request, _with(at, why, table=table.name), why)


def _checked(clients: ClientCheck) -> str:
    if clients.required:
        return "only clients get in that show a certificate signed by the roots of the port (spec.tls.frontend); let this be one"
    return "clients are asked for a certificate, and get in whatever they show (mode AllowInsecureFallback)"


def _in_table(proxy: ProxyPlan, table: RouteTable, request: Request, at: Answer, why: list[str]) -> Answer:
    bare = lookup.bare_host(request.authority)
    host = lookup.virtual_host(table.hosts, request.authority)
    if host is None:
        return _with(at, [*why, f"no route there has a hostname that matches {bare or 'an empty host'}: 404"], status=404)
    why = [*why, f"host {bare} is {_matched(host.domain)}"]
    entry = lookup.entry(host, request)
    if entry is None:
        said = f"none of its {len(host.entries)} matches takes {request.method} {request.path}: 404"
        return _with(at, [*why, said], host=host.domain, status=404)
    source = entry.source
    if source.kind == "Gateway":
        said = f"listener {source.rule_name} of the port is for that host: 421, a client opens a new connection then"
        return _with(at, [*why, said], host=host.domain, entry=entry, source=source, status=421)
    why.append(f"{source.kind} {source.namespace}/{source.name} rules[{source.rule}] takes it: {_match_text(entry)}")
    at = _with(at, why, host=host.domain, entry=entry, source=source, filters=by_rule(entry))
    if entry.cors is not None and is_preflight(request):
        said = "a browser asks whether a page of another origin may send it: the proxy answers that itself"
        return _with(at, [*why, said], status=200)
    if isinstance(entry.action, Redirect):
        location = _location(entry.action, entry.match.path, host.domain, request)
        return _with(at, [*why, f"it redirects to {location}"], status=entry.action.status, location=location)
    if isinstance(entry.action, Respond):
        return _with(at, [*why, _respond_text(entry.action)], status=entry.action.status)
    return _forwarded(proxy, entry, request, at, why)


def _forwarded(proxy: ProxyPlan, entry: RouteEntry, request: Request, at: Answer, why: list[str]) -> Answer:
    assert isinstance(entry.action, Forward)  # noqa: S101
    missing = 503 if entry.match.grpc else 500
    backends = entry.action.backends
    known = session_of(entry.action, request)
    if known is not None:
        why.append(f"its cookie {known.session.name if known.session else ''} belongs to a session, whatever the weights say")
        backends = (msgspec.structs.replace(known, weight=1),)
    candidates = _candidates(proxy, backends)
    held = [each for each in backends if each.weight]
    several = len(entry.action.backends) > 1
    locations = [_location(one.redirect, entry.match.path, at.host or "*", request) if one.redirect else None for one in held]
    said = list(why)
    for one, each, location in zip(held, candidates, locations, strict=True):
        if location is not None and one.backend:
            said.append(f"{each.share:.0%} of the requests, those for {each.label}, are redirected to {location}")
            continue
        said.append(_candidate_text(each, proxy, missing))
        said += (f"for {each.label}: {text}" for text in by_backend(one, entry.match.path, several=several) if one.backend)
    statuses = {_status_of(one, each, missing) for one, each in zip(held, candidates, strict=True)}
    status = next(iter(statuses)) if len(statuses) == 1 else None
    location = locations[0] if len(set(locations)) == 1 else None
    return _with(at, said, status=status, candidates=candidates, location=location)


def _status_of(one: WeightedBackend, each: Candidate, missing: int) -> int | None:
    """What the proxy itself answers requests of that share; None = it sends them on."""
    if one.redirect:
        return one.redirect.status
    return None if each.serves else 503 if each.backend else missing


def _carried(proxy: ProxyPlan, chain: FilterChain, request: Request, at: Answer, why: list[str]) -> Answer:
    """A chain that carries bytes: no HTTP is looked at."""
    if chain.tls is not None and request.scheme == "http":
        return _with(at, [*why, "the listener speaks TLS, the request does not: the connection is closed"])
    candidates = _candidates(proxy, chain.backends or ())
    source = chain.source
    if source is None:
        return _with(at, [*why, "no route takes connections there: they are closed"])
    said = [*why, f"{source.kind} {source.namespace}/{source.name} carries the connection; HTTP in it is not looked at"]
    said += [_candidate_text(each, proxy, None) for each in candidates]
    return _with(at, said, source=source, candidates=candidates)


def _candidates(proxy: ProxyPlan, backends: Iterable[WeightedBackend]) -> tuple[Candidate, ...]:
    held = [each for each in backends if each.weight]
    total = sum(each.weight for each in held) or 1
    found = []
    for each in held:
        backend = proxy.backends.get(each.backend) if each.backend else None
        endpoints = proxy.endpoints.get(backend.endpoints) if backend else None
        label = backend.label if backend else ""
        found.append(Candidate(each.backend, label, each.weight / total, endpoints.tiers if endpoints else ()))
    return tuple(found)


def _candidate_text(each: Candidate, proxy: ProxyPlan, missing: int | None) -> str:
    share = f"{each.share:.0%} of the requests go" if each.share < 1 else "it goes"
    if each.backend is None:
        return f"{each.share:.0%}: the reference does not resolve, " + (f"answered {missing}" if missing else "the connection is closed")
    if not each.serves:
        return f"{share} to {each.label}, which has no endpoint that serves" + (": 503" if missing else "")
    return f"{share} to {each.label}: {'; then '.join(_tier_text(tier, proxy.cluster) for tier in each.tiers)}"


def _tier_text(tier: Tier, home: str) -> str:
    return ", ".join(_place_text(each, home) for each in tier.localities)


def _place_text(place: Locality, home: str) -> str:
    serving = sum(each.state in ANSWERING for each in place.endpoints)
    where = "here" if place.cluster == home else f"in {place.cluster}"
    reason = f" ({place.why})" if place.why else ""
    return f"{serving} of {len(place.endpoints)} endpoints {where}{reason}"


def _endpoints(tiers: tuple[Tier, ...]) -> Iterable[Endpoint]:
    return (each for tier in tiers for place in tier.localities for each in place.endpoints)


def _location(action: Redirect, matched: PathMatch, domain: str, request: Request) -> str:
    """The Location header, as the proxy writes it: it keeps the request's port unless the host or a port is set."""
    scheme = action.scheme or request.scheme
    host, port = action.host, f":{action.port}" if action.port else ""
    if action.port == 0 and host is None:
        if not domain.startswith("*"):
            host = domain
        elif action.scheme:
            port = f":{_WELL_KNOWN[action.scheme]}"
    path, query = split(request.path)
    path = normalise(path)
    if action.full_path is not None:
        path = action.full_path
    elif action.prefix is not None:
        path = replace_prefix(path, matched.value, action.prefix)
    return f"{scheme}://{_request_host(request, scheme, port) if host is None else host}{port}{path}{query}"


def _request_host(request: Request, scheme: str, port: str) -> str:
    host = request.authority
    at = host.rfind(":")
    if at < 0 or host.rfind("]") > at:
        return host
    own = f":{_WELL_KNOWN.get(request.scheme, 0)}"
    return host[:at] if port or (scheme != request.scheme and host[at:] == own) else host


def _match_text(entry: RouteEntry) -> str:
    match = entry.match
    texts = [f"path {match.path.kind} {match.path.value}"]
    texts += [f"method {match.method}"] if match.method else []
    texts += [f"header {each.name} {each.kind} {each.value!r}" for each in match.headers]
    texts += [f"query {each.name} {each.kind} {each.value!r}" for each in match.query]
    return ", ".join(texts + (["a gRPC call"] if match.grpc else []))


def _respond_text(action: Respond) -> str:
    return f"the rule has no backend that resolves, or can't be done: {action.status}"


def _matched(domain: str) -> str:
    return "matched by routes without a hostname" if domain == "*" else f"matched by {domain}"


def _gateways(listener: Listener) -> str:
    return ", ".join(f"Gateway {namespace}/{name}" for namespace, name in listener.gateways)


def _with(at: Answer, why: list[str], **changes: object) -> Answer:
    fields = {name: getattr(at, name) for name in Answer.__struct_fields__}
    return Answer(**{**fields, **changes, "why": tuple(why)})
