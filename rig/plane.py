"""Control planes that run: one etcd, and for each cluster an API server and a controller manager."""

import asyncio
import contextlib
import datetime as dt
import fcntl
import hashlib
import os
import shutil
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from msgspec import Struct

from flota.fleet.problem import Problem
from flota.local.kernel import marked
from flota.local.logs import tail
from flota.local.process import MARK, Process, ProcessSpec, Runner
from rig import components, crds
from rig.api import Api, Object, RefusedError
from rig.build import CONTROL_PLANE, Say, UnavailableError, built
from rig.certs import Authority, token_keys, write
from rig.components import ClusterPlan
from rig.kubeconfig import Access, document

_DEADLINE = 90.0
"""Seconds until a component must be ready; a loaded machine takes its time."""


_LOCK = "lock"
_LIVED_S = 2.0
"""What ends sooner than this has ended early."""
_EARLY_ENDS = 30
"""So many early ends in a row are too many, and the rig ends."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What to run."""

    folder: Path
    """Everything is kept here: certificates, logs, etcd's data. It is emptied at the start."""
    clusters: tuple[str, ...] = ("rig",)
    authorization: str = "RBAC"
    feature_gates: str = ""
    ports: tuple[int, ...] = ()
    """Of the API servers; free ones where none are given."""
    address: str = ""
    """Where pods reach the API servers; empty without pods."""


class Plane:
    """The running control planes. Make with `start`; `stop` ends every process."""

    def __init__(self, wanted: Wanted, say: Say) -> None:
        self.wanted = wanted
        self.kubeconfig = wanted.folder / "kubeconfig"
        self.plans: tuple[ClusterPlan, ...] = ()
        self._say = say
        self.runner = Runner(wanted.folder / "processes", identity(wanted.folder))
        self._running: dict[str, Process] = {}
        self._began: dict[str, float] = {}
        self._commands: dict[str, tuple[str, ...]] = {}

    async def start(self, definitions: list[Object]) -> None:
        """Returns when every cluster is ready with its resource definitions. Raises UnavailableError."""
        programs = [built(program, self._say) for program in CONTROL_PLANE]
        folder, count = self.wanted.folder, len(self.wanted.clusters)
        client, peer, *ports = free_ports(2 + 2 * count)
        url, address = f"http://127.0.0.1:{client}", self.wanted.address
        self.plans = tuple(
            ClusterPlan(name, number, folder / name, port, ports[count + number], url, address)
            for number, (name, port) in enumerate(zip(self.wanted.clusters, self.wanted.ports or ports[:count], strict=False))
        )
        self.run("etcd", programs[0], components.etcd(folder / "etcd", client, peer))
        accesses = [_credentials(plan) for plan in self.plans]
        await asyncio.gather(*(self._cluster(plan, programs[1], programs[2], definitions) for plan in self.plans))
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(document(accesses))

    def run(self, name: str, program: Path, arguments: Sequence[str]) -> Process:
        """A process of the rig that must not outlive it. Raises UnavailableError."""
        # A rig that is killed leaves nothing behind: the kernel ends what it started (prctl(2), PR_SET_PDEATHSIG).
        guard = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
        self._commands[name] = (*guard, str(program), *arguments)
        return self._started(name)

    def _started(self, name: str) -> Process:
        folder = self.wanted.folder
        spec = ProcessSpec(name=name, argv=self._commands[name], env=dict(os.environ), cwd=folder, log=folder / f"{name}.log", digest="rig")
        started = self.runner.start(spec)
        if isinstance(started, Problem):
            raise UnavailableError(started.message)
        self._running[name] = started
        self._began[name] = asyncio.get_running_loop().time()
        return started

    async def watch(self, over: "asyncio.Future[str]") -> None:
        """Wait for `over`. A component that ends is started again; the last words of one that can't live are what `over` gets."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._keep(name, over), name=f"life of {name}") for name in self._running]
            await over
            for task in tasks:
                task.cancel()

    async def stop(self) -> None:
        """Kill everything: nothing here is kept, so nothing needs a graceful end."""
        for process in reversed(self._running.values()):
            await process.stop(0)
            self.runner.forget(process.name)
        self._running.clear()

    def api(self, plan: ClusterPlan) -> Api:
        """A client of one cluster, as its administrator."""
        return Api(plan.server, plan.file("ca.crt"), plan.file("admin.crt"), plan.file("admin.key"))

    async def _cluster(self, plan: ClusterPlan, server: Path, controllers: Path, found: list[Object]) -> None:
        process = self.run(f"{plan.name}-api", server, components.api_server(plan, self.wanted.authorization, self.wanted.feature_gates))
        async with self.api(plan) as api:
            await self._ready(api, process)
            self.run(f"{plan.name}-controllers", controllers, components.controller_manager(plan))
            await crds.install(api, found)
            # Pods are refused in a namespace whose service account is not there yet.
            await _exists(api, "/api/v1/namespaces/default/serviceaccounts/default")

    async def _ready(self, api: Api, process: Process) -> None:
        try:
            async with asyncio.timeout(_DEADLINE):
                while not await _answers(api):
                    if process.exit is not None:
                        raise UnavailableError(self._last_words(process))
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise UnavailableError(
                f"{process.name} is not ready after {_DEADLINE:g} s: see {self.wanted.folder}/{process.name}.log"
            ) from None

    async def _keep(self, name: str, over: "asyncio.Future[str]") -> None:
        loop, early = asyncio.get_running_loop(), 0
        while not over.done():
            process = self._running[name]
            await process.wait()
            # Controllers end at once while their API server is not back yet, so an early end or two mean nothing.
            early = early + 1 if loop.time() - self._began[name] < _LIVED_S else 0
            if early == _EARLY_ENDS:
                if not over.done():
                    over.set_result(self._last_words(process))
                return
            await asyncio.sleep(1.0 if early else 0.0)
            while held(self.wanted.folder, name).exists():
                await asyncio.sleep(0.1)
            self._say(f"{name} {process.exit.words if process.exit else ''}: started again")
            self._started(name)

    def _last_words(self, process: Process) -> str:
        said = "\n".join(tail(self.wanted.folder / f"{process.name}.log")[-12:])
        return f"{process.name} {process.exit.words if process.exit else 'runs'}:\n{said}"


def held(folder: Path, name: str) -> Path:
    """While this file is there, a component that has ended is not started again."""
    return folder / "hold" / name


def identity(folder: Path) -> str:
    """The mark of the processes of the rig in a folder."""
    return f"rig-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}"


def claim(folder: Path) -> int:
    """Become the one rig of a folder, until the descriptor is closed or the process dies (flock(2)). Raises UnavailableError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UnavailableError(f"a rig runs in {folder} already: end it, or take another folder (--state)") from None
    return descriptor


