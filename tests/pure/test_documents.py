"""Files cut into documents: markers, directives, lines, and that bytes alone make a document's identity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flota.sources import readings
from flota.sources.documents import MAX_DOCUMENTS, Chunk, split
from flota.sources.readings import FileReading, Reading, read_file
from flota.sources.yaml import Flaw, finish

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {{name: s{0}}}\nspec: {{ports: [{{port: 80}}]}}\n"


def chunks_of(data: bytes) -> list[Chunk]:
    chunks = list(split(data))
    assert all(isinstance(chunk, Chunk) for chunk in chunks), chunks
    return chunks  # type: ignore[return-value]


def reading_of(data: bytes, known: dict[bytes, Reading] | None = None) -> FileReading:
    return finish(read_file(data, known if known is not None else {}))


SPLITS = [
    (b"", []),
    (b"\n\n", []),
    (b"---\n---\n---", []),
    (b"a: 1\n", [(b"a: 1\n", 1)]),
    (b"---\na: 1\n---\nb: 2\n", [(b"a: 1\n", 2), (b"b: 2\n", 4)]),
    (b"\n\na: 1\n---\n\n\nb: 2", [(b"a: 1\n", 3), (b"b: 2", 7)]),
    (b"a: 1\r\n---\r\nb: 2\r\n", [(b"a: 1\r\n", 1), (b"b: 2\r\n", 3)]),
    (b"a: 1\r---\rb: 2\r", [(b"a: 1\r", 1), (b"b: 2\r", 3)]),
    (b"--- {a: 1}\n--- # c\nb: 2\n", [(b"--- {a: 1}\n", 1), (b"--- # c\nb: 2\n", 2)]),
    (b"a: |\n  ---\n  x\n", [(b"a: |\n  ---\n  x\n", 1)]),
    (b"a: x ---\n---b: 1\n", [(b"a: x ---\n---b: 1\n", 1)]),
    (b"%YAML 1.2\n---\na: 1\n", [(b"#YAML 1.2\n", 1), (b"a: 1\n", 3)]),
    (b"# hello\n%YAML 1.1\n---\na: 1\n", [(b"# hello\n#YAML 1.1\n", 1), (b"a: 1\n", 4)]),
    (b"a: 1\n...\n%YAML 1.2\n---\nb: 2\n...\n", [(b"a: 1\n", 1), (b"#YAML 1.2\n", 3), (b"b: 2\n", 5)]),
    (b"a: 1\n...\nb: 2\n", [(b"a: 1\n", 1), (b"b: 2\n", 3)]),
    (b"\xef\xbb\xbfa: 1\n", [(b"a: 1\n", 1)]),
]


@pytest.mark.parametrize(("data", "expected"), SPLITS)
def test_documents_are_cut_at_markers(data: bytes, expected: list[tuple[bytes, int]]) -> None:
    assert [(chunk.text, chunk.line) for chunk in chunks_of(data)] == expected


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        ("a: 1\n".encode("utf-16"), 1, "UTF-16"),
        (b"%TAG ! x\n---\na: 1\n", 1, "%TAG"),
        (b"# c\n%YAML 2.0\n---\na: 1\n", 2, "%YAML"),
        (b"%YAML 1.2\n%YAML 1.2\n---\na: 1\n", 2, "only one"),
        (b"---\n" * (MAX_DOCUMENTS + 5), MAX_DOCUMENTS, "documents"),
    ],
)
def test_what_cannot_be_cut_is_refused(data: bytes, line: int, words: str) -> None:
    flaw = list(split(data))[-1]
    assert isinstance(flaw, Flaw)
    assert flaw.line == line
    assert words in flaw.message


FLAWED = [
    (b"---\nkind: X\n", 2, "no apiVersion and no metadata.name"),
    (b"a: 1\n---\nb", 1, "no apiVersion"),
    (b"---\n- a\n", 2, "must be a Kubernetes object"),
    (b"apiVersion: v1\nkind: List\nitems: []\n", 1, "write each of its items"),
    (b"apiVersion: v1\nkind: Service\nmetadata: {name: 5}\n", 1, "metadata.name is not a string but 5"),
    (b"apiVersion: v1\nkind: Service\nmetadata: {name: ''}\n", 1, "no metadata.name"),
    (b"\n---\n# c\na: \xff\n", 4, "0xff is not UTF-8"),
    (b"\n---\na: \x07\n", 3, "0x07 is not allowed"),
    (b"\n---\nx: 1\na: [\n---\n", 5, "flow"),
    (b"a: 1\n---\nx: " + b"y" * 2_000_000, 1, "no apiVersion"),
    (b"---\nx: " + b"y" * 2_000_000, 2, "at most 1,572,864"),
    (b"x" * (17 << 20), 1, "at most 8,388,608"),
]


@pytest.mark.parametrize(("data", "line", "words"), FLAWED, ids=[str(number) for number in range(len(FLAWED))])
def test_one_bad_document_refuses_its_file_with_the_line(data: bytes, line: int, words: str) -> None:
    reading = reading_of(data)
    assert reading.documents == ()
    assert reading.flaw is not None
    assert words in reading.flaw.message, reading.flaw
    assert reading.flaw.line == line


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The text of every document that is parsed from now on."""
    seen: list[bytes] = []
    real = readings.parse

    def counted(text: bytes) -> object:
        seen.append(text)
        return real(text)

    monkeypatch.setattr(readings, "parse", counted)
    return seen


