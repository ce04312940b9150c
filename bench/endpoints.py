"""Endpoints of a service are replaced: from the file's rename until a request is answered by a new one; beside bare Envoy."""

import contextlib
import threading
import time

from bench import backends, bare, fleet
from bench.client import Client
from bench.fleet import ADDRESSES, SERVICES
from bench.routes import PAUSE_S, Files, churn
from bench.table import percentile, show

SIZES = (100, 5000)
SAMPLES = 40


def run(*, quick: bool) -> None:
    """Print the table."""
    rows: list[list[object]] = []
    with backends.backends(list(ADDRESSES)):
        for size in (100,) if quick else SIZES:
            rows += _at(size, 5 if quick else SAMPLES)
    show(("routes", "while", "Flota p50 ms", "p99 ms", "not 200", "bare Envoy p50 ms", "p99 ms", "not 200", "p50 ratio"), rows)


def _at(size: int, samples: int) -> list[list[object]]:
    rows: list[list[object]] = []
    measured = []
    with fleet.running(size) as flota:
        measured.append([measure(flota.files, fleet.GATEWAY, samples, churning=busy) for busy in (False, True)])
    with bare.running(size) as peer:
        measured.append([measure(peer, bare.GATEWAY, samples, churning=busy) for busy in (False, True)])
    for name, (ours, our_bad), (theirs, their_bad) in zip(("idle", "churn"), *measured, strict=True):
        p50, bare_p50 = percentile(ours, 0.5), percentile(theirs, 0.5)
        rows.append([size, name, p50, percentile(ours, 0.99), our_bad, bare_p50, percentile(theirs, 0.99), their_bad, p50 / bare_p50])
    return rows


def measure(files: Files, address: str, samples: int, *, churning: bool) -> tuple[list[float], int]:
    """Milliseconds until the new endpoint answers, and how many answers were no answer."""
    client, lock = Client(address, fleet.PORT), threading.Lock()
    last = SERVICES - 1  # the churn starts at the other end
    took, wrong = [], 0
    with churn(files, lock) if churning else contextlib.nullcontext():
        for number in range(samples):
            to = ADDRESSES[(number + 1) % 2]
            with lock:
                began = files.endpoints(last, (to,))
            while (answer := client.get(f"r{last}.example.com")).body != to.encode():
                wrong += answer.status != 200
                if time.monotonic() - began > 30:
                    raise TimeoutError("the new endpoint is not used after 30 s")
                time.sleep(0.0005)
            took.append((time.monotonic() - began) * 1000)
            time.sleep(PAUSE_S)
        with lock:
            files.endpoints(last, ADDRESSES[:1])
    client.close()
    return took, wrong
