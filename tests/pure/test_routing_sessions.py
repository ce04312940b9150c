"""What names a session, and for which paths a cookie is."""

import pytest

from flota.fleet.routes import CookieConfig, SessionPersistence
from flota.plan import PathMatch, Session
from flota.routing.sessions import cookie_path, of_rule, of_share, session, shortcomings


@pytest.mark.parametrize(("path", "expected"), [
    (PathMatch("Prefix", "/"), "/"), (PathMatch("Prefix", "/a/b"), "/a/b"), (PathMatch("Exact", "/a"), "/a"),
    (PathMatch("Regex", "/p1/p2/[^/]+/p3"), "/p1/p2"), (PathMatch("Regex", "/a.*"), "/"), (PathMatch("Regex", "/a/b"), "/a/b"),
    (PathMatch("Regex", "/a/b|/c/d"), "/"), (PathMatch("Regex", ".*"), "/"), (PathMatch("Regex", "/a/b?"), "/a"),
])  # fmt: skip
def test_the_path_of_a_cookie(path: PathMatch, expected: str) -> None:
    assert cookie_path(path) == expected


def test_lifetimes() -> None:
    permanent = SessionPersistence(absolute_timeout="1m30s", cookie_config=CookieConfig("Permanent"))
    assert session(permanent, ("a",)).ttl_s == 90
    assert not session(permanent, ("a",)).transient
    assert session(SessionPersistence(absolute_timeout="1500ms"), ("a",)) == Session(
        "Cookie", session(SessionPersistence(), ("a",)).name, 2, transient=True)
    assert session(SessionPersistence(absolute_timeout="0s"), ("a",)).ttl_s is None


def test_names() -> None:
    own = session(SessionPersistence(), ("HTTPRoute", "default", "a"))
    assert own.name.startswith("flota-")
    assert own.name != session(SessionPersistence(), ("HTTPRoute", "default", "b")).name
    given = session(SessionPersistence("JSESSIONID"), ("a",))
    assert given.name == "JSESSIONID"
    assert session(SessionPersistence("X-Session", type="Header"), ("a",)).name == "x-session"
    assert session(SessionPersistence("not a token"), ("a",)).name.startswith("flota-")
    assert of_share(given, 0, ("b",)) == given, "sessions of the only backend survive a second one"
    assert of_share(given, 1, ("b",)).name.startswith("JSESSIONID-")
    assert of_rule(given, ("one",)).name != of_rule(given, ("two",)).name


def test_what_has_no_effect_is_told() -> None:
    assert list(shortcomings(SessionPersistence(absolute_timeout="1h"), 2)) == []
    told = list(shortcomings(SessionPersistence("a b", "1h", "Header"), 2))
    assert [each.split()[0] for each in told] == ["sessionName", "sessionPersistence.absoluteTimeout", "sessionPersistence"]
