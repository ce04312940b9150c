"""Rules whose backends differ in more than headers. Envoy lets the backends of one route differ in weight, host and headers only, so
such a rule becomes one route per backend, each for its portion of the requests.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from flota.envoy.matches import MILLION, one_after_other
from flota.envoy.origins import origin_expression
from flota.plan import CrossOrigin, Forward, Match, Rewrite, RouteEntry, ValueMatch, WeightedBackend


class Portion(NamedTuple):
    """Requests by a number that Envoy draws once for each, of a million: those from `start` up to `stop`. All routes compare the same
    number, so what stands before has what is below `start`."""

    start: int = 0
    stop: int = MILLION


class Part(NamedTuple):
    """What becomes routes of its own. `crossing`: its answers may be used by pages of the origin that is asked from."""

    entry: RouteEntry
    portion: Portion = Portion()
    crossing: CrossOrigin | None = None


def parts(entry: RouteEntry) -> list[Part]:
    """The entry itself, or one for each backend, after those for sessions that began before."""
    action = entry.action
    divided = [Part(entry)]
    if isinstance(action, Forward) and any(map(_differs, action.backends)):
        divided = [*_sessions(entry, action), *_portions(entry, action)]
    return [each for part in divided for each in _crossed(part)]


def _crossed(part: Part) -> Iterator[Part]:
    """Envoy's CORS filter looks at routes that send requests on. One that answers itself is preceded by one for preflights, which the
    filter answers, and one for origins that may use the answer."""
    entry, cors = part.entry, part.entry.cors
    if cors is not None and not isinstance(entry.action, Forward):
        if entry.match.method in (None, "OPTIONS"):
            asks = (ValueMatch("origin", "Regex", ".+"), ValueMatch("access-control-request-method", "Regex", ".+"))
            asking = msgspec.structs.replace(entry.match, method="OPTIONS", headers=(*entry.match.headers, *asks))
            nowhere = Forward((WeightedBackend(None),))
            yield part._replace(entry=msgspec.structs.replace(entry, match=asking, action=nowhere, auth=()))
        if cors.origins:
            origin = ValueMatch("origin", "Regex", "|".join(map(origin_expression, cors.origins)))
            known = msgspec.structs.replace(entry.match, headers=(*entry.match.headers, origin))
            yield part._replace(entry=msgspec.structs.replace(entry, match=known), crossing=cors)
    yield part


def _differs(one: WeightedBackend) -> bool:
    return bool(one.rewrite or one.redirect or one.mirrors or one.cors or one.auth or one.session)


def _portions(entry: RouteEntry, action: Forward) -> Iterator[Part]:
    shares = [one for one in action.backends if one.weight > 0]
    total, before = sum(one.weight for one in shares), 0
    for one in shares:
        start, before = before, before + one.weight
        yield Part(_alone(entry, action, one), Portion(_millionths(start, total), _millionths(before, total)))


def _millionths(share: int, total: int) -> int:
    return (2 * share * MILLION + total) // (2 * total)


def _sessions(entry: RouteEntry, action: Forward) -> Iterator[Part]:
    """A session's cookie leads to its backend; weights are for those who have none (GEP-1619)."""
    if len(action.backends) > 1:
        for one in action.backends:
            if one.session is not None and one.session.kind == "Cookie":
                alone = _alone(entry, action, one)
                yield Part(msgspec.structs.replace(alone, match=_with_cookie(entry.match, one.session.name)))


def _with_cookie(match: Match, name: str) -> Match:
    quoted = re.sub(r"([^A-Za-z0-9_-])", r"\\\1", name)
    return msgspec.structs.replace(match, headers=(*match.headers, ValueMatch("cookie", "Regex", f"(?:.*[; ])?{quoted}=.*")))


def _alone(entry: RouteEntry, action: Forward, one: WeightedBackend) -> RouteEntry:
    """The entry as if the rule had this backend only."""
    cors, auth = one.cors or entry.cors, (*entry.auth, *one.auth)
    if one.redirect is not None:
        # Answers pass the backend's changes first.
        answer = one_after_other(one.response_headers, entry.response_headers)
        return msgspec.structs.replace(entry, action=one.redirect, response_headers=answer, cors=cors, auth=auth)
    only = WeightedBackend(one.backend, 1, one.request_headers, one.response_headers, session=one.session)
    rewrite = _rewritten(action.rewrite, one.rewrite)
    forward = msgspec.structs.replace(action, backends=(only,), rewrite=rewrite, mirrors=(*action.mirrors, *one.mirrors))
    return msgspec.structs.replace(entry, action=forward, cors=cors, auth=auth)


def _rewritten(rule: Rewrite | None, own: Rewrite | None) -> Rewrite | None:
    if rule is None or own is None:
        return own or rule
    path = own if own.full_path is not None or own.prefix is not None else rule
    return Rewrite(own.host or rule.host, path.full_path, path.prefix)
