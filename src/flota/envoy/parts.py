"""Rules whose backends differ in more than headers. Envoy lets the backends of one route differ in weight, host and headers only, so
such a rule becomes one route per backend, each for its portion of the requests.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from flota.envoy.matches import MILLION, one_after_other
from flota.plan import Forward, Match, Rewrite, RouteEntry, ValueMatch, WeightedBackend


class Portion(NamedTuple):
    """Requests by a number that Envoy draws once for each, of a million: those from `start` up to `stop`. All routes compare the same
    number, so what stands before has what is below `start`."""

    start: int = 0
    stop: int = MILLION


class Part(NamedTuple):
    """What becomes routes of its own."""

    entry: RouteEntry
    portion: Portion = Portion()


def parts(entry: RouteEntry) -> list[Part]:
    """The entry itself, or one for each backend, after those for sessions that began before."""
    action = entry.action
    if not isinstance(action, Forward) or not any(map(_differs, action.backends)):
        return [Part(entry)]
    return [*_sessions(entry, action), *_portions(entry, action)]


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
