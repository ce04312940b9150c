"""Probes of containers (core/v1 Probe): how they are carried out, and how results become a verdict."""

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, structs

from flota.fleet.pods import Container, ExecAction, GRPCAction, HTTPGetAction, Probe, TCPSocketAction

_HEAD = 64 << 10


class Target(Struct, frozen=True):
    """The container that is asked."""

    ip: str
    container: Container
    env: Mapping[str, str]
    cwd: Path


class Verdict(Struct, frozen=True):
    """What the results so far mean. `good` None = too early to say."""

    good: bool | None = None
    successes: int = 0
    failures: int = 0

    def after(self, probe: Probe, *, success: bool) -> "Verdict":
        """The verdict after one more result: it turns after successThreshold or failureThreshold equal ones in a row."""
        if success:
            count = self.successes + 1
            return Verdict(True if count >= probe.success_threshold else self.good, count, 0)
        count = self.failures + 1
        return Verdict(False if count >= probe.failure_threshold else self.good, 0, count)

    def assumed(self) -> "Verdict":
        """Of an adopted container: it was well when we left, and stays so until a probe says otherwise."""
        return structs.replace(self, good=True)


async def ask(probe: Probe, target: Target) -> str | None:
    """Carry a probe out once: None for success, else why it failed."""
    try:
        async with asyncio.timeout(probe.timeout_seconds):
            if probe.http_get is not None:
                return await _http(probe.http_get, target)
            if probe.tcp_socket is not None:
                return await _tcp(probe.tcp_socket, target)
            if probe.grpc is not None:
                return await _grpc(probe.grpc, target)
            return await run_command(probe.exec or ExecAction(), target)
    except TimeoutError:
        return f"no answer within {probe.timeout_seconds} s"
    except (OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        return str(error) or type(error).__name__


def number_of_port(port: int | str, container: Container) -> int:
    """A port by number or by the name of a container port. Raises ValueError for an unknown name."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for known in container.ports:
        if known.name == port:
            return known.container_port
    raise ValueError(f"the container has no port named {port!r}")


async def accepts(ip: str, port: int, seconds: float = 1.0) -> bool:
    """Whether a TCP connection comes about."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(ip, port)
            writer.close()
            return True
    except (OSError, TimeoutError):
        return False


async def run_command(action: ExecAction, target: Target) -> str | None:
    """Run a command as the container would; a cancelled or timed-out one is killed with all it started."""
    process = await asyncio.create_subprocess_exec(
        *action.command,
        env=dict(target.env),
        cwd=target.cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return None if code == 0 else f"exit code {code}"


async def http_get(action: HTTPGetAction, target: Target) -> str | None:
    """One GET, without following redirects; 200 to 399 is success."""
    return await _http(action, target)


async def _http(action: HTTPGetAction, target: Target) -> str | None:
    port = number_of_port(action.port, target.container)
    context = None
    if action.scheme == "HTTPS":
        # As the kubelet: a probe does not check certificates.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(action.host or target.ip, port, ssl=context, limit=_HEAD)
    try:
        fields = {"host": f"{action.host or target.ip}:{port}", "user-agent": "flota-probe", "accept": "*/*"}
        fields |= {header.name.lower(): header.value for header in action.http_headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        path = action.path if action.path.startswith("/") else f"/{action.path}"
        writer.write(f"GET {path} HTTP/1.1\r\n{lines}connection: close\r\n\r\n".encode())
        status = (await reader.readuntil(b"\r\n")).split()
        code = int(status[1]) if len(status) > 1 else 0
    finally:
        writer.close()
    return None if 200 <= code < 400 else f"HTTP status {code}"


async def _tcp(action: TCPSocketAction, target: Target) -> str | None:
    port = number_of_port(action.port, target.container)
    _, writer = await asyncio.open_connection(action.host or target.ip, port)
    writer.close()
    return None


async def _grpc(action: GRPCAction, target: Target) -> str | None:
    from flota.local.grpchealth import check

    return await check(target.ip, action.port, action.service)
