"""A dead control plane costs nothing, and every trouble has a visible reason (real Flota, real Envoy, real requests)."""

import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_harness import Fleet, Load, alive, fleets, get, kill


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    yield from fleets(tmp_path / "shop")


def test_a_killed_flota_costs_no_request_and_the_next_one_adopts(fleet: Fleet) -> None:
    before, address = fleet.proxies(), fleet.address("us")
    load = Load(address)
    kill(fleet.pid())
    assert get(address) == (200, "us")
    fleet.flota("up", "-d")
    assert fleet.proxies() == before
    counts = load.stop()
    assert counts.keys() == {"200"}, counts
    assert counts["200"] > 20


def test_adoption_removes_nothing_that_broken_files_no_longer_say(fleet: Fleet) -> None:
    address = fleet.address("us")
    fleet.wait_kept()
    kill(fleet.pid())
    for name in ("gateway.yaml", "service.yaml"):
        (fleet.folder / "us" / name).write_text("kind: [broken")
    load = Load(address)
    fleet.flota("up", "-d")
    assert "Unreadable" in fleet.reasons()
    counts = load.stop()
    assert counts.keys() == {"200"}, counts


def test_down_leaves_nothing_running_even_after_a_kill(fleet: Fleet) -> None:
    pids = [pid for pid in fleet.proxies().values() if pid]
    kill(fleet.pid())
    assert all(alive(pid) for pid in pids)
    fleet.flota("down")
    assert not any(alive(pid) for pid in pids)


def test_a_second_up_says_who_runs(fleet: Fleet) -> None:
    done = fleet.flota("up", "-d", check=False)
    assert done.returncode == 1
    assert str(fleet.pid()) in done.stderr


def test_sigterm_ends_flota_and_nothing_else(fleet: Fleet) -> None:
    before, pid = fleet.proxies(), fleet.pid()
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while alive(pid):
        assert time.monotonic() < deadline
    assert all(alive(proxy) for proxy in before.values() if proxy)


def test_a_crashed_envoy_comes_back(fleet: Fleet) -> None:
    before, address = fleet.proxies(), fleet.address("us")
    assert before["us"] is not None
    kill(before["us"])
    fleet.until(lambda status: any(row["cluster"] == "us" and row["pid"] not in (None, before["us"]) for row in status["proxies"]))
    fleet.until(lambda status: all(row["programmed"] for row in status["gateways"]))
    assert get(address) == (200, "us")


@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_a_kept_state_that_cannot_be_trusted_is_refused_and_rebuilt(fleet: Fleet, damage: str) -> None:
    address, kept = fleet.address("us"), fleet.wait_kept()
    kill(fleet.pid())
    content = kept.read_bytes()
    header, _, body = content.partition(b"\n")
    words = header.split(b" ")
    words[3] = b"0" * 16
    kept.write_bytes(content[:-3] if damage == "cut" else b" ".join(words) + b"\n" + body)
    load = Load(address)
    fleet.flota("up", "-d")
    assert {"cut": "Damaged", "foreign": "Foreign"}[damage] in fleet.reasons()
    counts = load.stop()
    assert counts.keys() == {"200"}, counts


def test_a_taken_port_is_told_and_the_others_serve(tmp_path: Path) -> None:
    with Fleet(tmp_path / "shop") as fleet, socket.socket() as other:
        other.bind(("127.66.1.1", 0))
        other.listen()
        port = other.getsockname()[1]
        gateway = fleet.folder / "us" / "gateway.yaml"
        own = "gatewayClassName: flota\n  addresses: [{type: IPAddress, value: 127.66.1.1}]"
        text = gateway.read_text().replace("gatewayClassName: flota", own)
        gateway.write_text(text.replace("port: 8080", f"port: {port}"))
        done = fleet.flota("up", "-d", "--timeout", "20s", check=False)
        assert done.returncode == 1
        assert str(port) in done.stdout + done.stderr
        assert get(fleet.address("eu")) == (200, "eu")
        rows = [row for row in fleet.status()["gateways"] if row["cluster"] == "us"]
        assert [row["programmed"] for row in rows] == [False]
        assert fleet.status()["problems"], "a refused socket is a problem"


def test_pods_are_adopted_under_load_and_keep_their_pids(tmp_path: Path) -> None:
    with Fleet(tmp_path / "shop") as fleet:
        for name in ("us", "eu"):
            shutil.rmtree(fleet.folder / name)
        (fleet.folder / "fleet.yaml").unlink()
        fleet.flota("init", str(fleet.folder))
        fleet.flota("up", "-d")
        before = {pod["name"]: pod["pids"] for pod in fleet.status()["pods"]}
        load = Load(fleet.address("us"))
        kill(fleet.pid())
        fleet.flota("up", "-d")
        counts = load.stop()
        assert counts.keys() == {"200"}, counts
        assert {pod["name"]: pod["pids"] for pod in fleet.status()["pods"]} == before
