"""The benches work: a smoke of each; what they measure is not judged here."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_bench_prints_its_table() -> None:
    names = ["routes", "endpoints", "start", "request"]
    done = subprocess.run([sys.executable, "-m", "bench", *names, "--quick"], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    parts = dict(zip(names, re.split(r"^## \w+.*$", done.stdout, flags=re.MULTILINE)[1:], strict=True))
    for name in ("routes", "endpoints"):
        rows = [line.split("|") for line in parts[name].splitlines() if line.startswith("| 100 ")]
        assert [row[2].strip() for row in rows] == ["idle", "churn"]
        assert {row[5].strip() for row in rows} == {"0"}, parts[name]  # no wrong answer, however slow the machine
    assert re.search(r"resources pushed +\| 0 ", parts["start"]), parts["start"]
    assert ("ratio (bar 1.05)" in parts["request"]) == (shutil.which("wrk") is not None)


@pytest.mark.slow
def test_the_reflector_bench_prints_its_table() -> None:
    command = [sys.executable, "-m", "bench", "reflector", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| HTTPRoute +\| 50 ", done.stdout, re.MULTILINE), done.stdout


def test_an_unknown_bench_is_refused() -> None:
    done = subprocess.run([sys.executable, "-m", "bench", "nonsense"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "there are" in done.stderr


@pytest.mark.slow
@pytest.mark.rig
def test_the_bench_in_a_cluster_prints_its_tables() -> None:
    done = subprocess.run([sys.executable, "-m", "bench", "scale", "--quick"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    if "skipped: " in done.stdout:
        pytest.skip(done.stdout.split("skipped: ")[1].splitlines()[0])
    assert re.search(r"^15 routes in \d+ s, \d+ status writes", done.stdout, re.MULTILINE), done.stdout
    assert {line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| ")} >= {
        "flota",
        "floor",
        "watch",
        "first 200",
    }
