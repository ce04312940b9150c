"""The guided first minute: nothing is lost; it can fail; and it leaves nothing behind, however it ends."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_harness import flota

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Where the demo puts its folder, so that what is left can be seen."""
    place = tmp_path / "t"
    place.mkdir()
    return {"TMPDIR": str(place)}


def left(home: dict[str, str]) -> list[str]:
    """Files and processes of the demo."""
    folder = home["TMPDIR"]
    found = [str(each) for each in Path(folder).iterdir()]
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                cwd, words = (
                    str((process / "cwd").readlink()),
                    (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"),
                )
            except OSError:
                continue
            if folder in cwd or folder in words:
                found.append(words)
    return found


def test_no_request_fails(home: dict[str, str]) -> None:
    ran = flota("demo", "--seconds", "20", env=home, timeout=120)
    last = ran.out.strip().splitlines()[-1]
    assert re.fullmatch(r"0 of \d+ requests failed, shift \d+\.\d\d s", last), ran
    assert ran.code == 0
    total = int(last.split(" ")[2])
    assert total >= 20 * 200 * 2 * 0.99
    assert float(last.split(" ")[-2]) <= 1.5
    assert "why: cluster us is Lost" in ran.out
    assert "\033[" not in ran.out
    assert left(home) == []


def test_it_can_fail(home: dict[str, str]) -> None:
    ran = flota("demo", "--seconds", "20", env={**home, "FLOTA_RETRIES": "false"}, timeout=120)
    last = ran.out.strip().splitlines()[-1]
    assert ran.code == 1, ran
    assert re.match(r"[1-9]\d* of \d+ requests failed, ", last), ran
    assert left(home) == []


@pytest.mark.parametrize(
    ("number", "after"), [(signal.SIGINT, "Two regions serve"), (signal.SIGTERM, "kill -9"), (signal.SIGINT, "A fleet")]
)
def test_interrupted(home: dict[str, str], number: signal.Signals, after: str) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-u", "-m", "flota.cli", "demo", "--seconds", "20"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **home},
    )  # fmt: skip
    assert demo.stdout is not None
    with demo:
        while after not in demo.stdout.readline():
            assert demo.poll() is None
        demo.send_signal(number)
        started = time.monotonic()
        out, err = demo.communicate(timeout=60)
        assert demo.returncode == 130, (out, err)
        assert "Traceback" not in err
        assert time.monotonic() - started < 40
    assert left(home) == []


def test_interrupted_while_it_starts(home: dict[str, str]) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "flota.cli", "demo"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **home},
    )  # fmt: skip
    with demo:
        while not any(" run -C " in each for each in left(home)):
            assert demo.poll() is None
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=60)
        assert demo.returncode == 130, err
    assert left(home) == []
