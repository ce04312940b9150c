"""`flota explain request`: what the proxy of a cluster does with a request, and why."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

from flota.plan import ProxyPlan
from flota.report.failed import Failed
from flota.report.named import unknown_cluster
from flota.report.observed import observed_plan
from flota.report.shape import API_VERSION, ApiVersion, Row
from flota.report.tiers import TierRow, tier_rows
from flota.report.view import View
from flota.routing.explain import Answer, Candidate, Request
from flota.routing.explain import explain_request as simulate


class AskedRequest(NamedTuple):
    """A request as it is typed. `source`: the cluster whose Gateway is asked; `gateway` `namespace/name`; headers `name: value`."""

    url: str
    source: str
    gateway: str | None = None
    method: str = "GET"
    headers: Sequence[str] = ()


class RouteName(Row, frozen=True, kw_only=True):
    """The route that takes the request."""

    kind: str
    namespace: str
    name: str


class BackendShare(Row, frozen=True, kw_only=True):
    """A backend and its share of such requests, 0.0 to 1.0. `backend` null = a reference that does not resolve."""

    backend: str | None
    share: float


class RequestExplanation(Row, frozen=True, kw_only=True):
    """`status` null = the proxy forwards, and the backend answers. `rule` counts from 0. `backend`, `tiers`: of the largest share.

    What the look-up did not come to is null. `unseen`: what could not be read, and is not counted.
    """

    api_version: ApiVersion = API_VERSION
    kind: Literal["RequestExplanation"] = "RequestExplanation"
    url: str
    method: str
    source: str
    status: int | None
    gateway: str | None
    listener: str | None
    host: str | None
    route: RouteName | None
    rule: int | None
    rule_name: str | None
    match: int | None
    filters: tuple[str, ...]
    location: str | None
    backend: str | None
    backends: tuple[BackendShare, ...]
    tiers: tuple[TierRow, ...]
    why: tuple[str, ...]
    unseen: tuple[str, ...]


def explain_request(view: View, asked: AskedRequest) -> RequestExplanation | Failed:
    """Simulate the proxy on the plan."""
    if asked.source not in view.fleet.clusters:
        return unknown_cluster(view, asked.source)
    request = _request(asked)
    if isinstance(request, Failed):
        return request
    proxy = observed_plan(view).proxies.get(asked.source)
    if proxy is None:
        message = f"cluster {asked.source} has no Gateway of class flota, so nothing there takes requests"
        return Failed(reason="NoGateway", message=message)
    if request.gateway is not None and not any(request.gateway in each.gateways for each in proxy.listeners.values()):
        known = sorted({"/".join(each) for one in proxy.listeners.values() for each in one.gateways})
        message = f"Gateway {asked.gateway} does not listen in cluster {asked.source}; there are: {', '.join(known) or 'none'}"
        return Failed(reason="NoGateway", message=message, code=2)
    chosen, note = _with_port(proxy, request, urlsplit(asked.url))
    return _explained(view, asked, proxy, simulate(proxy, chosen), note)


def _request(asked: AskedRequest) -> Request | Failed:
    try:
        url = urlsplit(asked.url)
        port = url.port
    except ValueError as error:
        return Failed(reason="BadURL", message=f"{asked.url}: {error}", code=2)
    if url.scheme not in ("http", "https") or not url.hostname:
        return Failed(reason="BadURL", message=f"{asked.url}: write http://HOST[:PORT]/PATH or https://…", code=2)
    headers = [tuple(part.strip() for part in each.partition(":")[::2]) for each in asked.headers]
    bad = next((each for each in asked.headers if ":" not in each), None)
    if bad is not None:
        return Failed(reason="BadHeader", message=f"-H {bad!r}: write 'name: value'", code=2)
    gateway = _gateway(asked.gateway)
    if asked.gateway is not None and gateway is None:
        return Failed(reason="BadGateway", message=f"--gateway {asked.gateway}: write NAMESPACE/NAME", code=2)
    authority = next((value for name, value in headers if name.lower() == "host"), url.netloc.rpartition("@")[2])
    query = f"?{url.query}" if url.query else ""
    literal = url.hostname if authority != url.netloc and _is_address(url.hostname) else None
    return Request(
        authority=authority,
        path=(url.path or "/") + query,
        scheme=url.scheme,
        method=asked.method.upper(),
        headers=tuple((name, value) for name, value in headers),
        address=literal,
        port=port or (443 if url.scheme == "https" else 80),
        gateway=gateway,
        # As `curl` has it; where the URL has an address only, the name is taken to be that of the Host header.
        server_name=None if _is_address(url.hostname) else url.hostname.rstrip("."),
    )


def _gateway(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    namespace, slash, name = text.partition("/")
    if not slash:
        return ("default", namespace)
    return (namespace, name) if namespace and name and "/" not in name else None


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _with_port(proxy: ProxyPlan, request: Request, url: SplitResult) -> tuple[Request, tuple[str, ...]]:
    """A URL without a port means the one port there is, where nothing listens on the scheme's own."""
    ports = sorted({
        each.port for each in proxy.listeners.values()
        if each.protocol == "TCP" and (request.gateway is None or request.gateway in each.gateways)
    })  # fmt: skip
    if url.port is not None or request.port in ports or len(ports) != 1:
        return request, ()
    chosen = Request(**{name: getattr(request, name) for name in Request.__struct_fields__} | {"port": ports[0]})
    return chosen, (f"the URL names no port and nothing listens on {request.port}; port {ports[0]} is the only one there",)


def _explained(view: View, asked: AskedRequest, proxy: ProxyPlan, answer: Answer, note: tuple[str, ...]) -> RequestExplanation:
    best: Candidate | None = max(answer.candidates, key=lambda each: each.share, default=None)
    source = answer.source
    tiers = tier_rows(view, asked.source, best.backend) if best is not None and best.backend else ()
    listener = proxy.listeners.get(answer.listener) if answer.listener is not None else None
    return RequestExplanation(
        url=asked.url,
        method=asked.method.upper(),
        source=asked.source,
        status=answer.status,
        gateway="/".join(listener.gateways[0]) if listener is not None and listener.gateways else None,
        listener=answer.listener,
        host=answer.host,
        route=RouteName(kind=source.kind, namespace=source.namespace, name=source.name) if source is not None else None,
        rule=source.rule if source is not None else None,
        rule_name=source.rule_name if source is not None else None,
        match=source.match if source is not None else None,
        filters=answer.filters,
        location=answer.location,
        backend=best.label if best is not None and best.backend else None,
        backends=tuple(BackendShare(backend=each.label or None, share=each.share) for each in answer.candidates),
        tiers=tiers,
        why=(*note, *answer.why, *_observed(tiers)),
        unseen=view.unseen(),
    )


def _observed(tiers: Sequence[TierRow]) -> Iterator[str]:
    """What the proxy finds where it would send the request, as far as it is not well."""
    for place in (each for tier in tiers for each in tier.localities):
        bad = [each for each in place.endpoints if each.state in ("Dead", "Suspect")]
        for state in dict.fromkeys(each.state for each in bad):
            causes = sorted({each.cause for each in bad if each.state == state and each.cause})
            number = sum(each.state == state for each in bad)
            why = f": {'; '.join(causes)}" if causes else ""
            yield f"the proxy finds {number} of {len(place.endpoints)} endpoints in {place.cluster} {state.lower()}{why}"
