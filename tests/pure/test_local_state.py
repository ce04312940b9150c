"""The state folder: what is kept can be trusted or is refused with a reason; addresses; logs; waits."""

import errno
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flota.fleet.problem import Problem
from flota.local import logs
from flota.local.addresses import Addresses, candidate, check_ports, used_addresses
from flota.local.backoff import CONTAINER, PROXY
from flota.local.envoylog import trouble
from flota.local.state import Lock, StateFolder, disk_problem, open_state, socket_folder


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    found = open_state(tmp_path, short_root=tmp_path)
    assert not isinstance(found, Problem)
    return found


def reason(found: object) -> str:
    assert isinstance(found, Problem), found
    return found.reason


def test_kept_and_found_again(state: StateFolder) -> None:
    assert state.load("plan", dict[str, int]) is None
    assert state.save("plan", {"a": 1}) is None
    assert state.load("plan", dict[str, int]) == {"a": 1}
    path = state.root / "documents/plan.msgpack"
    assert (path.stat().st_mode & 0o777, state.root.stat().st_mode & 0o777) == (0o600, 0o700)
    state.remove("plan")
    assert state.load("plan", dict[str, int]) is None


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "cut": ("Damaged", lambda kept: kept[:-1]),
    "empty": ("Damaged", lambda _: b""),
    "one bit": ("Damaged", lambda kept: kept[:-1] + bytes([kept[-1] ^ 1])),
    "something else": ("Damaged", lambda _: b"\xff\xfe\x00garbage\n"),
    "newer": ("NewerVersion", lambda kept: kept.replace(b"document 1 ", b"document 99 ")),
    "renamed": ("Foreign", lambda kept: kept.replace(b" plan ", b" other ")),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_refused_with_a_reason(state: StateFolder, case: str) -> None:
    state.save("plan", {"a": 1})
    path = state.root / "documents/plan.msgpack"
    expected, damage = DAMAGE[case]
    path.write_bytes(damage(path.read_bytes()))
    assert reason(state.load("plan", dict[str, int])) == expected


def test_another_folder_another_owner_another_type(state: StateFolder, tmp_path: Path) -> None:
    state.save("plan", {"a": 1})
    path = state.root / "documents/plan.msgpack"
    other = open_state(_made(tmp_path / "other"), short_root=tmp_path)
    assert isinstance(other, StateFolder)
    other.save("plan", {})
    (other.root / "documents/plan.msgpack").write_bytes(path.read_bytes())
    assert reason(other.load("plan", dict[str, int])) == "Foreign"
    assert reason(state.load("plan", dict[str, str])) == "Damaged"
    path.chmod(0o644)
    assert reason(state.load("plan", dict[str, int])) == "Foreign"


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def test_only_one_flota_and_the_other_hears_which(state: StateFolder) -> None:
    assert state.holder() is None
    lock = state.lock()
    assert isinstance(lock, Lock)
    second = state.lock()
    assert reason(second) == "AlreadyRunning"
    assert isinstance(second, Problem)
    assert f"pid {os.getpid()}" in second.message
    assert state.holder() == os.getpid()
    lock.release()
    third = state.lock()
    assert isinstance(third, Lock)
    third.release()


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.ENOSPC, "DiskFull"),
        (errno.EDQUOT, "DiskFull"),
        (errno.EROFS, "StateReadOnly"),
        (errno.EACCES, "StateReadOnly"),
        (errno.EIO, "StateUnusable"),
    ],
)
def test_disk_errors_have_a_reason_and_may_heal(number: int, word: str) -> None:
    found = disk_problem("write", Path("/x/y"), OSError(number, os.strerror(number)))
    assert (found.reason, found.retry, "/x/y" in found.message) == (word, True, True)


