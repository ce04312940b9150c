"""Rules about the tests themselves."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_two_test_modules_have_the_same_name():
    names = [path.name for folder in ("tests", "rig/tests", "conformance/tests") for path in (ROOT / folder).rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
