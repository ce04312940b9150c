"""A dead control plane costs nothing, and every trouble has a visible reason (real Flota, real Envoy, real requests)."""

import os
import shutil
import signal
import socket
import subprocess
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


def listen_on(fleet: Fleet, port: int) -> None:
    """Let the Gateway of us have this port of 127.66.1.1."""
    gateway = fleet.folder / "us" / "gateway.yaml"
    own = "gatewayClassName: flota\n  addresses: [{type: IPAddress, value: 127.66.1.1}]"
    text = gateway.read_text().replace("gatewayClassName: flota", own)
    gateway.write_text(text.replace("port: 8080", f"port: {port}"))


def test_a_taken_port_is_told_and_the_others_serve(tmp_path: Path) -> None:
    with Fleet(tmp_path / "shop") as fleet, socket.socket() as other:
        other.bind(("127.66.1.1", 0))
        other.listen()
        port = other.getsockname()[1]
        listen_on(fleet, port)
        began = time.monotonic()
        done = fleet.flota("up", "-d", "--timeout", "80s")
        assert time.monotonic() - began < 60, "it must not wait for what can't be"
        assert f"port {port} of 127.66.1.1 is taken by another process" in done.stdout + done.stderr
        assert get(fleet.address("eu")) == (200, "eu")
        (row,) = (row for row in fleet.status()["gateways"] if row["cluster"] == "us")
        assert (row["programmed"], row["listeners"][0]["reason"]) == (False, "PortUnavailable")
        assert fleet.reasons() == {"PortUnavailable"}
        other.close()
        fleet.until(lambda status: all(row["programmed"] for row in status["gateways"]))
        assert fleet.reasons() == set()
        assert get("127.66.1.1", port=port) == (200, "us")


def test_a_port_that_needs_root_says_so(tmp_path: Path) -> None:
    setpriv = shutil.which("setpriv")
    lowest = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if lowest <= 81 or (os.getuid() == 0 and setpriv is None):
        pytest.skip(f"ports from {lowest} are free for all here, or this is root without setpriv (util-linux)")
    with Fleet(tmp_path / "shop") as fleet:
        listen_on(fleet, 81)
        if os.getuid() == 0:
            fleet.through = (str(setpriv), "--inh-caps=-all", "--bounding-set=-all")
        done = fleet.flota("up", "-d")
        assert "net.ipv4.ip_unprivileged_port_start" in done.stdout + done.stderr
        assert fleet.reasons() == {"PortUnavailable"}
        assert get(fleet.address("eu")) == (200, "eu")


def test_while_it_stops_it_says_so(tmp_path: Path) -> None:
    with Fleet(tmp_path / "shop", drain_ms="4000") as fleet:
        fleet.flota("up", "-d")
        with socket.create_connection((fleet.address("us"), 8080)), socket.create_connection((fleet.address("eu"), 8080)):
            with subprocess.Popen(fleet.command("down"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as down:
                status = fleet.until(lambda status: status["proxies"][0]["state"] != "Running")
                assert [row["state"] for row in status["proxies"]] == ["Stopping", "Stopping"]
                assert {row["reason"] for row in status["clusters"]} == {"Flota is stopping"}
            assert down.returncode == 0


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