def test_a_full_disk_is_a_problem_and_the_old_document_stays(tmp_path: Path) -> None:
    disk = _made(tmp_path / "disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        assert os.getuid() != 0 or b"permitted" in mounted.stderr or b"denied" in mounted.stderr, mounted.stderr
        pytest.skip("mounting a small disk needs root and CAP_SYS_ADMIN")
    try:
        state = open_state(disk, short_root=tmp_path)
        assert isinstance(state, StateFolder)
        assert state.save("plan", "small") is None
        assert reason(state.save("plan", "x" * 200_000)) == "DiskFull"
        assert state.load("plan", str) == "small"
        assert not list((state.root / "documents").glob(".*")), "a half-written file was left"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_sockets_of_deep_folders_go_to_a_short_place(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90)
    short = socket_folder(deep, tmp_path / "s", "cafe")
    assert short == tmp_path / "s/cafe"
    assert (short.stat().st_mode & 0o777, short.parent.stat().st_mode & 0o777) == (0o700, 0o700)
    assert socket_folder(Path("/tmp") / tmp_path.name[:8], tmp_path / "s", "cafe").parent == Path("/tmp")  # removed below
    (Path("/tmp") / tmp_path.name[:8]).rmdir()


def test_a_link_in_the_place_of_the_short_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").symlink_to(_made(tmp_path / "elsewhere"))
    with pytest.raises(PermissionError):
        socket_folder(tmp_path / ("d" * 90), tmp_path / "s", "cafe")


@given(st.text(max_size=20), st.text(max_size=40), st.integers(0, 70))
def test_addresses_are_loopback_but_never_the_common_ones(identity: str, owner: str, attempt: int) -> None:
    parts = [int(part) for part in candidate(identity, owner, attempt).split(".")]
    assert parts[0] == 127
    assert 1 <= parts[1] <= 254
    assert 1 <= parts[3] <= 254
    assert candidate(identity, owner, attempt) == ".".join(map(str, parts))


def test_an_address_is_stable_recorded_and_released(state: StateFolder) -> None:
    addresses = Addresses(state)
    given_ = addresses.give("gateway/us", (("TCP", 18081), ("UDP", 18081)))
    assert addresses.give("gateway/us", (("TCP", 18081),)) == given_
    assert Addresses(state).given() == {"gateway/us": given_}
    addresses.release("gateway/us")
    assert Addresses(state).given() == {}


def test_a_taken_port_moves_a_new_owner_but_not_a_running_one(state: StateFolder) -> None:
    first = candidate(state.identity, "gateway/us", 0)
    with socket.socket() as taken:
        taken.bind((first, 18082))
        taken.listen()
        assert first in used_addresses()
        assert check_ports(first, (("TCP", 18082),)) is not None
        moved = Addresses(state).give("gateway/us", (("TCP", 18082),))
        assert isinstance(moved, str)
        assert moved != first
        addresses = Addresses(state)
        addresses.adopt("gateway/us", first)
        assert addresses.give("gateway/us", (("TCP", 18082),), running=True) == first


def test_a_port_taken_on_every_address_is_named(state: StateFolder) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = Addresses(state).give("pod/us/default/a", (("TCP", port),))
    assert reason(found) == "PortInUse"
    assert isinstance(found, Problem)
    assert f":{port}/TCP" in found.message


def test_an_address_that_is_not_ours_is_said_so() -> None:
    found = check_ports("203.0.113.7", (("TCP", 18083),))
    assert found is not None
    assert found[0] == "AddressNotUsable"


def test_waits_double_up_to_a_limit_and_are_forgotten() -> None:
    assert [PROXY.delay(n) for n in range(9)] == [0, 0, 1, 2, 4, 8, 16, 30, 30]
    assert [CONTAINER.delay(n) for n in (1, 2, 3, 7, 1000)] == [0, 10, 20, 300, 300]
    assert (PROXY.crashes(5, 9.9), PROXY.crashes(5, 10.0)) == (6, 1)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("[2026-01-01 00:00:00.000][7][critical][main] [source/x.cc:1] cannot bind '127.1.1.1:80': Address already in use", "PortInUse"),
        (
            "[2026-01-01 00:00:00.000][7][critical][main] unable to bind domain socket with base_id=1, id=0, errno=98",
            "AnotherEnvoy",
        ),
        ("[2026-01-01 00:00:00.000][7][error][main] cannot bind '127.1.1.1:80': Permission denied", "PermissionDenied"),
        ("[2026-01-01 00:00:00.000][7][critical][main] error initializing config: Unable to parse JSON", "BootstrapRefused"),
        ("[2026-01-01 00:00:00.000][7][critical][assert] assert failure", "Crashed"),
        ("PARSE ERROR: unknown argument", "Crashed"),
    ],
)
def test_envoys_last_words_give_a_reason(line: str, word: str) -> None:
    quiet = "[2026-01-01 00:00:00.000][7][info][main] [x.cc:1] Address already in use, said in passing"
    found = trouble([quiet, line] if line.startswith("[") else [line], "Envoy ended")
    assert found.reason == word
    assert line.rpartition("] ")[2] in found.message


def test_old_logs_are_kept_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in ("one", "two", "three", "four"):
        path.write_text(text * 10)
        assert logs.rotate(path, limit=20)
        assert path.read_text() == ""
    assert {file.name: file.read_text()[:4] for file in tmp_path.iterdir()} == {"log": "", "log.1": "four", "log.2": "thre"}
    assert not logs.rotate(path, limit=20)
    assert not logs.rotate(tmp_path / "none")


def test_the_tail_starts_where_told_and_on_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("old\nnew one\nnew two\n")
    assert logs.tail(path, 4) == ("new one", "new two")
    assert logs.tail(path, 4, limit=10) == ("new two",)
    assert logs.tail(path, 400) == ("old", "new one", "new two"), "the log was cut since"
    assert logs.tail(tmp_path / "none") == ()


def test_the_newest_logs_of_gone_pods_are_kept(tmp_path: Path) -> None:
    for number in range(5):
        for name in (f"pod-us-default-p{number}-c.log", f"pod-us-default-p{number}-c.log.1"):
            (tmp_path / name).write_text("said\n")
            os.utime(tmp_path / name, (number, number))
    (tmp_path / "proxy-us.log").write_text("")
    logs.prune(tmp_path, {tmp_path / "pod-us-default-p0-c.log"}, kept=2)
    left = {path.name for path in tmp_path.glob("*.log")}
    assert left == {"proxy-us.log", *(f"pod-us-default-p{number}-c.log" for number in (0, 3, 4))}
    assert len(list(tmp_path.glob("*.log.1"))) == 3
