"""Pods as real processes of a state folder of their own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flota.clock import SystemClock
from flota.fleet.fleet import Cluster
from flota.fleet.pods import Deployment, Job, Pod
from flota.fleet.problem import Problem
from flota.local.addresses import Addresses
from flota.local.container import Engine
from flota.local.pods import Pods
from flota.local.podstate import PodState
from flota.local.process import Runner
from flota.local.state import StateFolder, open_state

SERVER = """
import os, signal, socket, sys, threading, time
signal.signal(signal.SIGTERM, lambda *a: os._exit(0))
time.sleep(float(os.environ.get("SLOW", "0")))
server = socket.create_server((os.environ["POD_IP"], 8080))
def serve(c):
    with c:
        while c.recv(4096):
            body = os.environ["SAYS"].encode()
            c.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


@asynccontextmanager
async def state_in(tmp_path: Path) -> AsyncIterator[StateFolder]:
    """A state folder; what still runs in the end is killed."""
    found = open_state(tmp_path)
    assert not isinstance(found, Problem)
    yield found
    living, _ = Runner(found.processes, found.identity).adopt()
    for process in living.values():
        process.send_group(signal.SIGKILL)
        await process.wait()
    found.tidy()


@asynccontextmanager
async def pods_of(state: StateFolder, drain_s: float = 0.2) -> AsyncIterator[Pods]:
    """A life of Flota; its end leaves everything running."""
    runner = Runner(state.processes, state.identity)
    living, gone = runner.adopt()
    environ = {"PATH": os.environ["PATH"]}
    engine = Engine(runner, SystemClock(), state.folder, state.logs, state.exits, environ, drain_s)
    pods = Pods(engine, state, Addresses(state), living, gone)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(pods.run(), name="pods")
        try:
            yield pods
        finally:
            task.cancel()


def container(script: str, **more: Any) -> dict[str, Any]:
    return {"name": "app", "command": [sys.executable, "-c", script], **more}


def server(says: str, **env: str) -> dict[str, Any]:
    variables = [{"name": name, "value": value} for name, value in {"SAYS": says, **env}.items()]
    return container(SERVER, env=variables, ports=[{"containerPort": 8080, "name": "http"}])


def deployment(name: str, replicas: int, *containers: dict[str, Any], **spec: Any) -> Deployment:
    labels = {"app": name}
    return msgspec.convert(
        {
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": list(containers)}},
                **spec,
            },
        },
        Deployment,
    )


def cluster(*objects: Deployment | Job | Pod) -> Mapping[str, Cluster]:
    def those(kind: type) -> dict[tuple[str, str], Any]:
        return {("default", thing.metadata.name): thing for thing in objects if isinstance(thing, kind)}

    made = Cluster(name="us", region="us-east", deployments=those(Deployment), jobs=those(Job), pods=those(Pod))
    return {"us": made}


async def until(pods: Pods, true: Callable[[tuple[PodState, ...]], bool], seconds: float = 15.0) -> tuple[PodState, ...]:
    try:
        async with asyncio.timeout(seconds):
            async for states in pods.states.follow():
                if true(states):
                    return states
    except TimeoutError:
        pass
    pytest.fail(f"not in time: {pods.states.get()} {pods.problems.get()}")


def ready(count: int) -> Callable[[tuple[PodState, ...]], bool]:
    return lambda states: len(states) == count and all(state.ready and not state.terminating for state in states)


def job(name: str, script: str, policy: str = "Never", **spec: Any) -> Job:
    template = {"spec": {"restartPolicy": policy, "containers": [container(script)]}}
    return msgspec.convert({"metadata": {"name": name}, "spec": {"template": template, **spec}}, Job)
