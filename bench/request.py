"""CPU of Envoy per request: Flota's configuration beside one written by hand with the same features.

By hand: the same filters, limits, access log, retries, health checks and outlier detection, and as few statistics, but one
plain route table instead of scopes behind a key. Rounds alternate, so that what else happens on the machine meets both; the
figure is the median of the rounds.
"""

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import backends, bare, client, fleet, process
from bench.fleet import ADDRESSES
from bench.table import show
from flota.envoy.bootstrap import bootstrap

ROUTES = 100
ROUNDS = 9
ROUND_S = 3
HAND = "127.80.0.3"
HOST = "r7.example.com"
LEARNT = "0.25s"
"""A limit after which a second attempt begins, as Flota learns it; its value costs nothing, its timer does."""
STATISTICS = ("stats_flush_on_admin", "deferred_stat_options", "stats_config")


def run(*, quick: bool) -> None:
    """Print the table; says so where the load generator is missing."""
    if shutil.which("wrk") is None:
        print("wrk is not installed: nothing measured")
        return
    with backends.backends(list(ADDRESSES)), fleet.running(ROUTES) as flota, tempfile.TemporaryDirectory(prefix="flota-bench-") as root:
        rendered = json.loads(_render(flota.files.root))
        file = Path(root) / "hand.json"
        file.write_text(json.dumps(by_hand(rendered, f"{root}/access.log")))
        with bare.envoy(file, "18081") as hand:
            client.wait_for(HAND, fleet.PORT, HOST, 30)
            costs = _rounds({fleet.GATEWAY: flota.proxies[0], HAND: hand.pid}, 2 if quick else ROUNDS, 1 if quick else ROUND_S)
    ours, theirs = costs[fleet.GATEWAY], costs[HAND]
    rows = [
        ("Flota, µs of CPU per request", statistics.median(ours)),
        ("by hand", statistics.median(theirs)),
        ("ratio (bar 1.05)", statistics.median(ours) / statistics.median(theirs)),
        ("median of the rounds' ratios", statistics.median(one / other for one, other in zip(ours, theirs, strict=True))),
    ]
    show(("figure", "median"), rows)


def _render(folder: Path) -> str:
    """All resources of the proxy, as Flota has them."""
    command = [sys.executable, "-m", "flota.cli", "render", "-C", str(folder), "--as", "envoy", "-o", "json"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def by_hand(rendered: Mapping[str, Any], log: str) -> dict[str, Any]:
    """A bootstrap with the same resources, all static: one table in the listener itself, endpoints in their clusters."""
    (listener,) = rendered["listeners"]
    listener["address"]["socket_address"]["address"] = HAND
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["scoped_routes"], manager["early_header_mutation_extensions"]
    # Nobody writes down what no route uses.
    manager["http_filters"] = [each for each in manager["http_filters"] if not each.get("disabled")]
    manager["access_log"][0]["typed_config"]["path"] = log
    router = manager["http_filters"][-1]["typed_config"]
    del router["upstream_log"], router["upstream_log_options"]  # nobody listens: what Flota hears of attempts is its own cost
    first = rendered["routes"][0]
    hosts = [host for table in rendered["routes"] for host in table["virtual_hosts"]]
    removed = [name for name in first["request_headers_to_remove"] if name != "x-flota-scope"]
    manager["route_config"] = {**first, "virtual_hosts": hosts, "request_headers_to_remove": removed}
    del manager["route_config"]["@type"]
    places = {each["cluster_name"]: {k: v for k, v in each.items() if k != "@type"} for each in rendered["endpoints"]}
    for route in [route for host in hosts for route in host["routes"]]:
        policy = route["route"].get("retry_policy", {})
        if "retriable-status-codes" in policy.get("retry_on", ""):  # these have a learnt limit as soon as there is traffic
            policy["per_try_timeout"] = LEARNT
            route["route"]["hedge_policy"] = {"hedge_on_per_try_timeout": True}
    for cluster in rendered["clusters"]:
        del cluster["eds_cluster_config"], cluster["@type"]
        cluster.update(type="STATIC", load_assignment=places[cluster["name"]])
    del listener["@type"]
    process_wide = json.loads(bootstrap(cluster="hand", region="us-east", zone="", ads=Path("/"), admin=Path("/")))
    kept = {name: process_wide[name] for name in ("node", "layered_runtime", "overload_manager", *STATISTICS)}
    return {**kept, "static_resources": {"listeners": [listener], "clusters": rendered["clusters"]}}


def _rounds(pids: Mapping[str, int], rounds: int, seconds: int) -> dict[str, list[float]]:
    """µs of CPU per request by address, round by round; who goes first changes."""
    costs: dict[str, list[float]] = {address: [] for address in pids}
    for number in range(rounds + 1):
        for address in sorted(pids, reverse=number % 2 == 1):
            before = process.cpu_s(pids[address])
            requests = _load(address, seconds)
            if number > 0:  # the first warms up connections and what was learnt
                costs[address].append(1e6 * (process.cpu_s(pids[address]) - before) / requests)
    return costs


def _load(address: str, seconds: int) -> int:
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "-H", f"Host: {HOST}", f"http://{address}:{fleet.PORT}/"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(said)
    found = re.search(r"(\d+) requests in", said)
    if found is None:
        raise RuntimeError(said)
    return int(found[1])
