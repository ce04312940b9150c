"""Reading commands answer within 0.3 s of CPU (design 6.2), most of which is imports: it is those that are held down here."""

import subprocess
import sys
from pathlib import Path

import pytest

from flota.cli.init import write_example

HEAVY = {
    "pydantic", "aiohttp", "grpclib", "h2", "google.protobuf", "prometheus_client", "rich", "asyncio",
    "cryptography", "http.client", "kubernetes", "lightkube", "httpx",
}  # fmt: skip
PROGRAM = """
import sys
sys.argv = ["flota", *sys.argv[1:]]
from flota.cli.commands import run
try:
    run()
finally:
    sys.stdout.flush()
    print("\\nLOADED", *sorted(sys.modules))
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("light") / "shop"
    write_example(target)
    return target


def loaded(folder: Path, *arguments: str) -> set[str]:
    """Modules that a command has loaded when it is done."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, timeout=60)
    assert "LOADED" in done.stdout, done.stderr
    return set(done.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        ("--help", set()),
        ("version", set()),
        ("check", set()),
        ("check -o json", set()),
        ("status", set()),
        ("explain request http://shop.example/ --from us", set()),
        ("explain httproute/shop", set()),
        ("whatif --lose us", set()),
        ("drain us --for 1m --dry-run", set()),
        ("render --as objects", set()),
        ("render", {"google.protobuf"}),
    ],
)
def test_a_reading_command_loads_only_what_it_needs(shop: Path, command: str, allowed: set[str]) -> None:
    found = loaded(shop, *command.split())
    assert found & HEAVY <= allowed
    assert "flota.cli.commands" in found


def test_the_check_sees_a_heavy_import(shop: Path) -> None:
    assert "google.protobuf" in loaded(shop, "render") & HEAVY
