"""Processes that live without us: started detached, found again after our death, never started twice, never mistaken.

A process is known by (pid, kernel start time, boot, pid namespace) from a record on disk, and by a mark in its
environment. The mark makes
the record dispensable: a kill between start and record, a full disk or a deleted state folder cost nothing.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from flota.fleet.problem import Problem
from flota.local.kernel import Facts, Machine, facts, machine, mark_of, marked
from flota.local.state import disk_problem, local_problem, write_private

MARK = "FLOTA_PROCESS"
"""The environment variable that marks our processes: `<fleet identity>/<name>/<spec digest>/<nonce>`, the name with
`/` as `+`.
"""


_OVER = -1
"""In the place of the pidfd of a process that is over already."""


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `name` is unique in the fleet, such as `pod/us/default/web-5d-0/app`."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    """The whole environment; nothing is added to it but the mark."""
    cwd: Path
    log: Path
    digest: str
    """Of everything that makes a running process the wanted one; decided by the caller."""
    netns: str | None = None
    """Path of a network namespace to enter before exec (the test clusters); needs root."""
    keep_exit: Path | None = None
    """Where to leave the exit code, for processes whose end must be known even when nobody lives to see it (Jobs)."""
    orphan: bool = False
    """Give it to the machine's init at once. Envoy asks the kernel to end it with its parent (PR_SET_PDEATHSIG, prctl(2)), and that must
    not be us. The exit code of an orphan is not known."""
    note: Mapping[str, str] = {}
    """What the caller wants to find again at adoption, such as the address of a pod."""


class Record(msgspec.Struct, frozen=True):
    """What is kept on disk of a started process."""

    name: str
    digest: str
    mark: str
    pid: int
    started: int
    machine: Machine
    note: dict[str, str] = {}
    keep_exit: str | None = None


class Exit(msgspec.Struct, frozen=True):
    """How a process ended. `code` is None when it can't be known: it was not our child and left no exit file."""

    code: int | None

    @property
    def words(self) -> str:
        if self.code is None:
            return "ended while nobody watched"
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}" if -self.code in set(signal.Signals) else f"killed by signal {-self.code}"
        return f"exited with code {self.code}"


class Process:
    """A process of ours that was alive when this was made. Close it, or wait for its end, to free the descriptor."""

    def __init__(self, record: Record, descriptor: int, *, child: bool) -> None:
        self.record = record
        self.child = child
        self._descriptor = descriptor
        self._exit: Exit | None = None
        self._over = asyncio.Event()
        if descriptor == _OVER:
            self._exit = kept_exit(record)
            self._over.set()
        else:
            asyncio.get_running_loop().add_reader(descriptor, self._ended)

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def pid(self) -> int:
        return self.record.pid

    @property
    def exit(self) -> Exit | None:
        """None while it lives."""
        return self._exit

    async def wait(self) -> Exit:
        """Wait for the end; no polling: a pidfd turns readable (pidfd_open(2)), for adopted processes too."""
        await self._over.wait()
        assert self._exit is not None  # noqa: S101 - set together with the event
        return self._exit

    def send(self, number: signal.Signals) -> None:
        """Signal the process itself. Does nothing when it is over; never reaches a stranger with the same pid."""
        if self._exit is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def send_group(self, number: signal.Signals) -> None:
        """Signal the process and all it started in its group."""
        # The pid, and with it the group's number, can't be reused while the process is there or, as our child, not
        # reaped.
        if self._exit is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def stop(self, grace: float, number: signal.Signals = signal.SIGTERM) -> Exit:
        """SIGTERM (or what is given), then SIGKILL to the whole group after `grace` seconds."""
        self.send_group(number) if self.record.keep_exit else self.send(number)
        try:
            async with asyncio.timeout(grace):
                return await self.wait()
        except TimeoutError:
            self.send_group(signal.SIGKILL)
        return await self.wait()

    def close(self) -> None:
        """Let go: the process lives on, unwatched."""
        if self._exit is None and self._descriptor != _OVER:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = _OVER

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        kill_rest(self.record, child=self.child)
        self._exit = self._reap()
        os.close(self._descriptor)
        self._descriptor = _OVER
        self._over.set()

    def _reap(self) -> Exit:
        try:
            # Not only what this object started: one that was let go and adopted again is our child too.
            found = os.waitid(os.P_PIDFD, self._descriptor, os.WEXITED)
        except ChildProcessError:
            found = None
        if found is None:
            return kept_exit(self.record)
        return Exit(found.si_status if found.si_code == os.CLD_EXITED else -found.si_status)


