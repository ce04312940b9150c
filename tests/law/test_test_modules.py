"""Tests that need an API server say so: `.ci/run` runs them by their mark, after the rig was built, and lets none of them be skipped."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NEEDS = re.compile(r"^from (kube_harness|rig\.harness) import", re.MULTILINE)


def unmarked(text: str) -> bool:
    return bool(_NEEDS.search(text)) and "pytestmark = pytest.mark.rig" not in text and "pytest.mark.rig,\n" not in text


def test_every_module_that_starts_a_rig_is_marked():
    modules = [*ROOT.glob("tests/*/test_*.py"), *ROOT.glob("rig/tests/test_*.py")]
    assert [path.name for path in modules if unmarked(path.read_text())] == []


def test_the_check_sees_what_is_missing():
    assert unmarked("from rig.harness import running\n")
    assert not unmarked("from rig.harness import running\npytestmark = pytest.mark.rig\n")
    assert not unmarked("import pytest\n")


def test_no_two_test_modules_have_the_same_name():
    names = [path.name for folder in ("tests", "rig/tests", "conformance/tests") for path in (ROOT / folder).rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