def test_one_change_in_5000_documents_costs_one_parse(parses: list[bytes]) -> None:
    documents = [SERVICE.format(number) for number in range(5000)]
    before = reading_of("---\n".join(documents).encode())
    assert len(parses) == 5000
    known = {placed.reading.digest: placed.reading for placed in before.documents}
    parses.clear()
    documents[2500] = documents[2500].replace("80", "81")
    after = reading_of("---\n".join(documents).encode(), known)
    assert len(parses) == 1
    same = [old.reading is new.reading for old, new in zip(before.documents, after.documents, strict=True)]
    assert [number for number, kept in enumerate(same) if not kept] == [2500]


@given(st.permutations(range(6)), st.integers(0, 3))
def test_documents_moved_within_and_between_files_are_the_same_ones(order: list[int], blank: int) -> None:
    documents = [SERVICE.format(number) for number in range(6)]
    before = reading_of("---\n".join(documents).encode())
    known = {placed.reading.digest: placed.reading for placed in before.documents}
    moved = ("\n" * blank + "---\n").join(documents[number] for number in order)
    after = reading_of(b"---\n" + moved.encode(), known)
    by_name = {placed.reading.head.name: placed for placed in before.documents}
    if blank == 0:
        assert all(placed.reading is by_name[placed.reading.head.name].reading for placed in after.documents)
    lines = ("---\n" + moved).splitlines()
    for placed in after.documents:
        assert lines[placed.first_line - 1] == "apiVersion: v1"
        assert lines[placed.first_line + 1] == f"metadata: {{name: {placed.reading.head.name}}}"


@given(st.binary(max_size=300))
def test_no_file_raises(data: bytes) -> None:
    assert isinstance(reading_of(data), FileReading)


PIECES = [b"---", b"...", b"\n", b"\r\n", b"%YAML 1.2", b"a: 1", b" ", b"#x", b"--- |", b"\xef\xbb\xbf"]


@given(st.lists(st.sampled_from(PIECES), max_size=14))
def test_lines_add_up(parts: list[bytes]) -> None:
    data = b"".join(parts)
    for chunk in split(data):
        if isinstance(chunk, Chunk):
            place = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\n")[chunk.line - 1]
            first = chunk.text.replace(b"\r\n", b"\n").split(b"\n")[0]
            assert first.lstrip(b"#%")[-3:] in place or first in place


def test_faults_have_the_line_of_their_field() -> None:
    data = b"# one\n---\n# two\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  ports:\n  - port: 99999\n"
    placed = reading_of(data).documents[0]
    assert placed.reading.object is None
    assert [placed.line + fault.line - 1 for fault in placed.reading.faults] == [9]
    assert "spec.ports[0].port" in placed.reading.faults[0].message


def test_an_object_too_large_for_its_kind_is_refused_alone() -> None:
    data = "a: " + "[" + "1," * 60_000 + "]\n"
    head = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n"
    reading = reading_of((head + data + "---\n" + SERVICE.format(1)).encode())
    assert [placed.reading.object is None for placed in reading.documents] == [True, False]
    assert [fault.reason for fault in reading.documents[0].reading.faults] == ["TooLarge"]


def test_foreign_kinds_are_ignored() -> None:
    placed = reading_of(b"apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: x}\nspec: {any: thing}\n").documents[0]
    assert placed.reading.ignored
    assert placed.reading.faults == ()


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ("metadata: {name: y}", "metadata.name is not a string but true; write it in quotes"),
        ("metadata: {name: 80}", "metadata.name is not a string but 80; write it in quotes"),
        ("metadata: {}", "has no metadata.name"),
    ],
)
def test_a_name_that_is_no_string_is_told_as_what_it_is(head: str, told: str) -> None:
    flaw = reading_of(f"apiVersion: v1\nkind: Service\n{head}\n".encode()).flaw
    assert flaw
    assert told in flaw.message