class Runner:
    """Starts processes and finds them again. One per fleet folder; `identity` keeps fleets apart."""

    def __init__(self, records: Path, identity: str) -> None:
        self._records = records
        self._identity = identity
        self._machine = machine()
        self.problems: dict[str, Problem] = {}
        """Process name → why its record could not be written; it runs nevertheless."""

    def start(self, spec: ProcessSpec) -> Process | Problem:
        """Start detached: own session, null input, output appended to the log file, nothing of ours inherited."""
        mark = self._mark(spec)
        output, complaint = _open_log(spec)
        try:
            pid = (_spawn_orphan if spec.orphan else _spawn)(spec, {**spec.env, MARK: mark}, output)
        except (OSError, ValueError) as error:
            return _not_started(spec, error)
        finally:
            os.close(output)
        descriptor = _watchable(pid)
        known = facts(pid)
        record = Record(
            spec.name,
            spec.digest,
            mark,
            pid,
            known.started if known else 0,
            self._machine,
            dict(spec.note),
            str(spec.keep_exit) if spec.keep_exit else None,
        )
        self._keep(record, complaint)
        return Process(record, descriptor, child=not spec.orphan)

    def adopt(self) -> tuple[dict[str, Process], dict[str, tuple[Record, Exit]]]:
        """(living, gone): our processes that run, by name, and those that ended unseen. Call once, before starting
        anything.
        """
        living: dict[str, Process] = {}
        gone: dict[str, tuple[Record, Exit]] = {}
        for record in self._recorded():
            process = self._open(record)
            if process is not None:
                living[record.name] = process
                continue
            kill_rest(record, child=False)
            gone[record.name] = (record, kept_exit(record))
        for record in self._unrecorded({process.record.mark for process in living.values()}):
            process = self._open(record) if record.name not in living else None
            if process is not None:
                living[record.name] = process
                gone.pop(record.name, None)
                self._keep(record, None)
        return living, gone

    def forget(self, name: str) -> None:
        """Drop the record of a process that is over."""
        self.problems.pop(name, None)
        with contextlib.suppress(OSError):
            self._path(name).unlink(missing_ok=True)

    def _mark(self, spec: ProcessSpec) -> str:
        return f"{self._identity}/{spec.name.replace('/', '+')}/{spec.digest}/{secrets.token_hex(8)}"

    def _path(self, name: str) -> Path:
        return self._records / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.json"

    def _keep(self, record: Record, complaint: Problem | None) -> None:
        path = self._path(record.name)
        try:
            write_private(path, msgspec.json.encode(record))
        except OSError as error:
            complaint = disk_problem("write", path, error)
        if complaint is None:
            self.problems.pop(record.name, None)
        else:
            self.problems[record.name] = complaint

    def _recorded(self) -> list[Record]:
        records = []
        for path in sorted(self._records.glob("*.json")) if self._records.is_dir() else ():
            # A damaged record is no loss: the mark finds the process.
            with contextlib.suppress(OSError, msgspec.DecodeError, msgspec.ValidationError):
                records.append(msgspec.json.decode(path.read_bytes(), type=Record))
        return records

    def _unrecorded(self, known: set[str]) -> list[Record]:
        """Marked leaders (pid = session) whose mark is in no record; the oldest per mark."""
        found: dict[str, tuple[Facts, str]] = {}
        for what, mark in marked(MARK, f"{self._identity}/"):
            if mark in known or what.pid != what.session or mark.count("/") != 3:
                continue
            if mark not in found or what.started < found[mark][0].started:
                found[mark] = (what, mark)
        return [self._rebuilt(what, mark) for what, mark in sorted(found.values(), key=lambda pair: pair[0].started)]

    def _rebuilt(self, what: Facts, mark: str) -> Record:
        _, name, digest, _ = mark.split("/")
        return Record(name.replace("+", "/"), digest, mark, what.pid, what.started, self._machine)

    def _open(self, record: Record) -> Process | None:
        if record.machine != self._machine:
            return None
        try:
            descriptor = os.pidfd_open(record.pid)
        except (ProcessLookupError, PermissionError):
            return None
        # Looked at only after the pidfd is held: from here on the pid can't change its owner unseen.
        found = facts(record.pid)
        if found is None or not found.alive or found.started != record.started:
            os.close(descriptor)
            return None
        return Process(record, descriptor, child=False)


