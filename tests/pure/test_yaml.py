"""Strict YAML: what a document means, what is refused and where, and that nothing hostile gets through."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flota.sources import yaml
from flota.sources.positions import lines_of
from flota.sources.yaml import Flaw, Parsed, finish, parse


def value_of(text: str | bytes) -> object:
    parsed = finish(parse(text if isinstance(text, bytes) else text.encode()))
    assert isinstance(parsed, Parsed), parsed
    return parsed.value


def flaw_of(text: str | bytes) -> Flaw:
    flaw = finish(parse(text if isinstance(text, bytes) else text.encode()))
    assert isinstance(flaw, Flaw), flaw
    return flaw


# What sigs.k8s.io/yaml 1.4.0 made of each (read once with a Go program around it).
SCALARS = [
    ("yes", True), ("on", True), ("y", True), ("True", True), ("No", False), ("OFF", False), ("n", False), ("yEs", "yEs"),
    ("~", None), ("Null", None), ("", None), ("nULL", "nULL"),
    ("0777", 511), ("0o17", 15), ("0x1F", 31), ("0b101", 5), ("-0b11", -3), ("08", 8), ("1_000", 1000), ("+1", 1),
    ("1e3", 1000), ("80.0", 80), ("8e1", 80), (".5", 0.5), ("1.", 1), ("1e400", "1e400"), ("1.2.3", "1.2.3"),
    ("123456789012345678901234567890", 1.2345678901234568e29), ("18446744073709551615", 18446744073709551615),
    ("2001-01-01", "2001-01-01"), ("12:30:45", "12:30:45"), ("=", "="), ("0x", "0x"), ("_1", "_1"), ("1\u0663", "1\u0663"),
    ("!!str 1", "1"), ('!!int "3"', 3), ("!!float 3", 3), ("!!bool yes", True), ("!!binary aGk=", "hi"),
    ("!!timestamp 2001-01-01", "2001-01-01"), ("'1'", "1"), ('"\\u00e9\\x41"', "éA"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "meant"), SCALARS)
def test_scalars_mean_what_kubectl_takes_them_for(written: str, meant: object) -> None:
    value = value_of(f"a: {written}\n")
    assert value == {"a": meant}
    assert type(value["a"]) is type(meant)


DOCUMENTS = [
    ("a: &x {q: 1}\nb: *x\n", {"a": {"q": 1}, "b": {"q": 1}}),
    ("a: &x {p: 1, q: 2}\nb:\n  q: 3\n  <<: *x\n", {"a": {"p": 1, "q": 2}, "b": {"q": 3, "p": 1}}),
    ("b:\n  <<: [{a: 1}, {a: 2, b: 2}]\n", {"b": {"a": 1, "b": 2}}),
    ("'<<': {a: 1}\n", {"<<": {"a": 1}}),
    ("1: a\n", {"1": "a"}),
    ("yes: a\n", {"true": "a"}),
    ("? a\n: b\n", {"a": "b"}),
    ("a: |\n  x\n   y\n", {"a": "x\n y\n"}),
    ("a: >-\n  x\n  y\n\n  z\n", {"a": "x y\nz"}),
    ("{a: 1, b: [x, z], }\n", {"a": 1, "b": ["x", "z"]}),
    ("- - a\n  - b\n-\n", [["a", "b"], None]),
    ("# only a comment\n", None),
    ("", None),
    ('{"a": "\\ud83d\\ude00", "b": 8e1, "c": [1.5, null]}', {"a": "😀", "b": 80, "c": [1.5, None]}),
    ('{"%s": 1}' % ("k" * 2000), {"k" * 2000: 1}),
    ('{a: "\\/"}', {"a": "/"}),
]


@pytest.mark.parametrize(("text", "meant"), DOCUMENTS)
def test_documents(text: str, meant: object) -> None:
    assert value_of(text) == meant


REFUSED = [
    ("a: 1\nb: {c: 1, c: 2}\n", 2, "there twice"),
    ('{"a": 1,\n "a": 2}', 2, "there twice"),
    ("1: x\n'1': y\n", 2, "there twice"),
    ("a: .nan\n", 1, "not a number JSON has"),
    ("a: -.inf\n", 1, "not a number JSON has"),
    ("x: 1\n? [a]\n: b\n", 2, "must be a string"),
    ("{{a: b}: c}\n", 1, "must be a string"),
    ("~: a\n", 1, "must be a string"),
    ("1.5: a\n", 1, "quote it"),
    ("a: &x [*x]\n", 1, "no anchor &x that ends before"),
    ("a: *nobody\n", 1, "no anchor &nobody"),
    ("a: 1\nb: !!python/object:os.system x\n", 2, "tag !!python/object:os.system is not allowed"),
    ("a: !mine {b: 1}\n", 1, "tag !mine is not allowed"),
    ("a: !!set {b}\n", 1, "tag !!set is not allowed"),
    ("a: !!int x\n", 1, "is not a int"),
    ("a: !!binary '%'\n", 1, "base64"),
    ("a:\n  <<: 3\n", 2, "merges a mapping"),
    ('x: 1\na: "\\0"\n', 2, "NUL"),
    ('{"a": "\\u0000"}', 1, "NUL"),
    ('{"a": "\\ud83d"}', 1, "Unicode"),
    ('{"a": NaN, "b": !x 1}', 1, "tag"),
    ("a: [\n", 2, "flow"),
    ("a:\n  - b\n c: d\n", 3, "did not find expected key"),
    ("a:\n\tb: 1\n", 2, "cannot start any token"),
    ("a: 1\n--- \nb: 2\n", 2, "second document"),
    (b"a: \xff", 1, "UTF-8"),
    (b"a: \x01", 1, "control characters"),
    ("[" * 20_000, 1, "nest"),
    ("- " * 20_000, 1, "nested more than 100"),
    ('{"a":' * 20_000, 1, "nest"),
    ('{"a":' * 500 + "1" + "}" * 500, 1, "nested more than 100"),
    ("[" + "[]," * 300_000 + "]", 1, "more than 150,000 values"),
    ("a: " + "x" * 5_000_000, 1, "at most 1,572,864"),
    ("%TAG !t! x\n" * 2 + "--- a", 2, "duplicate %TAG"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "words"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_refusals_say_where_and_why(text: str | bytes, line: int, words: str) -> None:
    flaw = flaw_of(text)
    assert (flaw.line, words in flaw.message) == (line, True), flaw
    assert flaw.column >= 1


def bomb(levels: int, leaf: str) -> str:
    lines = [f"a0: &a0 [{', '.join([leaf] * 9)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(("text", "words"), [(bomb(12, "x"), "values"), (bomb(4, "x" * 1000), "characters")])
def test_aliases_count_as_what_they_expand_to(text: str, words: str) -> None:
    flaw = flaw_of(text)
    assert words in flaw.message
    assert "aliases expanded" in flaw.message


def test_an_alias_costs_no_copy() -> None:
    value = value_of("a: &x [1, 2]\nb: *x\n")
    assert isinstance(value, dict)
    assert value["a"] is value["b"]


def test_a_parse_pauses_often() -> None:
    steps = parse(b"[" + b"a," * 20_000 + b"]")
    assert sum(1 for _ in steps) >= 20_000 // yaml.STEP


@given(st.binary(max_size=400))
@example(b"\xff\xfe")
@example(b"&a *a")
@example(b"? ? ?")
@example(b"{? }")
def test_no_bytes_raise(data: bytes) -> None:
    result = finish(parse(data))
    assert isinstance(result, Parsed | Flaw)
    if isinstance(result, Flaw):
        assert result.line >= 1
        assert result.message


@given(st.text(alphabet="ab:-?&*!|>'\"{}[],# \n\t<%@0.1e\\u~", max_size=200))
def test_no_yaml_soup_raises(text: str) -> None:
    assert isinstance(finish(parse(text.encode())), Parsed | Flaw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text().filter(lambda t: "\0" not in t)
    | st.floats(-1e15, 1e15),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8).filter(lambda t: "\0" not in t), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


BREAKS = "\x85\u2028\u2029"  # line breaks of YAML 1.1, which the API server's own reader folds too; characters like any other in JSON


@given(JSON, st.booleans())
@example("\x85", False)
@example({"a\u2028b": "c\u2029"}, True)
def test_json_is_yaml_and_both_ways_of_reading_agree(value: object, pretty: bool) -> None:
    text = json.dumps({"v": value}, ensure_ascii=False, indent=2 if pretty else None)
    as_json = value_of(text)
    assert as_json == {"v": value}
    by_events = finish(parse(b"# not at once JSON\n" + text.encode()))
    if isinstance(by_events, Parsed) and not any(c in text for c in BREAKS):  # YAML refuses some characters that JSON has
        assert by_events.value == as_json


def test_a_line_break_of_yaml_is_folded_in_yaml_and_kept_in_json() -> None:
    assert value_of('{"v": "a\x85b"}') == {"v": "a\x85b"}
    assert value_of('v: "a\x85b"') == {"v": "a b"}


TEXT = b"""# a comment
kind: X
spec:
  rules:
  - name: a
    matches: [{path: 1},
              {path: 2}]
  -
    name: b
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("kind",), 2),
        (("spec", "rules", 0, "name"), 5),
        (("spec", "rules", 0, "matches", 1, "path"), 7),
        (("spec", "rules", 1, "name"), 9),
        (("spec", "rules", 1, "missing"), 9),
        (("spec", "rules", 7), 4),
        (("metadata", "name"), 2),
        ((), 2),
    ],
)
def test_positions_of_fields_and_of_the_nearest_part_above_missing_ones(path: tuple[str | int, ...], line: int) -> None:
    assert lines_of(TEXT, [path]) == {path: line}
