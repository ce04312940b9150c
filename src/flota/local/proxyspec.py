"""What is wanted of one cluster's Envoy, where its things are, and the command line it is started with."""

import asyncio
import contextlib
import hashlib
from pathlib import Path

import msgspec

from flota.local.envoylog import Trouble, trouble
from flota.local.state import StateFolder, disk_problem, write_private

_VALIDATE_LIMIT = 30.0

_FLUSH_MS = 1000
"""Who follows an access log does not want to wait for Envoy's default of ten seconds."""


class ProxySpec(msgspec.Struct, frozen=True, kw_only=True):
    """The Envoy wanted for a cluster. A change of version, bootstrap or concurrency is a hot restart."""

    cluster: str
    envoy: Path
    version: str
    bootstrap: bytes
    """JSON, or a serialised Bootstrap; its admin address is `ProxyPaths.admin`."""
    concurrency: int = 1
    log_level: str = "warning"
    drain_s: int = 10
    """How long an Envoy that was replaced lets its connections finish; it ends itself half as long again after that."""

    @property
    def digest(self) -> str:
        return hashlib.sha256(b"\0".join((self.version.encode(), self.bootstrap, b"%d" % self.concurrency))).hexdigest()[:16]


class ProxyPaths(msgspec.Struct, frozen=True):
    """Where a cluster's Envoy has its things."""

    admin: Path
    hot_restart: Path
    log: Path
    folder: Path
    """For the bootstrap and what else belongs to the proxy."""


class ProxyState(msgspec.Struct, frozen=True):
    """How a cluster's Envoy is. `reason` and `message` are empty when all is well."""

    cluster: str
    phase: str
    """Starting, Running, Restarting, CrashLoop, Draining or Stopped."""
    pid: int | None = None
    epoch: int = 0
    version: str = ""
    restarts: int = 0
    reason: str = ""
    message: str = ""


def proxy_paths(state: StateFolder, cluster: str) -> ProxyPaths:
    """The paths of a cluster's Envoy; socket names are digests, so that a long cluster name still fits a socket
    address.
    """
    short = hashlib.sha256(cluster.encode()).hexdigest()[:8]
    return ProxyPaths(
        state.sockets / f"admin-{short}",
        state.sockets / f"hot-{short}",
        state.logs / f"proxy-{cluster}.log",
        state.proxies / cluster,
    )


def base_id(state: StateFolder, cluster: str) -> int:
    """The `--base-id`, which names Envoy's shared memory on this machine: the same for every epoch, apart for fleets
    and clusters.
    """
    digest = hashlib.sha256(f"{state.identity}/{cluster}".encode()).digest()
    # Envoy multiplies it by ten and keeps it in 32 bits; small numbers are left to people who count by hand.
    return 1000 + int.from_bytes(digest[:8], "big") % 429_000_000


def bootstrap_file(spec: ProxySpec, paths: ProxyPaths) -> Path:
    """Write the bootstrap; named by content, so that the file of an Envoy that runs is never changed under it.

    Raises OSError.
    """
    paths.folder.mkdir(mode=0o700, exist_ok=True)
    form = "json" if spec.bootstrap[:1] == b"{" else "pb"
    path = paths.folder / f"bootstrap-{spec.digest}.{form}"
    if not path.exists():
        write_private(path, spec.bootstrap)
        for old in paths.folder.glob("bootstrap-*"):
            if old != path:
                old.unlink()
    return path


def argv(spec: ProxySpec, state: StateFolder, bootstrap: Path, epoch: int) -> tuple[str, ...]:
    """Envoy's command line. A parent ends itself half as long again after its drain time."""
    options = {
        "-c": bootstrap,
        "--base-id": base_id(state, spec.cluster),
        "--restart-epoch": epoch,
        "--socket-path": proxy_paths(state, spec.cluster).hot_restart,
        "--socket-mode": "600",
        "--concurrency": spec.concurrency,
        "--log-level": spec.log_level,
        "--file-flush-interval-msec": _FLUSH_MS,
        "--drain-time-s": spec.drain_s,
        "--parent-shutdown-time-s": spec.drain_s + spec.drain_s // 2 + 1,
    }
    return (str(spec.envoy), *(str(word) for pair in options.items() for word in pair))


async def validate(spec: ProxySpec, paths: ProxyPaths) -> Trouble | None:
    """Let a new binary judge a new bootstrap first: a failed hot restart would cost the old Envoy its admin
    interface.
    """
    try:
        path = bootstrap_file(spec, paths)
        process = await asyncio.create_subprocess_exec(
            *(
                str(spec.envoy),
                "--mode",
                "validate",
                "-c",
                str(path),
                "--disable-hot-restart",
                "--log-level",
                "warning",
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        found = disk_problem("use", Path(error.filename or paths.folder), error)
        return Trouble(found.reason, found.message)
    try:
        async with asyncio.timeout(_VALIDATE_LIMIT):
            _, output = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return Trouble("BootstrapRefused", "Envoy did not finish checking the bootstrap")
    if process.returncode == 0:
        return None
    return trouble(output.decode("utf-8", "replace").splitlines(), "the bootstrap was refused")


def remove_traces(state: StateFolder, cluster: str, shared: Path = Path("/dev/shm")) -> None:  # noqa: S108 - see shm_open(3)
    """Envoy leaves its sockets and its shared memory behind; a fleet that was taken down should leave nothing outside its folder."""
    paths = proxy_paths(state, cluster)
    memory = shared / f"envoy_shared_memory_{base_id(state, cluster) * 10}"
    for path in (memory, paths.admin, *paths.hot_restart.parent.glob(f"{paths.hot_restart.name}_*")):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
