"""What is only slow, or wrong everywhere, is not moved and gets no second attempts; two sick regions don't topple each other."""

import contextlib
import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.rig import story
from bench.rig.fleet import GATEWAY_PORT, PORT, Rig

ONE_AT_A_TIME = """
import socket, sys, time
with socket.socket() as listening:
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((sys.argv[1], int(sys.argv[2])))
    listening.listen(100)
    print("ready", flush=True)
    while True:
        connection, _ = listening.accept()
        with connection:
            if connection.recv(4096).startswith(b"GET"):
                time.sleep(2)
                head = "HTTP/1.1 200 OK\\r\\nconnection: close\\r\\ncontent-length: 0\\r\\nx-pod: " + sys.argv[3]
                connection.sendall(head.encode() + b"\\r\\n\\r\\n")
"""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path) as rig:
        yield rig


def check_honest(rig: Rig, seconds: float, rate: int, most_attempts: float = 1.005) -> None:
    samples, attempts = story.steady(rig, seconds, rate)
    assert [each for each in samples if each.status != 200] == []
    assert [each for each in samples if not each.pod.startswith("us")] == [] or most_attempts > 1.005
    assert attempts <= most_attempts


@pytest.mark.parametrize("delay", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_an_honestly_slow_application_from_a_cold_start(tmp_path: Path, delay: int) -> None:
    with Rig(tmp_path, behave=[f"delay {delay}"]) as rig:
        check_honest(rig, 15, 50)


@pytest.mark.slow
def test_one_request_in_a_thousand_is_slow(tmp_path: Path) -> None:
    with Rig(tmp_path, behave=["every 1000 2000"]) as rig:
        check_honest(rig, 30, 300, 1.01)


def test_two_sick_regions_do_not_topple_each_other(rig: Rig) -> None:
    seconds = 13
    load = rig.load(story.RATE, seconds + 6)
    load.until(2)
    rig.fail("503", rig.all())
    attempts, noting = story.rates(rig, seconds)
    noting.join()
    healed_at = rig.heal("503", rig.all())
    samples = load.finish()
    per_request = [each / story.RATE for each in attempts()]
    assert max(per_request) <= 2.1, per_request  # a second is not cut exactly
    assert max(per_request[10:]) <= 1.2, per_request
    assert [each for each in samples if each.due > healed_at + 0.5 and each.status != 200] == []


@pytest.mark.slow
def test_two_hanging_regions_do_not_topple_each_other(rig: Rig) -> None:
    seconds = 13
    load = rig.load(story.RATE, seconds + 16)
    load.until(10)
    rig.fail("hang", rig.all())
    attempts, noting = story.rates(rig, seconds)
    noting.join()
    rig.heal("hang", rig.all())
    load.finish()
    per_request = [each / story.RATE for each in attempts()]
    assert max(per_request) <= 2.1, per_request
    assert max(per_request[10:]) <= 1.2, per_request


@pytest.mark.slow
def test_an_error_everywhere_moves_nothing(rig: Rig) -> None:
    told = story.lose(rig, "500", 5, rig.all())
    during = [each for each in told.samples if told.failed_at + 0.1 < each.due < told.healed_at - 0.1]
    assert {each.status for each in during} == {500}
    assert all(each.pod.startswith("us") for each in during)
    assert told.attempts <= 1.005


@pytest.mark.slow
@pytest.mark.parametrize(("us", "most_away"), [(6, 0.02), (2, 0.55)])
def test_one_bad_pod_moves_at_most_its_share(tmp_path: Path, us: int, most_away: float) -> None:
    with Rig(tmp_path, us) as rig:
        told = story.lose(rig, "503", 8, rig.pods["us"][:1], hurt="us-1")
    during = [each for each in told.samples if told.failed_at < each.due < told.healed_at]
    assert told.loss.failed == 0
    assert sum(each.pod.startswith("eu") for each in during) <= most_away * len(during)


@pytest.mark.slow
def test_a_server_that_does_one_thing_at_a_time_is_only_busy(rig: Rig, tmp_path: Path) -> None:
    """While it works two seconds on a request it answers no probe either; from a cold start nobody knows that this is usual."""
    served: list[str | None] = []
    with contextlib.ExitStack() as stack:
        for pod in rig.all():
            pod.stop()
            words = [sys.executable, "-c", ONE_AT_A_TIME, pod.address, str(PORT), pod.name]
            server = stack.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE))
            stack.callback(server.kill)
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
        time.sleep(3)  # until the checks have seen that they are back

        def ask(until: float) -> None:
            while time.monotonic() < until:
                with contextlib.closing(http.client.HTTPConnection(rig.address, GATEWAY_PORT, timeout=30)) as client:
                    client.request("GET", "/")
                    served.append(client.getresponse().getheader("x-pod"))

        clients = [threading.Thread(target=ask, args=(time.monotonic() + 14,)) for _ in range(2)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert len(served) >= 10
        assert {(each or "nobody")[:2] for each in served} == {"us"}