def kill_rest(record: Record, *, child: bool) -> None:
    """Kill what a dead process left behind in its session, as a container's end would."""
    if child:
        # Not reaped yet, so the group's number is still ours.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(record.pid, signal.SIGKILL)
        return
    for found, _ in list(marked(MARK, record.mark)):
        if found.session != record.pid or found.pid == record.pid:
            continue
        with contextlib.suppress(ProcessLookupError, PermissionError):
            descriptor = os.pidfd_open(found.pid)
            if mark_of(found.pid, MARK) == record.mark:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)


def kept_exit(record: Record) -> Exit:
    """The exit a process left in its exit file; unknown without one."""
    if record.keep_exit is None:
        return Exit(None)
    try:
        text = Path(record.keep_exit).read_text().strip()
    except OSError:
        return Exit(None)
    return Exit(int(text)) if text.isdigit() else Exit(None)


# Leaves the code behind by rename, so that it is there whole or not at all. The empty trap keeps the shell alive over
# SIGTERM until
# its child has ended; a caught signal is reset in the child, so that one ends by it.
_KEEPER = 'trap : TERM INT HUP; "$@"; code=$?; echo "$code" > "$0.new" && mv "$0.new" "$0"; exit "$code"'


def _spawn(spec: ProcessSpec, env: Mapping[str, str], output: int) -> int:
    """Our child in a session of its own. Raises OSError, ValueError."""
    null = subprocess.DEVNULL
    popen = subprocess.Popen(
        _argv(spec), env=env, cwd=spec.cwd, stdin=null, stdout=output, stderr=output, start_new_session=True, close_fds=True
    )
    # The pidfd tells us of the end and reaps; Popen must neither wait nor warn when it is collected.
    popen.returncode = 0
    return popen.pid


def _spawn_orphan(spec: ProcessSpec, env: Mapping[str, str], output: int) -> int:
    """A child of init in a session of its own: forked twice (daemon(7)). Raises OSError, ValueError."""
    reading, writing = os.pipe()

    def step_aside() -> None:
        if os.fork():
            os._exit(0)
        os.setsid()
        os.write(writing, str(os.getpid()).encode())

    try:
        # What runs between fork and exec is three system calls; an error of exec still reaches us through Popen's own pipe.
        null = subprocess.DEVNULL
        popen = subprocess.Popen(
            _argv(spec),
            env=env,
            cwd=spec.cwd,
            stdin=null,
            stdout=output,
            stderr=output,
            close_fds=True,
            preexec_fn=step_aside,  # noqa: PLW1509 - see above
        )
        popen.wait()
        return int(os.read(reading, 32))
    finally:
        os.close(reading)
        os.close(writing)


def _watchable(pid: int) -> int:
    """A pidfd; `_OVER` when an orphan has ended, and init has reaped it, before we came to look."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return _OVER


def _argv(spec: ProcessSpec) -> list[str]:
    enter = ["nsenter", f"--net={spec.netns}", "--"] if spec.netns else []
    keep = ["/bin/sh", "-c", _KEEPER, str(spec.keep_exit)] if spec.keep_exit else []
    return [*enter, *keep, *spec.argv]


def _open_log(spec: ProcessSpec) -> tuple[int, Problem | None]:
    """A descriptor to append to; to nowhere, with a problem, when the log can't be written: logs must not stop what
    runs.
    """
    try:
        # O_APPEND lets the file be cut to nothing under a running writer, which goes on at the start.
        return os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), None
    except OSError as error:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), disk_problem("write", spec.log, error)


def _not_started(spec: ProcessSpec, error: OSError | ValueError) -> Problem:
    words = error.strerror if isinstance(error, OSError) else str(error)
    if isinstance(error, FileNotFoundError):
        missing = spec.cwd if not spec.cwd.is_dir() else spec.argv[0]
        words = f"{missing} does not exist"
    elif isinstance(error, PermissionError):
        words = f"{spec.argv[0]} may not be executed"
    return local_problem("Process", spec.name, "CannotStart", f"cannot start {spec.name}: {words}", retry=True)
