"""docs/settings.md tells every setting with its default and meaning, and no other."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import msgspec

from flota.settings import Settings

ROOT = Path(__file__).parents[2]


def meanings() -> dict[str, str]:
    """Field → the text below it in the source."""
    tree = ast.parse((ROOT / "src" / "flota" / "settings.py").read_text())
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    found = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            assert isinstance(text.value, ast.Constant)
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def test_every_setting_is_documented_as_it_is():
    texts = meanings()
    expected = {
        f"FLOTA_{field.name.upper()}": (msgspec.json.encode(field.default).decode().strip('"'), texts[field.name])
        for field in msgspec.structs.fields(Settings)
    }
    page = (ROOT / "docs" / "settings.md").read_text()
    rows = re.findall(r"^\| `(FLOTA_\w+)` \| `(.*?)` \| (.*) \|$", page, re.MULTILINE)
    assert {name: (default, text) for name, default, text in rows} == expected
