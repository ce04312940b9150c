"""What README and the first page tell a new user to type works, in the order in which it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from flota.cli.commands import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def known() -> dict[str, set[str]]:
    """Command → its options."""
    commands = get_command(app).commands  # type: ignore[attr-defined]
    return {
        name: {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help", "-h"}
        for name, command in commands.items()
    }


def wrong(text: str) -> list[str]:
    """Commands in the running text (`flota …`) or behind a path (`.venv/bin/flota …`) that do not exist or have no such option."""
    commands = known()
    found = []
    for line in re.findall(r"(?:`|bin/)flota ((?:-C DIR )?[a-z][^`\n&#]*)", text):
        words = line.removeprefix("-C DIR ").split()
        options = {word.split("=")[0] for word in words[1:] if re.match(r"--?[a-zA-Z]", word)}
        if not options <= commands.get(words[0], set()) or words[0] not in commands:
            found.append(line.strip())
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_text_exist(page: Path):
    assert wrong(page.read_text()) == []


def test_the_check_sees_what_is_wrong():
    assert wrong("`flota fly` and `flota up --fast`, or ../.venv/bin/flota dwn\nbut `flota up -d`") == ["fly", "up --fast", "dwn"]


@pytest.mark.timeout(180)
def test_the_first_ten_minutes_run(tmp_path: Path):
    [block] = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "start.md").read_text(), re.MULTILINE | re.DOTALL)
    assert "flota init shop" in block
    flota = f"{sys.executable} -m flota.cli"
    script = "set -e\n" + re.sub(r"\S*bin/flota\b", flota, block)
    try:
        ended = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "Programmed" in ended.stdout
        assert "No problems." in ended.stdout
    finally:
        down = subprocess.run(["bash", "-c", f"{flota} -C shop down"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert down.returncode == 0, down.stderr
