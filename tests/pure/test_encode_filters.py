"""Origins as expressions, headers that are not passed on, and rules that become several Envoy routes."""

import pytest
import re2
from encode_plans import entry, forward
from hypothesis import given
from hypothesis import strategies as st

from flota.envoy.filters import none_of
from flota.envoy.origins import origin_pattern
from flota.envoy.parts import Part, Portion, parts
from flota.plan import CrossOrigin, ExternalAuth, Forward, Match, Mirror, Redirect, Respond, Rewrite, Session, WeightedBackend


def allowed(pattern: str, origin: str) -> bool:
    return re2.fullmatch(origin_pattern(pattern)["safe_regex"]["regex"], origin) is not None


@pytest.mark.parametrize(("pattern", "good", "bad"), [
    ("*", ("http://a", "null", "https://x.y:1"), ("",)),
    ("https://a.b", ("https://a.b", "https://a.b:443", "HTTPS://A.B"), ("http://a.b", "https://axb", "https://a.b:8443", "https://x.a.b", "https://a.b.c")),
    ("http://a.b:8080", ("http://a.b:8080",), ("http://a.b", "http://a.b:80", "http://a.b:80800")),
    ("http://a.b:80", ("http://a.b", "http://a.b:80"), ("http://a.b:8080",)),
    ("https://*.b.c", ("https://a.b.c", "https://x.a.b.c", "https://x.a.b.c:443"), ("https://b.c", "https://ab.c", "https://a.b.c.d", "https://e/a.b.c")),
    ("https://*", ("https://a", "https://a.b:443", "https://[::1]"), ("http://a", "https://a:1", "https://")),
    ("http://*:81", ("http://a:81", "http://[::1]:81"), ("http://a",)),
])  # fmt: skip
def test_origins(pattern: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    assert [each for each in good if not allowed(pattern, each)] == []
    assert [each for each in bad if allowed(pattern, each)] == []


WORDS = ("te", "trailer", "host", "content-type", "content-length", "date")


@given(st.one_of(st.sampled_from(WORDS), st.text(alphabet="abcdehilnoprtsy-", min_size=1, max_size=15)))
def test_all_header_names_but_some(name: str) -> None:
    assert (re2.fullmatch(none_of(WORDS), name) is None) == (name in WORDS)


def test_pseudo_headers_are_never_passed_on() -> None:
    assert re2.fullmatch(none_of(WORDS), ":status") is None


def test_a_rule_with_plain_backends_stays_one() -> None:
    one = entry(Forward((WeightedBackend("a", 3), WeightedBackend(None, 1))))
    assert [(each.entry, each.portion) for each in parts(one)] == [(one, Portion())]


def test_backends_that_differ_are_portions_of_one_number() -> None:
    rewritten, moved = WeightedBackend("a", 1, rewrite=Rewrite(full_path="/x")), WeightedBackend("b", 1, redirect=Redirect(301))
    shares = (rewritten, moved, WeightedBackend(None, 1))
    found = parts(entry(Forward(shares, rewrite=Rewrite(host="h"), mirrors=(Mirror("m"),))))
    assert [each.portion for each in found] == [(0, 333_333), (333_333, 666_667), (666_667, 1_000_000)]
    first, second, third = (each.entry.action for each in found)
    assert first == Forward((WeightedBackend("a"),), rewrite=Rewrite("h", "/x"), mirrors=(Mirror("m"),))
    assert second == Redirect(301)
    assert isinstance(third, Forward)
    assert third.backends == (WeightedBackend(None),)


@given(st.lists(st.integers(0, 1_000_000), min_size=1, max_size=16).filter(any))
def test_portions_cover_everything_once(weights: list[int]) -> None:
    found = parts(entry(Forward(tuple(WeightedBackend(str(at), each, mirrors=(Mirror("m"),)) for at, each in enumerate(weights)))))
    assert [each.portion.start for each in found] == [0, *(each.portion.stop for each in found[:-1])]
    assert found[-1].portion.stop == 1_000_000
    for each, weight in zip(found, [each for each in weights if each], strict=True):
        assert abs((each.portion.stop - each.portion.start) / 1e6 - weight / sum(weights)) <= 1e-6


def test_sessions_come_before_weights() -> None:
    shares = (WeightedBackend("a", 1, session=Session("Cookie", "s")), WeightedBackend("b", 0, session=Session("Cookie", "s.2")))
    known, retired, new = parts(entry(Forward(shares)))
    assert [each.entry.match.headers[0].value for each in (known, retired)] == ["(?:.*[; ])?s=.*", r"(?:.*[; ])?s\.2=.*"]
    assert [each.portion for each in (known, retired, new)] == [Portion()] * 3
    assert new.entry.match.headers == ()
    assert isinstance(new.entry.action, Forward)
    assert new.entry.action.backends == (WeightedBackend("a", session=Session("Cookie", "s")),)


def test_guards_of_rule_and_backend_both_count() -> None:
    rule, own = ExternalAuth("r", "HTTP"), ExternalAuth("o", "GRPC")
    found = parts(entry(Forward((WeightedBackend("a", auth=(own,)),)), auth=(rule,)))
    assert [each.entry.auth for each in found] == [(rule, own)]
    assert parts(entry(Respond(500), auth=(rule,)))[0].entry.auth == (rule,)


def test_what_answers_itself_is_preceded_by_what_speaks_to_browsers() -> None:
    cors = CrossOrigin(("http://a.test", "*"))
    one = entry(Redirect(), cors=cors, auth=(ExternalAuth("g", "HTTP"),))
    preflight, known, rest = parts(one)
    assert isinstance(preflight.entry.action, Forward)
    assert (preflight.entry.match.method, preflight.entry.auth) == ("OPTIONS", ()), "a preflight shows nobody's credentials"
    assert (known.crossing, [each.name for each in known.entry.match.headers]) == (cors, ["origin"])
    assert rest == Part(one)
    assert len(parts(entry(Redirect(), Match(method="GET"), cors=cors))) == 2, "the plan has an entry of its own for those preflights"
    assert len(parts(entry(forward("a"), cors=cors))) == 1
