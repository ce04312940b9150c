"""What a request and its answer undergo on their way, in words."""

from collections.abc import Iterable, Iterator

from flota.plan import (
    CrossOrigin,
    ExternalAuth,
    Forward,
    HeaderChanges,
    Mirror,
    PathMatch,
    Rewrite,
    RouteEntry,
    Session,
    WeightedBackend,
)
from flota.routing.lookup import Request


def by_rule(entry: RouteEntry) -> tuple[str, ...]:
    """What all requests that an entry takes undergo."""
    found = [*_cors(entry.cors), *map(_guard, entry.auth), *_changes("request", entry.request_headers)]
    found += _changes("response", entry.response_headers)
    if isinstance(entry.action, Forward):
        found += [*_rewrite(entry.action.rewrite, entry.match.path), *_mirrors(entry.action.mirrors)]
        sessions = {each.session for each in entry.action.backends if each.session}
        if len(entry.action.backends) == 1:
            found += map(_session, sessions)
    return tuple(found)


def by_backend(one: WeightedBackend, matched: PathMatch, *, several: bool) -> tuple[str, ...]:
    """What only the requests for one backend undergo, after what the rule says."""
    found = [*_cors(one.cors), *map(_guard, one.auth), *_changes("request", one.request_headers)]
    found += [*_changes("response", one.response_headers), *_rewrite(one.rewrite, matched), *_mirrors(one.mirrors)]
    if one.session and several:
        found.append(_session(one.session))
    return tuple(found)


def session_of(action: Forward | object, request: Request) -> WeightedBackend | None:
    """The backend whose session a request shows by its cookie."""
    if not isinstance(action, Forward):
        return None
    names = set(_cookies(request))
    return next((one for one in action.backends if one.session and one.session.kind == "Cookie" and one.session.name in names), None)


def is_preflight(request: Request) -> bool:
    """Whether a browser asks if a request of another origin may be sent (Fetch standard)."""
    names = {name.lower() for name, value in request.headers if value}
    return request.method == "OPTIONS" and {"origin", "access-control-request-method"} <= names


def _cookies(request: Request) -> Iterator[str]:
    for name, value in request.headers:
        if name.lower() == "cookie":
            yield from (each.partition("=")[0].strip() for each in value.split(";"))


def _cors(cors: CrossOrigin | None) -> Iterator[str]:
    if cors is not None:
        origins = ", ".join(cors.origins) or "none"
        yield f"pages of these origins may use the answer: {origins}{', with credentials' if cors.credentials else ''}"


def _guard(auth: ExternalAuth) -> str:
    body = f", with up to {auth.body_bytes} bytes of the body," if auth.body_bytes else ""
    return f"{auth.backend} is asked first, over {auth.protocol}{body} and only what it agrees to is sent on"


def _session(session: Session) -> str:
    lasts = f" for {session.ttl_s} s" if session.ttl_s else ""
    how = f"{session.kind.lower()} {session.name} keeps a client on one endpoint{lasts}"
    return f"{how}; when that is lost, the nearest healthy one takes the request and has the session from then on"


def _rewrite(rewrite: Rewrite | None, matched: PathMatch) -> Iterator[str]:
    if rewrite and rewrite.host:
        yield f"the backend sees host {rewrite.host}"
    if rewrite and (rewrite.full_path is not None or rewrite.prefix is not None):
        what = "path" if rewrite.full_path is not None else f"prefix {matched.value}"
        yield f"{what} becomes {rewrite.full_path or rewrite.prefix or '/'}"


def _mirrors(mirrors: Iterable[Mirror]) -> Iterator[str]:
    return (f"{each.numerator}/{each.denominator} are mirrored to {each.backend}" for each in mirrors)


def _changes(side: str, changes: HeaderChanges | None) -> Iterator[str]:
    if changes is not None:
        yield from (f"{side} header {name} set to {value!r}" for name, value in changes.set)
        yield from (f"{side} header {name}: {value!r} added" for name, value in changes.add)
        yield from (f"{side} header {name} removed" for name in changes.remove)
