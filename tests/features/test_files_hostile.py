"""Any one file, however hostile, is refused within 1 s and 200 MiB, and holds up nobody (issue 5, point 2)."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import hostile_files
import pytest
from folder_harness import following, make, service

from flota.sources import files

LIMIT_SECONDS = 1.0
"""CPU seconds: the promise is for a machine that is not busy with something else."""
LIMIT_MIB = 200
LIMIT_STEP = 0.3
"""CPU seconds for which one step may hold up the event loop; the promise is 0.1 on a machine of its own."""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What reading each hostile file cost, beside a good one."""
    roots = {}
    for name in hostile_files.NAMES:
        root = roots[name] = make(tmp_path_factory.mktemp(name) / "shop")
        hostile_files.write(name, root / "us/x.yaml")
        (root / "eu/good.yaml").write_text(service("good"))
    probe = Path(__file__).with_name("hostile_probe.py")
    run = subprocess.run([sys.executable, probe, *roots.values()], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return dict(zip(roots, map(json.loads, run.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", hostile_files.NAMES)
def test_a_hostile_file_is_refused_cheaply_with_its_place(name: str, reports: dict[str, Any]) -> None:
    report = reports[name]
    assert report["seconds"] < LIMIT_SECONDS
    assert report["longest"] < LIMIT_STEP
    assert report["mib"] < LIMIT_MIB
    assert report["good"] == ["good"]
    assert report["problems"]
    for file, line, reason, message in report["problems"]:
        assert file.startswith("us/")
        assert line >= 1
        assert reason
        assert 10 < len(message) < 1000


MANY_STEPS = ("many-values", "many-keys", "large-good-then-broken")


@pytest.mark.parametrize("name", MANY_STEPS)
async def test_a_good_file_goes_live_while_a_hostile_one_is_still_being_read(name: str, tmp_path: Path) -> None:
    root = make(tmp_path / "shop")
    async with following(root) as shop:
        hostile_files.write(name, root / "us/x.yaml")
        (root / "eu/good.yaml").write_text(service("good"))
        await shop.until(lambda: shop.ports("eu") == {"good": 80})
        assert shop.problems() == []  # so it was not behind the hostile one
        await shop.until(lambda: [file for _, file in shop.problems()] == ["us/x.yaml"])


async def test_a_hostile_file_costs_no_object_and_its_repair_counts(tmp_path: Path) -> None:
    root = make(tmp_path / "shop")
    (root / "us/x.yaml").write_text(service("x"))
    async with following(root) as shop:
        before = shop.services()
        for name in ("bomb", "random", "many-values", "utf-16"):
            hostile_files.write(name, root / "us/x.yaml")
            await shop.until(lambda: [file for _, file in shop.problems()] == ["us/x.yaml"])
            assert shop.services() == before
        (root / "us/x.yaml").unlink()
        hostile_files.write("pipe", root / "us/x.yaml")
        await shop.until(lambda: "a pipe" in shop.source.problems.get()[0].message)
        assert set(shop.services()) <= {"x"}
        (root / "us/x.yaml").unlink()
        (root / "us/x.yaml").write_text(service("x", 81))
        await shop.until(lambda: shop.ports() == {"x": 81} and shop.problems() == [])


async def test_a_hostile_file_that_is_written_again_and_again_does_not_hold_back_deletions(tmp_path: Path) -> None:
    root = make(tmp_path / "shop")
    (root / "eu/good.yaml").write_text(service("good"))
    text = hostile_files.TEXTS["many-values"]
    assert isinstance(text, str)
    async with following(root) as shop:

        async def rewrite() -> None:
            while True:
                (root / "us/x.yaml").write_text(text)
                await asyncio.sleep(0.01)

        writer = asyncio.create_task(rewrite())
        await asyncio.sleep(0.05)
        (root / "eu/good.yaml").unlink()
        await shop.until(lambda: shop.ports("eu") == {})
        writer.cancel()


async def test_a_hundred_thousand_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILES", 50)
    monkeypatch.setattr(files, "MAX_ENTRIES", 500)
    root = make(tmp_path / "shop")
    (root / "us/aaa.yaml").write_text(service("first"))
    async with following(root) as shop:
        assert shop.ports() == {"first": 80}
        (root / "us/many").mkdir()
        for number in range(100):
            (root / f"us/many/{number}.yaml").write_text(service(f"s{number}"))
        await shop.until(lambda: len(shop.problems()) >= 1)
        await shop.until(lambda: "more than 50 manifests" in shop.source.problems.get()[0].message)
        (root / "us/aaa.yaml").write_text(service("first", 81))
        await shop.until(lambda: shop.ports()["first"] == 81)
        assert len(shop.ports()) <= 50