def clear(folder: Path) -> None:
    """End what an earlier rig in this folder, now claimed, left running, then empty the folder."""
    for what, _ in list(marked(MARK, f"{identity(folder)}/")):
        with contextlib.suppress(ProcessLookupError):
            os.kill(what.pid, signal.SIGKILL)
    for path in (path for path in folder.iterdir() if path.name != _LOCK):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name in ("processes", "logs", "scratch", "hold"):
        (folder / name).mkdir(mode=0o700)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _credentials(plan: ClusterPlan) -> Access:
    """Write what the components of a cluster show each other; the administrator's way in is returned."""
    plan.folder.mkdir(mode=0o700)
    authority = Authority(f"rig-{plan.name}", dt.datetime.now(dt.UTC))
    (plan.folder / "ca.crt").write_bytes(authority.certificate)
    first = plan.services.replace(".0.0/16", ".0.1")
    inside = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    addresses = ("127.0.0.1", first, *([plan.address] if plan.address else []))
    write(plan.folder, "server", authority.server("kube-apiserver", "localhost", *addresses, *inside))
    write(plan.folder, "node", authority.server("node", *addresses))
    write(plan.folder, "kubelet-client", authority.client("kube-apiserver-kubelet-client"))
    write(plan.folder, "tokens", token_keys())
    admin = authority.client("admin", "system:masters")
    write(plan.folder, "admin", admin)
    access = Access(plan.name, plan.server, authority.certificate, admin)
    controllers = access._replace(client=authority.client("system:kube-controller-manager"))
    kubeconfig = plan.folder / "controllers.kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(document([controllers]))
    return access


async def _answers(api: Api) -> bool:
    try:
        await api.call("GET", "/readyz", seconds=5)
    except (RefusedError, aiohttp.ClientError, TimeoutError):
        return False
    return True


async def _exists(api: Api, path: str) -> None:
    async with asyncio.timeout(_DEADLINE):
        while True:
            try:
                await api.call("GET", path)
            except RefusedError as refused:
                if refused.status != 404:
                    raise
                await asyncio.sleep(0.05)
            else:
                return
