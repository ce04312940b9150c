"""Real processes: detached, adopted, stopped; nothing waits for luck, everything has a deadline."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from flota.fleet.problem import Problem
from flota.local import logs
from flota.local.kernel import facts
from flota.local.process import MARK, Process, ProcessSpec, Record, Runner
from flota.local.state import open_state

PATH = {"PATH": os.environ["PATH"]}


def spec(folder: Path, script: str, name: str = "pod/us/default/a/app", **more: object) -> ProcessSpec:
    argv = (sys.executable, "-c", script)
    return msgspec.structs.replace(ProcessSpec(name=name, argv=argv, env=PATH, cwd=folder, log=folder / "log", digest="d1"), **more)


async def until(true: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"not in time: {what}")


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[Runner]:
    state = open_state(tmp_path)
    assert not isinstance(state, Problem)
    runner = Runner(state.processes, state.identity)
    yield runner
    living, _ = Runner(state.processes, state.identity).adopt()
    for process in living.values():
        process.send_group(signal.SIGKILL)
        await process.wait()
    state.tidy()


def started(found: Process | Problem) -> Process:
    assert isinstance(found, Process), found
    return found


async def test_a_process_is_detached_and_its_end_is_known(runner: Runner, tmp_path: Path) -> None:
    process = started(runner.start(spec(tmp_path, "import os,sys; print(os.getsid(0) == os.getpid(), sys.stdin.read()); sys.exit(3)")))
    end = await process.wait()
    assert (end.code, end.words) == (3, "exited with code 3")
    assert (tmp_path / "log").read_text() == "True \n"
    assert facts(process.pid) is None, "not reaped"


async def test_another_life_adopts_with_the_same_pid(runner: Runner, tmp_path: Path) -> None:
    process = started(runner.start(spec(tmp_path, "import time; time.sleep(60)", note={"ip": "127.1.2.3"})))
    process.close()
    living, gone = runner.adopt()
    adopted = living["pod/us/default/a/app"]
    assert (adopted.pid, adopted.record.note, adopted.record.digest, gone) == (process.pid, {"ip": "127.1.2.3"}, "d1", {})
    adopted.send(signal.SIGKILL)
    await until(lambda: adopted.exit is not None, "the end of an adopted process")


async def test_a_killed_flota_leaves_its_processes_running_and_they_are_found(tmp_path: Path) -> None:
    """A whole other interpreter starts one, and is killed hard; also with the record lost."""
    state = open_state(tmp_path)
    assert not isinstance(state, Problem)
    script = f"""
