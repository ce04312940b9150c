"""Flota itself: start to all served, CPU and memory there, CPU per change, memory after many changes, and what it costs to be idle."""

import time

from bench import backends, bare, fleet, process
from bench.client import Client
from bench.fleet import ADDRESSES, FleetFolder, Running
from bench.table import show

ROUTES = 5000
FEW, MANY = 2000, 10_000
BATCH = 20
SETTLE_S = 8.0
"""What is put off (saving, collecting garbage) is over by then."""


def run(*, quick: bool) -> None:
    """Print the tables."""
    rows: list[list[object]] = []
    with backends.backends(list(ADDRESSES)):
        with fleet.running(300 if quick else ROUTES) as flota:
            _started(rows, flota, 300 if quick else ROUTES)
            _change(rows, flota, 10 if quick else 100)
            time.sleep(1 if quick else SETTLE_S)
            _idle(rows, flota, 2 if quick else 60)
        with bare.running(300 if quick else ROUTES) as peer:
            rows.append(["bare Envoy: start to all served, s", peer.start_s, ""])
            rows.append(["bare Envoy: RSS, MB", process.rss_mb(peer.pid), ""])
        with fleet.running(200) as flota:
            _many(rows, flota, *((100, 200) if quick else (FEW, MANY)))
    show(("figure", "value", "bar"), rows)


def _started(rows: list[list[object]], flota: Running, routes: int) -> None:
    rows.append([f"start to all served, {routes} routes, s", flota.start_s, ""])
    rows.append(["Flota: CPU until then, s", process.cpu_s(flota.flota), ""])
    rows.append(["Flota: RSS, MB", process.rss_mb(flota.flota), ""])
    rows.append(["its Envoy: RSS, MB", sum(map(process.rss_mb, flota.proxies)), ""])


def _change(rows: list[list[object]], flota: Running, changes: int) -> None:
    """CPU of Flota per change, with what it puts off."""
    client = Client(fleet.GATEWAY, fleet.PORT)
    time.sleep(1)
    before = process.cpu_s(flota.flota)
    for number in range(changes):
        flota.files.route(f"cost-{number}")
        _served(client, f"cost-{number}.example.com")
        time.sleep(0.05)
    client.close()
    time.sleep(2)
    rows.append(["Flota: CPU per new route, ms", 1000 * (process.cpu_s(flota.flota) - before) / changes, ""])


def _idle(rows: list[list[object]], flota: Running, seconds: float) -> None:
    pushes, before = _pushes(flota), process.cpu_s(flota.flota)
    time.sleep(seconds)
    used = process.cpu_s(flota.flota) - before
    rows.append([f"idle {seconds:.0f} s: CPU, % of a core", 100 * used / seconds, "0.2"])
    rows.append([f"idle {seconds:.0f} s: resources pushed", _pushes(flota) - pushes, "0"])


def _many(rows: list[list[object]], flota: Running, few: int, many: int) -> None:
    """Memory after many changes of routes and endpoints, a rolling set of the same size."""
    client = Client(fleet.GATEWAY, fleet.PORT)
    _changes(flota.files, client, 0, few)
    time.sleep(SETTLE_S)
    first = process.rss_mb(flota.flota)
    _changes(flota.files, client, few, many)
    time.sleep(SETTLE_S)
    last = process.rss_mb(flota.flota)
    client.close()
    rows.append([f"Flota: RSS after {few} changes, MB", first, ""])
    rows.append([f"Flota: RSS after {many} changes, MB", last, ""])
    rows.append(["ratio", last / first, "1.05"])


def _changes(files: FleetFolder, client: Client, first: int, last: int) -> None:
    for number in range(first, last):
        if number % 4 == 3:
            files.endpoints(number % fleet.SERVICES, ADDRESSES[: 1 + number % len(ADDRESSES)])
        elif number % 4 == 2:
            files.drop_route(f"many-{number - 2}")
        else:
            files.route(f"many-{number}" if number % 4 == 0 else f"r{number % 100}", number % fleet.SERVICES)
        if number % BATCH == 0:  # a stop until it is live, so that all of them are made one after the other
            files.route("mark-0", number % fleet.SERVICES)
            _served(client, f"r{number % 100}.example.com")
            time.sleep(0.03)


def _served(client: Client, host: str) -> None:
    deadline = time.monotonic() + 30
    while client.get(host).status != 200:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{host} is not served after 30 s")
        time.sleep(0.001)


def _pushes(flota: Running) -> int:
    return flota.metric("flota_xds_acknowledged_total")
