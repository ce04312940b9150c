"""A full disk and a read-only folder: each has a reason, and what runs goes on."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_harness import Fleet, get


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB of our own."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"this machine does not let us mount a tmpfs: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def fill(disk: Path) -> None:
    """Until not one byte more fits."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"\0" * 65536)
        except OSError:
            pass


def test_a_full_disk_is_told_and_changes_still_go_live(small_disk: Path) -> None:
    with Fleet(small_disk / "shop") as fleet:
        route = fleet.folder / "us" / "gateway.yaml"
        text = route.read_text()
        fleet.flota("up", "-d")
        address = fleet.address("us")
        fill(small_disk)
        changed = text.replace("shop.example.com", "shup.example.com")  # as long as before: it needs no new block
        with route.open("r+") as file:
            file.write(changed)
        fleet.until(lambda status: get(address, "shup.example.com")[0] == 200)
        fleet.until(lambda status: "DiskFull" in {row["reason"] for row in status["problems"]})
        (small_disk / "filler").unlink()


def test_a_read_only_folder_is_refused_with_the_reason(small_disk: Path) -> None:
    with Fleet(small_disk / "shop") as fleet:
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        try:
            done = fleet.flota("up", "-d", check=False)
            assert done.returncode == 1
            assert "read-only" in done.stderr.lower()
        finally:
            subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
