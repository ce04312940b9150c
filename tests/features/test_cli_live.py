"""Commands on a fleet that runs: from `up -d` to `down`, as people and scripts use them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest
from cli_harness import Ran, flota

from flota.report.schemas import REPORTS, schema_of

pytestmark = pytest.mark.timeout(180)
LOST = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: lost
spec:
  parentRefs:
    - name: nobody
"""
BAD = LOST.replace("name: lost", "name: bad").replace("parentRefs", "parentRefz")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The example, running."""
    folder = tmp_path_factory.mktemp("live") / "shop"
    assert flota("init", str(folder)).code == 0
    try:
        ran = flota("up", "-d", "--timeout", "60s", cwd=folder)
        assert ran.code == 0, ran
        assert "is up" in ran.out
        yield folder
    finally:
        ran = flota("down", cwd=folder)
    assert ran.code == 0, ran
    assert "stopped" in ran.out


def answer(address: str, port: int = 8080) -> str:
    with urllib.request.urlopen(f"http://{address}:{port}/", timeout=10) as response:
        return response.read().decode()


def status(folder: Path) -> dict[str, object]:
    ran = flota("status", "-o", "json", cwd=folder)
    assert ran.code == 0, ran
    return ran.json


def eventually(what: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def addresses(folder: Path) -> dict[str, str]:
    return {each["cluster"]: each["addresses"][0] for each in status(folder)["gateways"]}


def test_status_of_a_healthy_fleet(shop: Path) -> None:
    found = status(shop)
    jsonschema.validate(found, schema_of(REPORTS["FleetStatus"]))
    assert {each["name"]: each["state"] for each in found["clusters"]} == {"us": "Serving", "eu": "Serving"}
    assert [each["programmed"] for each in found["gateways"]] == [True, True]
    assert [(each["accepted"], each["resolvedRefs"]) for each in found["routes"]] == [(True, True)] * 2
    imported = [each for each in found["services"] if each["imported"]]
    assert [[one["state"] for one in each["endpoints"]] for each in imported] == [["Healthy"] * 4] * 2
    assert (found["problems"], found["drains"], found["settled"]) == ([], [], True)


def test_each_region_serves_its_own(shop: Path) -> None:
    where = addresses(shop)
    assert answer(where["us"]).startswith("us-east ")
    assert answer(where["eu"]).startswith("eu-west ")


def test_tables(shop: Path) -> None:
    plain, wide = flota("status", cwd=shop), flota("status", "-o", "wide", cwd=shop)
    assert "No problems." in plain.out
    assert "PROXY OF" not in plain.out
    assert "PROXY OF" in wide.out
    assert "\033[" not in wide.out


def test_reading_costs_little(shop: Path) -> None:
    """The contract says 0.3 s of CPU; the best of several, as the machine has other things to do."""
    for words in (("status",), ("explain", "httproute/shop"), ("whatif", "--lose", "us")):
        assert min(flota(*words, cwd=shop).cpu for _ in range(4)) < 0.3, words


def test_a_second_up_says_which_process_runs(shop: Path) -> None:
    pid = status(shop)["flota"]["pid"]
    for words in (("up", "-d"), ("up",), ("run",)):
        ran = flota(*words, cwd=shop)
        assert (ran.code, f"pid {pid}" in ran.err) == (1, True), ran


def test_explain_is_what_happens(shop: Path) -> None:
    where = addresses(shop)
    ran = flota("explain", "request", f"http://{where['us']}:8080/x", "--from", "us", "-o", "json", cwd=shop)
    jsonschema.validate(ran.json, schema_of(REPORTS["RequestExplanation"]))
    assert ran.json["status"] is None
    assert ran.json["route"] == {"kind": "HTTPRoute", "namespace": "default", "name": "shop"}
    assert [tier["localities"][0]["cluster"] for tier in ran.json["tiers"]] == ["us", "eu"]


def test_conditions_have_times(shop: Path) -> None:
    ran = flota("explain", "gateway/web", "--cluster", "us", "-o", "json", cwd=shop)
    jsonschema.validate(ran.json, schema_of(REPORTS["ObjectExplanation"]))
    held = {(each["about"], each["type"]): each for each in ran.json["objects"][0]["conditions"]}
    assert held["", "Programmed"]["status"] == "True"
    assert all(each["lastTransitionTime"] for each in held.values())


def test_drain_moves_traffic_and_ends(shop: Path) -> None:
    where = addresses(shop)
    dry = flota("drain", "us", "--for", "30m", "--dry-run", "-o", "json", cwd=shop)
    assert (dry.code, dry.json["applied"], dry.json["dryRun"]) == (0, False, True)
    assert status(shop)["drains"] == []
    real = flota("drain", "us", "--for", "30m", "-o", "json", cwd=shop)
    jsonschema.validate(real.json, schema_of(REPORTS["Drain"]))
    assert (real.code, real.json["applied"]) == (0, True)
    eventually(lambda: answer(where["us"]).startswith("eu-west "))
    found = status(shop)
    assert [each["target"] for each in found["drains"]] == ["us"]
    assert {each["name"]: each["state"] for each in found["clusters"]} == {"us": "Draining", "eu": "Serving"}
    refused = flota("drain", "eu-west", "--for", "1m", cwd=shop)
    assert (refused.code, "default/shop" in refused.out) == (1, True)
    assert flota("drain", "eu-west", "--for", "1m", "--dry-run", cwd=shop).code == 0
    assert flota("undrain", "us", cwd=shop).code == 0
    eventually(lambda: answer(where["us"]).startswith("us-east "))
    assert flota("undrain", "us", cwd=shop).code == 1


def test_what_is_dead_is_no_reserve(shop: Path) -> None:
    """The outage that the example's pods play: they come back, but don't serve until the file is gone."""
    outage = shop / "outage.eu-west"
    outage.touch()
    try:
        for pod in status(shop)["pods"]:
            if pod["cluster"] == "eu":
                for pid in pod["pids"]:
                    os.kill(pid, signal.SIGKILL)
        lost = lambda: {each["name"]: each["state"] for each in status(shop)["clusters"]}["eu"] == "Lost"  # noqa: E731
        eventually(lost)
        found = flota("whatif", "--lose", "us", "-o", "json", cwd=shop).json
        assert [each["left"] for each in found["services"]] == [False, False]
        assert flota("drain", "us", "--for", "1m", cwd=shop).code == 1
        assert status(shop)["drains"] == []
    finally:
        outage.unlink()
    eventually(lambda: all(each["state"] == "Serving" for each in status(shop)["clusters"]), 60)


def test_a_drain_expires(shop: Path) -> None:
    assert flota("drain", "eu", "--for", "1s", cwd=shop).code == 0
    eventually(lambda: status(shop)["drains"] == [])


def test_problems_come_and_go(shop: Path) -> None:
    (shop / "us" / "lost.yaml").write_text(LOST)
    (shop / "us" / "bad.yaml").write_text(BAD)
    eventually(lambda: {each["name"] for each in status(shop)["problems"]} == {"lost", "bad"})
    rows = {each["name"]: each for each in status(shop)["problems"]}
    assert (rows["bad"]["file"], rows["lost"]["file"]) == ("us/bad.yaml", "us/lost.yaml")
    assert rows["lost"]["line"] == 1
    assert answer(addresses(shop)["us"]).startswith("us-east ")
    for name in ("lost", "bad"):
        (shop / "us" / f"{name}.yaml").unlink()
    eventually(lambda: status(shop)["problems"] == [])


def test_watch_prints_what_changes(shop: Path) -> None:
    watch = subprocess.Popen(
        [sys.executable, "-u", "-m", "flota.cli", "status", "--watch"], cwd=shop, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with watch:
        assert watch.stdout is not None
        while "gateway eu" not in watch.stdout.readline():
            assert watch.poll() is None
        (shop / "us" / "lost.yaml").write_text(LOST)
        while "default/lost" not in watch.stdout.readline():
            assert watch.poll() is None
        watch.send_signal(signal.SIGINT)
        _, err = watch.communicate(timeout=20)
    (shop / "us" / "lost.yaml").unlink()
    assert (watch.returncode, err) == (130, "")


def test_logs(shop: Path) -> None:
    where = addresses(shop)["us"]
    answer(where)

    assert f"runs {shop.resolve()}" in flota("logs", "flota", cwd=shop).out

    def logged() -> Ran:
        return flota("logs", "access-us", cwd=shop)

    eventually(lambda: "serviceimport/default/shop/8080" in logged().out)
    assert json.loads(logged().out.splitlines()[-1].rpartition(" | ")[2])
    follow = subprocess.Popen(
        [sys.executable, "-u", "-m", "flota.cli", "logs", "access-us", "-f", "--tail", "0"], cwd=shop, stdout=subprocess.PIPE, text=True
    )
    with follow:
        assert follow.stdout is not None
        done = threading.Event()
        # Until it has seen one: nothing tells when it has begun to look.
        asking = threading.Thread(target=lambda: [answer(where) for _ in iter(lambda: done.wait(0.2), True)])
        asking.start()
        line = follow.stdout.readline()
        done.set()
        asking.join()
        follow.send_signal(signal.SIGINT)
        assert (follow.wait(20), line.startswith("access-us | ")) == (130, True)
    unknown = flota("logs", "nobody", cwd=shop)
    assert (unknown.code, "access-us" in unknown.err) == (1, True)


def test_killed_and_taken_over(shop: Path) -> None:
    """Flota dies; proxies and pods serve on, and the next one takes them over as they are."""
    before = status(shop)
    where = addresses(shop)["us"]
    os.kill(before["flota"]["pid"], signal.SIGKILL)
    eventually(lambda: flota("status", cwd=shop).code == 1)
    assert answer(where).startswith("us-east ")
    assert flota("up", "-d", cwd=shop).code == 0
    after = status(shop)
    for part in ("proxies", "pods"):
        kept = [(each["cluster"], each.get("pid"), each.get("pids")) for each in before[part]]
        assert [(each["cluster"], each.get("pid"), each.get("pids")) for each in after[part]] == kept


def test_in_front_until_interrupted(tmp_path: Path) -> None:
    folder = tmp_path / "front"
    assert flota("init", str(folder)).code == 0
    front = subprocess.Popen(
        [sys.executable, "-u", "-m", "flota.cli", "up"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with front:
        assert front.stdout is not None
        while "cluster us: Serving" not in front.stdout.readline():
            assert front.poll() is None
        front.send_signal(signal.SIGINT)
        _, err = front.communicate(timeout=60)
    assert (front.returncode, err) == (0, "")
    assert "nothing runs" in flota("down", cwd=folder).out
    assert flota("status", cwd=folder).code == 1


def test_not_in_time(tmp_path: Path) -> None:
    """A pod that never gets ready: exit 1, with the reason; and `down` stops what was left trying."""
    folder = tmp_path / "slow"
    assert flota("init", str(folder)).code == 0
    (folder / "outage.us-east").touch()
    ran = flota("up", "-d", "--timeout", "8s", cwd=folder)
    assert ran.code == 1
    assert "Deployment default/shop has 0 of 2 pods ready" in ran.err
    assert flota("down", cwd=folder).code == 0


@pytest.mark.parametrize("state_kept", [True, False])
def test_down_after_a_crash(tmp_path: Path, *, state_kept: bool) -> None:
    folder = tmp_path / "crashed"
    assert flota("init", str(folder)).code == 0
    assert flota("up", "-d", cwd=folder).code == 0
    found = status(folder)
    os.kill(found["flota"]["pid"], signal.SIGKILL)
    if not state_kept:
        shutil.rmtree(folder / ".flota")
    ran = flota("down", cwd=folder)
    assert (ran.code, "earlier Flota" in ran.out) == (0, True), ran
    left = [pid for each in found["pods"] for pid in each["pids"]] + [each["pid"] for each in found["proxies"]]
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))
