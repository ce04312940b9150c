"""What the README and the user docs tell people to type exists, and answers as they say.

A block ```console is run line by line in a fresh example folder: what follows a `$` line is its output. A block ```sh is only checked: its
`flota` commands and options must exist, and its `make` targets, too.
"""

import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.main import get_command

from flota.cli.commands import app
from flota.cli.init import write_example
from flota.sources.folder import load_folder
from flota.sources.memory import SourceMemory

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
VARYING = (
    (re.compile(r"\b127(\.\d+){3}\b"), "127.0.0.0"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)"), "<time>"),
    (re.compile(r" +"), " "),
)


def blocks(kind: str) -> list[tuple[str, str]]:
    """(page, text) of every block of that kind."""
    found = []
    for page in PAGES:
        found += [(page.name, text) for text in re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)]
    return found


def steps(text: str) -> list[tuple[str, str]]:
    """(command, expected output) of a console block."""
    parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def lines(kind: str) -> list[tuple[str, str]]:
    """(page, line) of every command in blocks of that kind, comments left out."""
    found = []
    for page, text in blocks(kind):
        typed = [command for command, _ in steps(text)] if kind == "console" else text.splitlines()
        found += [(page, part.strip()) for line in typed for part in line.split("#")[0].split("&&") if part.strip()]
    return found


def options(command: str) -> set[str]:
    known = get_command(app).commands[command]  # type: ignore[attr-defined]
    return {name for each in known.params for name in (*each.opts, *each.secondary_opts)} | {"--help", "-h"}


def neat(text: str) -> str:
    for pattern, stands_for in VARYING:
        text = pattern.sub(stands_for, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@pytest.mark.parametrize(("page", "line"), lines("sh") + lines("console"))
def test_it_exists(page: str, line: str) -> None:
    words = shlex.split(line)
    if words[0] == "make":
        assert re.search(rf"^{re.escape(words[1])}:", (ROOT / "Makefile").read_text(), re.MULTILINE), page
    elif words[0] == "flota":
        words = words[3:] if words[1] == "-C" else words[1:]
        known = options(words[0])
        assert {each.split("=")[0] for each in words[1:] if each.startswith("-")} <= known, page


@pytest.mark.parametrize(("page", "text"), blocks("console"), ids=lambda value: value if value.endswith(".md") else "")
def test_it_answers_as_told(page: str, text: str, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    write_example(folder)
    for command, expected in steps(text):
        run = re.sub(r"(^|; )flota\b", rf"\1{sys.executable} -m flota.cli", command)
        ended = subprocess.run(["bash", "-c", run], cwd=folder, capture_output=True, text=True, timeout=60)
        assert neat(ended.stdout + ended.stderr) == neat(expected), f"{page}: {command}"


def manifests() -> list[tuple[str, str]]:
    """(page, document) of every Kubernetes object in the docs."""
    return [(page, part) for page, text in blocks("yaml") for part in re.split(r"^---$", text, flags=re.MULTILINE) if "apiVersion:" in part]


@pytest.mark.parametrize(("page", "text"), manifests(), ids=lambda value: value if value.endswith(".md") else "")
def test_manifests_in_the_docs_are_admitted(page: str, text: str, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    write_example(folder)
    (folder / "us" / "from-the-docs.yaml").write_text(text)
    loaded = load_folder(folder, SourceMemory(), datetime.now(UTC))
    assert [each.message for each in loaded.problems] == [], page


def test_every_command_and_option_is_in_the_docs() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        if command.hidden:
            continue
        section = re.search(rf"^## flota {name}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        assert section, f"docs/commands.md has no section `## flota {name}`"
        everywhere = {"-C", "--context", "-o", "--output", "--help", "-h"}
        missing = {long for each in command.params for long in each.opts[-1:] if long.startswith("-")} - everywhere
        assert not {each for each in missing if each not in section[1]}, name
