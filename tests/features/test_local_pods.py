"""Pods as real processes: rollouts under requests, adoption, probes, back-off, jobs, graceful ends."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pods_harness import cluster, container, deployment, job, pods_of, ready, server, state_in, until

from flota.fleet.pods import Pod
from flota.local.state import StateFolder


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[StateFolder]:
    async with state_in(tmp_path) as found:
        yield found


async def ask(ip: str) -> str:
    reader, writer = await asyncio.open_connection(ip, 8080)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    body = await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
    writer.close()
    return body.decode()


async def test_pods_get_addresses_of_their_own_and_serve(state: StateFolder) -> None:
    async with pods_of(state) as pods:
        pods.want(cluster(deployment("web", 3, server("hello"))))
        states = await until(pods, ready(3))
        ips = {found.ip for found in states}
        assert len(ips) == 3
        assert all(ip.startswith("127.") and not ip.startswith("127.0.") for ip in ips)
        assert {await ask(ip) for ip in ips} == {"hello"}
        assert {found.owner for found in states} == {("Deployment", "web")}
        assert pods.problems.get() == ()
        await pods.stop_all()
        assert pods.states.get() == ()
    assert list(state.processes.iterdir()) == []


async def test_another_life_adopts_the_same_pids_and_addresses(state: StateFolder) -> None:
    wanted = cluster(deployment("web", 2, server("hello")))
    async with pods_of(state) as pods:
        pods.want(wanted)
        before = await until(pods, ready(2))
    async with pods_of(state) as pods:
        adopted = await until(pods, ready(2))
        pods.want(wanted)
        await asyncio.sleep(0.2)
        assert [(found.name, found.ip, found.pids) for found in adopted] == [(f.name, f.ip, f.pids) for f in before]
        assert pods.states.get() == adopted, "something was started or ended"


async def test_adopted_without_records(state: StateFolder) -> None:
    wanted = cluster(deployment("web", 2, server("hello")))
    async with pods_of(state) as pods:
        pods.want(wanted)
        before = await until(pods, ready(2))
    for record in state.processes.iterdir():
        record.unlink()
    async with pods_of(state) as pods:
        pods.want(wanted)
        after = await until(pods, ready(2))
        assert [(found.name, found.ip, found.pids) for found in after] == [(f.name, f.ip, f.pids) for f in before]


async def test_a_pod_changed_while_nobody_lived_is_rolled_over(state: StateFolder) -> None:
    async with pods_of(state) as pods:
        pods.want(cluster(deployment("web", 2, server("one"))))
        await until(pods, ready(2))
    async with pods_of(state) as pods:
        pods.want(cluster(deployment("web", 2, server("two"))))
        old = {found.name for found in pods.states.get()}
        states = await until(pods, lambda found: ready(2)(found) and not {state.name for state in found} & old)
        assert {await ask(found.ip) for found in states} == {"two"}


async def test_rollout_and_scaling_lose_no_request(state: StateFolder) -> None:
    """A client that follows endpoints as Envoy would: whatever is ready and not terminating is asked."""
    async with pods_of(state) as pods:
        pods.want(cluster(deployment("web", 3, server("one", SLOW="0.2"))))
        first = (await until(pods, ready(3)))[0].labels["pod-template-hash"]
        stop = asyncio.Event()

        async def client() -> dict[str, int]:
            answers: dict[str, int] = {}
            while not stop.is_set():
                serving = [found.ip for found in pods.states.get() if found.ready and not found.terminating]
                assert serving, "nobody was left to ask"
                for ip in serving:
                    body = await ask(ip)
                    answers[body] = answers.get(body, 0) + 1
                await asyncio.sleep(0.001)
            return answers

        async with asyncio.TaskGroup() as group:
            load = group.create_task(client(), name="client")
            pods.want(cluster(deployment("web", 3, server("two", SLOW="0.2"))))
            await until(pods, lambda found: ready(3)(found) and first not in {f.labels["pod-template-hash"] for f in found})
            pods.want(cluster(deployment("web", 1, server("two", SLOW="0.2"))))
            await until(pods, ready(1))
            pods.want(cluster(deployment("web", 4, server("two", SLOW="0.2"))))
            await until(pods, ready(4))
            stop.set()
        assert set(load.result()) == {"one", "two"}


async def test_killed_is_restarted_at_once_with_its_address(state: StateFolder) -> None:
    async with pods_of(state) as pods:
        pods.want(cluster(deployment("web", 1, server("hello"))))
        before = (await until(pods, ready(1)))[0]
        os.kill(before.pids[0], signal.SIGKILL)
        after = (await until(pods, lambda found: ready(1)(found) and found[0].restarts == 1, seconds=5.0))[0]
        assert (after.ip, after.name) == (before.ip, before.name)
        assert after.pids != before.pids


async def test_a_crash_loop_is_seen_with_the_last_lines(state: StateFolder) -> None:
    async with pods_of(state) as pods:
        pods.want(cluster(deployment("bad", 1, container("print('no database'); raise SystemExit(3)"))))
        found = (await until(pods, lambda states: bool(states) and states[0].restarts == 1 and not states[0].pids))[0]
        assert (found.ready, found.reason) == (False, "Error")
        assert "exited with code 3" in found.message
        assert "no database" in found.message
        assert "next start in 10 s" in found.message
        assert [problem.reason for problem in pods.problems.get()] == ["Error"]


async def test_sigterm_ignored_ends_after_the_grace_period(state: StateFolder) -> None:
    stubborn = container("import signal,time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)")
    raw = {"metadata": {"name": "web"}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [stubborn]}}
    made = msgspec.convert(raw, Pod)
    async with pods_of(state) as pods:
        pods.want(cluster(made))
        before = (await until(pods, ready(1)))[0]
        pods.want(cluster())
        await until(pods, lambda found: bool(found) and found[0].terminating)
        await until(pods, lambda found: not found)
    assert not Path(f"/proc/{before.pids[0]}").exists()


async def test_a_terminating_pod_serves_until_its_traffic_has_left(state: StateFolder) -> None:
    async with pods_of(state, drain_s=30.0) as pods:
        pods.want(cluster(deployment("web", 1, server("hello"))))
        before = (await until(pods, ready(1)))[0]
        pods.want(cluster())
        leaving = (await until(pods, lambda found: found[0].terminating))[0]
        assert leaving.ready, "still serving"
        assert await ask(before.ip) == "hello"
        pods.traffic_left(*before.key)
        await until(pods, lambda found: not found, seconds=5.0)


@pytest.mark.parametrize(
    "probe",
    [
        {"httpGet": {"path": "/", "port": "http"}},
        {"tcpSocket": {"port": 8080}},
        {"exec": {"command": ["test", "-e", "open"]}},
    ],
)
async def test_readiness_probes(state: StateFolder, probe: dict[str, Any]) -> None:
    async with pods_of(state) as pods:
        app = server("hello", SLOW="0.3") | {"readinessProbe": probe | {"periodSeconds": 1, "failureThreshold": 1}}
        pods.want(cluster(deployment("web", 1, app)))
        coming = (await until(pods, lambda found: bool(found) and bool(found[0].pids)))[0]
        assert not coming.ready
        if "exec" in probe:
            (state.folder / "open").touch()
        up = (await until(pods, ready(1)))[0]
        if "exec" in probe:
            (state.folder / "open").unlink()
        else:
            os.kill(up.pids[0], signal.SIGSTOP)
        if "tcpSocket" not in probe:
            down = (await until(pods, lambda found: not found[0].ready))[0]
            assert down.reason == "NotReady"
            assert "readiness probe" in down.message
        os.kill(up.pids[0], signal.SIGCONT)


async def test_liveness_restarts_what_hangs(state: StateFolder) -> None:
    async with pods_of(state) as pods:
        probe = {
            "httpGet": {"path": "/", "port": 8080},
            "periodSeconds": 1,
            "failureThreshold": 1,
            "initialDelaySeconds": 1,
            "terminationGracePeriodSeconds": 1,
        }
        pods.want(cluster(deployment("web", 1, server("hello") | {"livenessProbe": probe})))
        before = (await until(pods, ready(1)))[0]
        os.kill(before.pids[0], signal.SIGSTOP)
        after = (await until(pods, lambda found: ready(1)(found) and found[0].restarts == 1))[0]
        assert after.pids != before.pids


async def test_a_job_completes_once_also_over_our_death(state: StateFolder) -> None:
    script = "import os,time; time.sleep(0.3); open(os.environ['POD_NAME'], 'x').close()"
    wanted = cluster(job("load", script, completions=3, parallelism=2))
    async with pods_of(state) as pods:
        pods.want(wanted)
        await until(pods, lambda found: sum(bool(state.pids) for state in found) == 2)
    async with asyncio.timeout(10):
        while len(list(state.folder.glob("load-*"))) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    async with pods_of(state) as pods:
        pods.want(wanted)
        async with asyncio.timeout(10):
            while len(list(state.folder.glob("load-*"))) < 3 or pods.states.get():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        assert pods.states.get() == ()
    async with pods_of(state) as pods:
        pods.want(wanted)
        await asyncio.sleep(0.3)
        assert pods.states.get() == (), "a Job that is complete was run again"
    assert sorted(path.name for path in state.folder.glob("load-*")) == ["load-0", "load-1", "load-2"]


async def test_a_job_gives_up_with_a_reason(state: StateFolder) -> None:
    async with pods_of(state) as pods:
        pods.want(cluster(job("bad", "raise SystemExit(1)", backoffLimit=1)))
        async with asyncio.timeout(10):
            async for problems in pods.problems.follow():
                if problems and problems[-1].reason == "BackoffLimitExceeded":
                    assert problems[-1].kind == "Job"
                    break


async def test_a_bare_pod_that_has_ended_is_not_run_again(state: StateFolder) -> None:
    made = msgspec.convert(
        {"metadata": {"name": "once"}, "spec": {"restartPolicy": "Never", "containers": [container("open('ran', 'a').write('x')")]}}, Pod
    )
    for _ in range(2):
        async with pods_of(state) as pods:
            pods.want(cluster(made))
            await until(pods, lambda found: bool(found) and found[0].phase == "Succeeded")
    assert (state.folder / "ran").read_text() == "x"


async def test_init_containers_come_first_and_sidecars_stay(state: StateFolder) -> None:
    made = msgspec.convert(
        {
            "metadata": {"name": "web"},
            "spec": {
                "initContainers": [
                    {"name": "first", "command": ["sh", "-c", "echo 1 >> order"]},
                    {"name": "aside", "command": ["sleep", "60"], "restartPolicy": "Always"},
                    {"name": "second", "command": ["sh", "-c", "echo 2 >> order"]},
                ],
                "containers": [{"name": "app", "command": ["sh", "-c", "echo 3 >> order; exec sleep 60"]}],
            },
        },
        Pod,
    )
    async with pods_of(state) as pods:
        pods.want(cluster(made))
        found = (await until(pods, ready(1)))[0]
        assert len(found.pids) == 2
        async with asyncio.timeout(5):
            while (state.folder / "order").read_text() != "1\n2\n3\n":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await pods.stop_all()


async def test_images_are_refused_with_advice(state: StateFolder) -> None:
    async with pods_of(state) as pods:
        pods.want(cluster(deployment("web", 1, {"name": "app", "image": "nginx"})))
        async with asyncio.timeout(5):
            problems = await pods.problems.changed() if not pods.problems.get() else pods.problems.get()
        assert [(p.reason, "give the container a `command`" in p.message) for p in problems] == [("ImageNotSupported", True)]
