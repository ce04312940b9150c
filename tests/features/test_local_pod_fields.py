"""Every field of a pod that has an effect here, shown on real processes (docs/pods.md lists them all)."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from certificates import Authority
from grpclib.health.check import ServiceStatus
from grpclib.health.service import OVERALL, Health
from grpclib.server import Server
from pods_harness import cluster, container, job, pods_of, ready, server, state_in, until

from flota.fleet.pods import Pod
from flota.local.pods import Pods
from flota.local.state import StateFolder

SLEEP = "import time; time.sleep(60)"


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[StateFolder]:
    async with state_in(tmp_path) as found:
        yield found


def pod(*containers: dict[str, Any], **spec: Any) -> Pod:
    return msgspec.convert({"metadata": {"name": "web"}, "spec": {"containers": list(containers), **spec}}, Pod)


def sh(script: str, name: str = "app", **more: Any) -> dict[str, Any]:
    return {"name": name, "command": ["sh", "-c", script], **more}


def say(word: str) -> dict[str, Any]:
    """A hook that writes a word down."""
    return {"exec": {"command": ["sh", "-c", f"echo {word} >> order"]}}


async def eventually(true: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def order(state: StateFolder) -> list[str]:
    path = state.folder / "order"
    return path.read_text().split() if path.exists() else []


async def test_hooks_come_after_the_start_and_before_the_end(state: StateFolder) -> None:
    hooks = {"postStart": say("begun"), "preStop": {"exec": {"command": ["sh", "-c", "sleep 0.2; echo leaving >> order"]}}}
    app = sh("trap 'echo told >> order; exit 0' TERM; while :; do sleep 0.05; done", lifecycle=hooks)
    async with pods_of(state) as pods:
        pods.want(cluster(pod(app)))
        await until(pods, ready(1))
        assert order(state) == ["begun"], "it is not ready before its hook is done"
        await pods.stop_all()
    assert order(state) == ["begun", "leaving", "told"]


async def test_a_failing_post_start_hook_ends_the_container(state: StateFolder) -> None:
    app = container(SLEEP, lifecycle={"postStart": {"exec": {"command": ["false"]}}})
    async with pods_of(state) as pods:
        pods.want(cluster(pod(app, terminationGracePeriodSeconds=1)))
        found = (await until(pods, lambda states: bool(states) and states[0].restarts == 1 and not states[0].pids))[0]
        assert "postStart hook failed: exit code 1" in found.message


@asynccontextmanager
async def listening(context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[str]]]:
    """A port of ours that answers 204, and the heads of the requests that came."""
    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as found:
        yield found.sockets[0].getsockname()[1], heads


async def test_hooks_may_send_a_request_or_sleep(state: StateFolder) -> None:
    async with listening() as (port, heads), pods_of(state) as pods:
        asks = {"httpGet": {"host": "127.0.0.1", "path": "/bye", "port": port}}
        pods.want(cluster(pod(container(SLEEP, lifecycle={"preStop": asks}))))
        await until(pods, ready(1))
        await pods.stop_all()
        assert [head.split()[1] for head in heads] == ["/bye"]
    async with pods_of(state) as pods:
        pods.want(cluster(pod(container(SLEEP, lifecycle={"preStop": {"sleep": {"seconds": 1}}}))))
        await until(pods, ready(1))
        begun = asyncio.get_running_loop().time()
        await pods.stop_all()
        assert asyncio.get_running_loop().time() - begun >= 1


async def test_a_pre_stop_hook_that_hangs_leaves_two_seconds(state: StateFolder) -> None:
    app = sh("trap 'echo told >> order; exit 0' TERM; while :; do sleep 0.05; done", lifecycle={"preStop": {"sleep": {"seconds": 50}}})
    async with pods_of(state) as pods:
        pods.want(cluster(pod(app, terminationGracePeriodSeconds=3)))
        await until(pods, ready(1))
        async with asyncio.timeout(9):
            await pods.stop_all()
    assert order(state) == ["told"]


async def test_the_stop_signal_may_be_another(state: StateFolder) -> None:
    app = sh("trap 'echo quit >> order; exit 0' QUIT; trap '' TERM; while :; do sleep 0.05; done", lifecycle={"stopSignal": "SIGQUIT"})
    async with pods_of(state) as pods:
        pods.want(cluster(pod(app)))
        await until(pods, ready(1))
        await pods.stop_all()
    assert order(state) == ["quit"]


async def test_sidecars_start_before_and_end_after_the_others(state: StateFolder) -> None:
    def aside(name: str) -> dict[str, Any]:
        comes = f"sleep 0.3; touch {name}-up; echo {name} >> order"
        script = f"trap 'echo {name}-ends >> order; exit 0' TERM; {comes}; while :; do sleep 0.05; done"
        probe = {"exec": {"command": ["test", "-e", f"{name}-up"]}, "periodSeconds": 1, "failureThreshold": 30}
        hooks = {"preStop": say(f"{name}-leaves")}
        return sh(script, name, restartPolicy="Always", startupProbe=probe, lifecycle=hooks)

    app = sh("echo app >> order; trap 'sleep 0.2; echo app-ends >> order; exit 0' TERM; while :; do sleep 0.05; done")
    async with pods_of(state) as pods:
        pods.want(cluster(pod(app, initContainers=[aside("one"), aside("two")])))
        await until(pods, ready(1))
        await eventually(lambda: order(state) == ["one", "two", "app"])
        await pods.stop_all()
    assert order(state)[3:] == ["app-ends", "two-leaves", "two-ends", "one-leaves", "one-ends"]


async def test_sidecars_end_when_the_others_have_succeeded(state: StateFolder) -> None:
    aside = sh("while :; do sleep 0.05; done", "aside", restartPolicy="Always")
    async with pods_of(state) as pods:
        pods.want(cluster(pod(sh("sleep 0.3"), initContainers=[aside], restartPolicy="Never", terminationGracePeriodSeconds=2)))
        found = await until(pods, lambda states: bool(states) and states[0].phase == "Succeeded")
        assert found[0].pids == ()


async def test_nothing_asks_for_readiness_before_the_startup_probe_succeeds(state: StateFolder) -> None:
    startup = {"exec": {"command": ["test", "-e", "open"]}, "periodSeconds": 1, "failureThreshold": 30}
    readiness = {"exec": {"command": ["sh", "-c", "echo asked >> order"]}}
    liveness = {"exec": {"command": ["sh", "-c", "echo alive >> order"]}}
    async with pods_of(state) as pods:
        pods.want(cluster(pod(container(SLEEP, startupProbe=startup, readinessProbe=readiness, livenessProbe=liveness))))
        await until(pods, lambda states: bool(states) and bool(states[0].pids))
        await asyncio.sleep(0.5)
        assert order(state) == []
        (state.folder / "open").touch()
        await until(pods, ready(1))
        await eventually(lambda: set(order(state)) == {"asked", "alive"})


async def test_a_startup_probe_that_fails_ends_the_container_in_its_own_grace(state: StateFolder) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1, "terminationGracePeriodSeconds": 1}
    stubborn = sh("trap '' TERM; while :; do sleep 0.05; done", startupProbe=probe)
    async with pods_of(state) as pods:
        pods.want(cluster(pod(stubborn)))
        found = (await until(pods, lambda states: bool(states) and states[0].restarts == 1 and not states[0].pids))[0]
        assert "startup probe failed: exit code 1" in found.message
        assert "SIGKILL" in found.message, "after one second, not after the pod's thirty"


async def test_an_https_probe_takes_any_certificate(state: StateFolder, tmp_path: Path) -> None:
    pair = Authority().sign("elsewhere.example")
    (tmp_path / "tls.pem").write_bytes(pair.certificate + pair.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "tls.pem")
    async with listening(context) as (port, heads), pods_of(state) as pods:
        headers = [{"name": "X-Probe", "value": "yes"}]
        action = {"host": "127.0.0.1", "port": port, "scheme": "HTTPS", "path": "/well", "httpHeaders": headers}
        pods.want(cluster(pod(container(SLEEP, readinessProbe={"httpGet": action}))))
        await until(pods, ready(1))
        await pods.stop_all()
        assert heads[0].startswith("GET /well HTTP/1.1")
        assert "x-probe: yes" in heads[0]


async def test_a_grpc_probe_asks_the_health_service(state: StateFolder) -> None:
    well = ServiceStatus()
    health = Server([Health({OVERALL: [well], _Shop(): [well]})])
    await health.start("0.0.0.0", 0)
    port = health._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # grpclib tells it nowhere else
    try:
        async with pods_of(state) as pods:
            probe = {"grpc": {"port": port, "service": "shop.Shop"}, "periodSeconds": 1, "failureThreshold": 1}
            pods.want(cluster(pod(container(SLEEP, readinessProbe=probe))))
            await until(pods, lambda states: bool(states) and "gRPC: not SERVING" in states[0].message)
            well.set(True)
            await until(pods, ready(1))
            well.set(False)
            await until(pods, lambda states: not states[0].ready)
            await pods.stop_all()
    finally:
        health.close()
        await health.wait_closed()


class _Shop:
    """A service for the health service to know."""

    def __mapping__(self) -> dict[str, Any]:
        return {"/shop.Shop/Buy": None}


async def test_a_pod_is_ended_at_its_deadline_also_over_our_death(state: StateFolder) -> None:
    made = pod(server("hello"), activeDeadlineSeconds=2)
    async with pods_of(state) as pods:
        pods.want(cluster(made))
        await until(pods, ready(1))
    async with pods_of(state) as pods:
        pods.want(cluster(made))
        found = (await until(pods, lambda states: bool(states) and states[0].phase == "Failed", seconds=6.0))[0]
        assert (found.ready, found.reason) == (False, "DeadlineExceeded")
        await until(pods, lambda states: not states[0].pids)
        assert [problem.reason for problem in pods.problems.get()] == ["DeadlineExceeded"]
        pods.want(cluster())
        await until(pods, lambda states: not states)


async def failed_job(pods: Pods) -> tuple[str, str]:
    async with asyncio.timeout(15):
        async for problems in pods.problems.follow():
            for each in problems:
                if each.kind == "Job":
                    return each.reason, each.message
    raise AssertionError


async def test_a_job_is_over_at_its_deadline(state: StateFolder) -> None:
    async with pods_of(state) as pods:
        pods.want(cluster(job("slow", SLEEP, activeDeadlineSeconds=1)))
        assert (await failed_job(pods))[0] == "DeadlineExceeded"
        await until(pods, lambda states: not states)


async def test_restarts_in_place_count_as_retries(state: StateFolder) -> None:
    async with pods_of(state) as pods:
        pods.want(cluster(job("bad", "raise SystemExit(1)", "OnFailure", backoffLimit=1)))
        assert (await failed_job(pods))[0] == "BackoffLimitExceeded"
        await until(pods, lambda states: not states)


async def test_a_container_may_restart_otherwise_than_its_pod(state: StateFolder) -> None:
    once = sh("echo once >> order", "once", restartPolicy="Never")
    async with pods_of(state) as pods:
        pods.want(cluster(pod(container(SLEEP), once)))
        await eventually(lambda: order(state) == ["once"])
        await asyncio.sleep(0.3)
        assert order(state) == ["once"]


async def test_place_name_and_values_are_as_written(state: StateFolder) -> None:
    (state.folder / "work").mkdir()
    variables = [{"name": "FIRST", "value": "1"}, {"name": "BOTH", "value": "$(FIRST)-$(POD_IP)"},
                 {"name": "HOSTS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIPs"}}}]  # fmt: skip
    app = sh('echo "$0 $1 $BOTH $HOSTS $HOSTNAME" > said; sleep 60', workingDir="work", env=variables)
    app["args"] = ["$(FIRST)", "$(UNKNOWN)"]
    async with pods_of(state) as pods:
        pods.want(cluster(pod(app, hostname="shop")))
        found = (await until(pods, ready(1)))[0]
        said = state.folder / "work/said"
        await eventually(lambda: said.exists() and said.read_text().endswith("\n"))
        assert said.read_text() == f"1 $(UNKNOWN) 1-{found.ip} 127.0.0.1 shop\n"
