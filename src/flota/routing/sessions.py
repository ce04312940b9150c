"""Sessions: by what a request shows that it belongs to one (SessionPersistence, GEP-1619)."""

import hashlib
import re
from collections.abc import Iterator

import msgspec

from flota.fleet.routes import SessionPersistence
from flota.fleet.values import milliseconds
from flota.plan import PathMatch, Session

_SPECIAL = re.compile(r"[.*+?()\[\]{}^$\\]")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,128}\Z")


def session(asked: SessionPersistence, owner: tuple[object, ...], *, secure: bool = False) -> Session:
    """The session that is asked for. `owner`: whose it is, which names it where the user does not."""
    given = asked.session_name or ""
    name = given if _TOKEN.match(given) else f"flota-{_digest(owner)}"
    if asked.type == "Header":
        return Session("Header", name.lower())
    lasts = -(-milliseconds(asked.absolute_timeout) // 1000) if asked.absolute_timeout else 0
    permanent = asked.cookie_config is not None and asked.cookie_config.lifetime_type == "Permanent"
    return Session("Cookie", name, lasts or None, transient=bool(lasts) and not permanent, secure=secure)


def of_rule(given: Session, rule: tuple[object, ...]) -> Session:
    """The session that a backend's policy asks for as a rule has it: rules don't share cookies (GEP-1619)."""
    return given if given.kind == "Header" else msgspec.structs.replace(given, name=f"{given.name}-{_digest(rule)}")


def of_share(given: Session, at: int, backend: tuple[object, ...]) -> Session:
    """The session of one of several backends. Its cookie's name tells the backend, as weights would draw another for each request;
    the first backend keeps the plain name, so that the sessions of the only one survive when a second is added."""
    if at == 0 or given.kind == "Header":
        return given
    return msgspec.structs.replace(given, name=f"{given.name}-{_digest(backend)}")


def cookie_path(path: PathMatch) -> str:
    """The path of a rule's cookie: that of the match; of an expression the elements in front that are no expression (GEP-1619, Path)."""
    if path.kind != "Regex":
        return path.value
    literal = _SPECIAL.split(path.value, maxsplit=1)[0]
    whole = literal == path.value
    return "/" if "|" in path.value or not literal.startswith("/") else (literal if whole else literal.rpartition("/")[0]) or "/"


def shortcomings(asked: SessionPersistence, shares: int) -> Iterator[str]:
    """What of it has no effect."""
    if asked.session_name and not _TOKEN.match(asked.session_name):
        yield f"sessionName {asked.session_name!r} cannot be the name of a {asked.type.lower()}; Flota's own is used"
    if asked.type == "Header" and asked.absolute_timeout:
        yield "sessionPersistence.absoluteTimeout has no effect with type Header: the proxy keeps no record of sessions"
    if asked.type == "Header" and shares > 1:
        yield "sessionPersistence of type Header holds within each backend; which of several gets a request is drawn by weight each time"


def _digest(of: tuple[object, ...]) -> str:
    return hashlib.blake2b(msgspec.msgpack.encode(of), digest_size=4).hexdigest()