import asyncio, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from flota.local.process import ProcessSpec, Runner
async def main():
    runner = Runner(Path({str(state.processes)!r}), {state.identity!r})
    found = runner.start(ProcessSpec(name="pod/us/default/a/app", argv=("/bin/sleep", "60"), env={{}}, cwd=Path("/"),
                         log=Path({str(tmp_path / "log")!r}), digest="d1"))
    print(found.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as flota:
        assert flota.stdout is not None
        pid = int(flota.stdout.readline())
        flota.kill()
    for record in [*state.processes.iterdir(), None]:
        living, _ = Runner(state.processes, state.identity).adopt()
        assert {name: process.pid for name, process in living.items()} == {"pod/us/default/a/app": pid}
        living["pod/us/default/a/app"].close()
        if record is not None:
            record.unlink()
    living, _ = Runner(state.processes, state.identity).adopt()
    await living["pod/us/default/a/app"].stop(5.0)
    state.tidy()
    assert facts(pid) is None or not facts(pid).alive  # type: ignore[union-attr]


async def test_a_stranger_with_the_pid_is_not_touched(runner: Runner, tmp_path: Path) -> None:
    process = started(runner.start(spec(tmp_path, "pass")))
    await process.wait()
    # The kernel counts starts in ticks of 10 ms; a pid comes round much later than that.
    born = Path("/proc/uptime").read_text()
    await until(lambda: float(Path("/proc/uptime").read_text().split()[0]) > float(born.split()[0]) + 0.02, "two ticks")
    with subprocess.Popen(["/bin/sleep", "60"], env={}) as stranger:
        record = next((tmp_path / ".flota/processes").glob("*.json"))
        kept = msgspec.json.decode(record.read_bytes(), type=Record)
        record.write_bytes(msgspec.json.encode(msgspec.structs.replace(kept, pid=stranger.pid)))
        living, gone = runner.adopt()
        assert (living, list(gone)) == ({}, ["pod/us/default/a/app"])
        assert stranger.poll() is None, "the stranger was hit"
        stranger.kill()


async def test_a_record_of_another_boot_is_not_believed(runner: Runner, tmp_path: Path) -> None:
    process = started(runner.start(spec(tmp_path, "import time; time.sleep(60)")))
    record = next((tmp_path / ".flota/processes").glob("*.json"))
    old = msgspec.json.decode(record.read_bytes(), type=Record)
    old = msgspec.structs.replace(old, machine=msgspec.structs.replace(old.machine, boot="another"), mark="none")
    stale = runner._open(old)
    assert stale is None
    await process.stop(1.0)


async def test_sigterm_ignored_means_sigkill_for_the_whole_group(runner: Runner, tmp_path: Path) -> None:
    script = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(subprocess.Popen([sys.executable, "-c", "import signal,time; signal.signal(15, 1); time.sleep(60)"]).pid, flush=True)
time.sleep(60)
"""
    process = started(runner.start(spec(tmp_path, script)))
    await until(lambda: (tmp_path / "log").read_text().endswith("\n"), "the child's pid")
    child = int((tmp_path / "log").read_text())
    end = await process.stop(0.3)
    assert end.code == -signal.SIGKILL
    await until(lambda: facts(child) is None or not facts(child).alive, "the end of the child")  # type: ignore[union-attr]


@pytest.mark.parametrize("adopted", [False, True])
async def test_what_a_dead_process_left_behind_is_killed(runner: Runner, tmp_path: Path, adopted: bool) -> None:
    script = (
        "import subprocess; print(subprocess.Popen(['/bin/sleep', '60']).pid, flush=True); input() if 0 else __import__('time').sleep(60)"
    )
    process = started(runner.start(spec(tmp_path, script)))
    await until(lambda: (tmp_path / "log").read_text().endswith("\n"), "the child's pid")
    child = int((tmp_path / "log").read_text())
    if adopted:
        process.close()
        process = runner.adopt()[0][process.name]
    process.send(signal.SIGKILL)
    await process.wait()
    await until(lambda: facts(child) is None or not facts(child).alive, "the end of the child")  # type: ignore[union-attr]


async def test_an_exit_code_outlives_us(runner: Runner, tmp_path: Path) -> None:
    process = started(runner.start(spec(tmp_path, "import time; time.sleep(0.2); raise SystemExit(7)", keep_exit=tmp_path / "exit")))
    process.close()
    await until((tmp_path / "exit").exists, "the exit file")
    with_wait = os.waitpid(process.pid, 0)
    assert with_wait[0] == process.pid
    _, gone = runner.adopt()
    assert gone["pod/us/default/a/app"][1].code == 7


async def test_sigterm_reaches_a_process_whose_exit_is_kept(runner: Runner, tmp_path: Path) -> None:
    script = "import signal,sys,time; signal.signal(15, lambda *a: sys.exit(9)); print('up', flush=True); time.sleep(60)"
    process = started(runner.start(spec(tmp_path, script, keep_exit=tmp_path / "exit")))
    await until(lambda: "up" in (tmp_path / "log").read_text(), "the start")
    assert (await process.stop(10.0)).code == 9
    assert (tmp_path / "exit").read_text() == "9\n"


@pytest.mark.parametrize(
    ("argv", "words"),
    [(("/no/such",), "/no/such does not exist"), (("/dev/null",), "may not be executed"), (("a\0b",), "null")],
)
async def test_what_cannot_be_started_says_why(runner: Runner, tmp_path: Path, argv: tuple[str, ...], words: str) -> None:
    found = runner.start(spec(tmp_path, "", argv=argv))
    assert isinstance(found, Problem)
    assert (found.reason, words in found.message) == ("CannotStart", True), found


async def test_without_a_writable_state_it_runs_nevertheless_and_is_found(tmp_path: Path) -> None:
    runner = Runner(tmp_path / "not-there", "cafe" + tmp_path.name)
    process = started(runner.start(spec(tmp_path, "import time; time.sleep(60)", log=tmp_path / "none" / "log")))
    assert runner.problems[process.name].retry
    process.close()
    living, _ = runner.adopt()
    assert living[process.name].pid == process.pid
    await living[process.name].stop(1.0)


async def test_records_are_owner_only_and_the_mark_is_there(runner: Runner, tmp_path: Path) -> None:
    process = started(runner.start(spec(tmp_path, f"import os; print(os.environ['{MARK}'])")))
    await process.wait()
    record = next((tmp_path / ".flota/processes").glob("*.json"))
    assert (record.stat().st_mode & 0o777, record.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert (tmp_path / "log").read_text().strip() == process.record.mark
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    runner.forget(process.name)
    assert not record.exists()


async def test_a_log_is_cut_under_a_running_writer(runner: Runner, tmp_path: Path) -> None:
    script = "import time\nfor i in range(100000):\n  print(i, flush=True); time.sleep(0.0005)"
    process = started(runner.start(spec(tmp_path, script)))
    log = tmp_path / "log"
    await until(lambda: logs.size(log) > 500, "some lines")
    assert logs.rotate(log, limit=500)
    await until(lambda: logs.size(log) > 100, "lines after the cut")
    process.send(signal.SIGKILL)
    await process.wait()
    numbers = [int(line) for part in (tmp_path / "log.1", log) for line in part.read_text().splitlines()]
    assert numbers[0] == 0
    assert numbers == sorted(numbers)
    assert numbers[-1] - len(numbers) < 20, "more than a few lines were lost at the cut"
    assert b"\0" not in log.read_bytes(), "the writer went on at its old offset"


async def test_an_orphan_that_ends_at_once_is_over_not_an_error(runner: Runner, tmp_path: Path) -> None:
    for number in range(20):
        process = started(runner.start(spec(tmp_path, "", argv=("/bin/true",), name=f"proxy/us/{number}", orphan=True)))
        async with asyncio.timeout(10):
            assert (await process.wait()).code is None


async def test_an_orphan_that_cannot_be_started_says_why(runner: Runner, tmp_path: Path) -> None:
    found = runner.start(spec(tmp_path, "", argv=("/no/such",), orphan=True))
    assert isinstance(found, Problem)
    assert "/no/such does not exist" in found.message
