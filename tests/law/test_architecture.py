"""docs/architecture.md tells the truth about packages and imports."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "flota"
LOOSE = {"latest", "clock", "settings"}


def table() -> dict[str, set[str]]:
    """Package → what it may import, as the page says."""
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    everything = {name for name, _ in rows} | LOOSE
    return {name: everything if allowed == "everything" else set(re.findall(r"\w+", allowed)) - {"nothing"} for name, allowed in rows}


def imports(package: Path) -> set[str]:
    """Parts of flota that a package imports, itself aside."""
    found = set()
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found |= {name.split(".")[1] for name in names if name.startswith("flota.")}
    return found - {package.name}


def test_every_package_has_its_row_and_every_row_its_package():
    packages = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert packages == table().keys()


def test_packages_import_only_what_the_page_allows():
    extra = {name: imports(SOURCE / name) - allowed for name, allowed in table().items()}
    assert {name: found for name, found in extra.items() if found} == {}


def test_the_check_sees_a_forbidden_import(tmp_path):
    (tmp_path / "routing").mkdir()
    (tmp_path / "routing" / "bad.py").write_text("from flota.envoy import wire\nimport flota.local.state\n")
    assert imports(tmp_path / "routing") == {"envoy", "local"}


def test_files_named_on_the_page_exist():
    named = re.findall(r"`((?:sources|routing|envoy|tests)/[\w/.]+)`", (ROOT / "docs" / "architecture.md").read_text())
    missing = [name for name in named if not (SOURCE / name).exists() and not (ROOT / name).exists()]
    assert named
    assert missing == []
