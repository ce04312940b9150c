"""Links and test files that README and docs name exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def missing(page: Path, text: str) -> list[str]:
    """What the page names and is not there; patterns count when they match something."""
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    absent = [link for link in links if not (page.parent / link).exists()]
    named = re.findall(r"`(tests/[\w./*-]+)`", text)
    return absent + [name for name in named if not list(ROOT.glob(name))]


def test_every_link_and_named_test_is_there():
    absent = {page.name: found for page in PAGES if (found := missing(page, page.read_text()))}
    assert absent == {}


def test_the_check_sees_what_is_missing():
    assert missing(ROOT / "README.md", "[x](docs/none.md) `tests/none.py`") == ["docs/none.md", "tests/none.py"]
