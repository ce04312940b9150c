"""The namespaces of a pod: network, host name and IPC, held by a process that only waits."""

import asyncio
from pathlib import Path

from flota.fleet.problem import Problem
from flota.local.process import Process, ProcessSpec, Runner
from rig.build import UnavailableError

_GATEWAY = "169.254.1.1"
_MAC = "ee:ee:ee:ee:ee:ee"
"""Of the host's side of every pod's cable: so no pod has to ask for it."""

_HOLD = 'printf %s "$1" > /proc/sys/kernel/hostname; exec sleep infinity'


class Sandbox:
    """A pod's namespaces, and its cable. Make with `open_sandbox`."""

    def __init__(self, process: Process, ip: str, cable: str) -> None:
        self.process = process
        self.ip = ip
        self._cable = cable

    @property
    def pid(self) -> int:
        return self.process.pid

    async def close(self) -> None:
        """The namespaces vanish with their last process; the cable goes first, as that takes the kernel a while."""
        await _ip(f"link delete {self._cable}", check=False)
        await self.process.stop(0)


async def open_sandbox(runner: Runner, name: str, hostname: str, ip: str, number: int, folder: Path) -> Sandbox:
    """`number` is unique among living pods of the room; it names the cable. Raises UnavailableError."""
    argv = ("unshare", "--net", "--uts", "--ipc", "--", "setpriv", "--pdeathsig", "KILL", "--", "/bin/sh", "-c", _HOLD, "sh", hostname)
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    spec = ProcessSpec(name=name, argv=argv, env=env, cwd=folder, log=folder / "sandbox.log", digest="")
    process = runner.start(spec)
    if isinstance(process, Problem):
        raise UnavailableError(process.message)
    await _apart(process)
    cable = f"pod{number}"
    await _ip(
        f"link add {cable} address {_MAC} type veth peer name eth0 netns {process.pid}",
        f"link set {cable} up",
        f"route add {ip}/32 dev {cable}",
    )
    await _ip(
        "link set lo up",
        f"address add {ip}/32 dev eth0",
        "link set eth0 up",
        f"neighbour add {_GATEWAY} lladdr {_MAC} dev eth0 nud permanent",
        f"route add {_GATEWAY} dev eth0 scope link",
        f"route add default via {_GATEWAY} dev eth0 src {ip}",
        inside=process.pid,
    )
    # What every container runtime sets in a pod, so that a program without privileges can listen on port 80.
    await _run("nsenter", "--target", str(process.pid), "--net", "sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=0")
    return Sandbox(process, ip, cable)


async def _apart(process: Process) -> None:
    """Wait until the process has its own host name: the last thing it does before it waits."""
    own = _namespace(Path("/proc/self"))
    async with asyncio.timeout(20):
        while _namespace(Path(f"/proc/{process.pid}")) in (own, "") or not _asleep(process.pid):
            if process.exit is not None:
                raise UnavailableError(f"no namespaces for a pod: {process.exit.words}")
            await asyncio.sleep(0.002)


def _namespace(process: Path) -> str:
    try:
        return str((process / "ns/net").readlink())
    except OSError:
        return ""


def _asleep(pid: int) -> bool:
    try:
        return b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return False


async def _ip(*lines: str, inside: int | None = None, check: bool = True) -> None:
    """Several `ip` commands in one process."""
    enter = ("nsenter", "--target", str(inside), "--net", "--") if inside is not None else ()
    await _run(*enter, "ip", "-batch", "-", stdin="\n".join(lines) + "\n", check=check)


async def _run(*command: str, stdin: str = "", check: bool = True) -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=asyncio.subprocess.DEVNULL, stderr=pipe)
    _, errors = await process.communicate(stdin.encode())
    if check and process.returncode:
        raise UnavailableError(f"{' '.join(command)}: {errors.decode('utf-8', 'replace').strip()}")
