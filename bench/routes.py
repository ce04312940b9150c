"""A new route: from the file's rename until its host is served, with many routes, in quiet and under churn, beside bare Envoy."""

import contextlib
import threading
import time
from collections.abc import Iterator

from bench import backends, bare, fleet
from bench.client import Client
from bench.fleet import ADDRESSES, SERVICES
from bench.table import percentile, show

SIZES = (100, 1000, 3000, 5000)
SAMPLES = 40
PAUSE_S = 0.1
Files = fleet.FleetFolder | bare.Bare
"""Either takes the same changes."""


def run(*, quick: bool) -> None:
    """Print the table."""
    rows: list[list[object]] = []
    with backends.backends(list(ADDRESSES)):
        for size in (100,) if quick else SIZES:
            rows += _at(size, 5 if quick else SAMPLES)
    show(("routes", "while", "Flota p50 ms", "p99 ms", "wrong answers", "bare Envoy p50 ms", "p99 ms", "wrong answers", "p50 ratio"), rows)


def _at(size: int, samples: int) -> list[list[object]]:
    with fleet.running(size) as flota:
        ours = [measure(flota.files, fleet.GATEWAY, samples, churning=busy) for busy in (False, True)]
    with bare.running(size) as peer:
        theirs = [measure(peer, bare.GATEWAY, samples, churning=busy) for busy in (False, True)]
    names = ("idle", "churn")
    return [[size, name, *_cells(one), *_cells(other), _ratio(one, other)] for name, one, other in zip(names, ours, theirs, strict=True)]


def measure(files: Files, address: str, samples: int, *, churning: bool) -> tuple[list[float], int]:
    """Milliseconds until each new host was served, and how many answers were neither 404 before nor 200 after."""
    client = Client(address, fleet.PORT)
    lock = threading.Lock()
    took, wrong = [], 0
    with churn(files, lock) if churning else contextlib.nullcontext():
        for number in range(samples):
            name = f"new-{'c' if churning else 'i'}-{number}"
            with lock:
                began = files.route(name)
            ms, bad = _until_served(client, f"{name}.example.com", began)
            took.append(ms)
            wrong += bad
            time.sleep(PAUSE_S)
    client.close()
    return took, wrong


def _until_served(client: Client, host: str, began: float) -> tuple[float, int]:
    wrong = 0
    while (status := client.get(host).status) != 200:
        wrong += status != 404
        if time.monotonic() - began > 30:
            raise TimeoutError(f"{host} is not served after 30 s")
        time.sleep(0.0005)
    took = (time.monotonic() - began) * 1000
    return took, wrong + sum(client.get(host).status != 200 for _ in range(20))


@contextlib.contextmanager
def churn(files: Files, lock: threading.Lock) -> Iterator[None]:
    """What else goes on: another route every second, endpoints of a service scaled every two."""
    end = threading.Event()

    def change() -> None:
        step = 0
        while not end.wait(1):
            with lock:
                files.route(f"churn-{step}")
                if step % 2 == 0:
                    files.endpoints(step // 2 % SERVICES, ADDRESSES[: 1 + step // 2 % len(ADDRESSES)])
            step += 1

    thread = threading.Thread(target=change, name="churn")
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _cells(measured: tuple[list[float], int]) -> list[object]:
    return [percentile(measured[0], 0.5), percentile(measured[0], 0.99), measured[1]]


def _ratio(one: tuple[list[float], int], other: tuple[list[float], int]) -> float:
    return percentile(one[0], 0.5) / percentile(other[0], 0.5)
