"""The kubelet's own interface, as far as the API server calls it for people: `kubectl logs` and `kubectl exec`."""

import asyncio
import datetime as dt
import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from rig.components import ClusterPlan
from rig.node.container import inside
from rig.node.exec import PROTOCOL, Session
from rig.node.logtimes import LogTimes
from rig.node.nodes import Nodes
from rig.node.pod import log_path

_CLIENT = "kube-apiserver-kubelet-client"


class Request(NamedTuple):
    """The head of an HTTP request."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    def first(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.query.get(name, [default])[0]


class Kubelet:
    """One cluster's; the API server proves itself by its client certificate."""

    def __init__(self, nodes: Nodes, plan: ClusterPlan, logs: Path, times: LogTimes) -> None:
        self._nodes = nodes
        self._plan = plan
        self._logs = logs
        self._times = times

    async def serve(self, stack: AsyncExitStack, port: int) -> None:
        """On all addresses of the room, until the stack is left."""
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._plan.file("ca.crt"))
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_cert_chain(self._plan.file("node.crt"), self._plan.file("node.key"))
        await stack.enter_async_context(await asyncio.start_server(self._connected, "0.0.0.0", port, ssl=tls))  # noqa: S104 - in the room

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = _parsed(await reader.readuntil(b"\r\n\r\n"))
            if _common_name(writer) != _CLIENT:
                _answer(writer, 403, "only the API server may ask\n")
            elif request.path.startswith("/containerLogs/"):
                await self._log(request, writer)
            elif request.path.startswith("/exec/"):
                await self._exec(request, reader, writer)
            else:
                _answer(writer, 404, "not served\n")
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # The caller went away; nobody is left to be told.
            return
        finally:
            writer.close()

    async def _log(self, request: Request, writer: asyncio.StreamWriter) -> None:
        namespace, pod, container = request.path.removeprefix("/containerLogs/").split("/")
        path = log_path(self._logs, self._plan.name, namespace, pod, container)
        if not path.exists():
            _answer(writer, 404, f"container {container} of pod {namespace}/{pod} has no log\n")
            return
        offset = self._start(path, request)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n")
        follow = request.first("follow") in ("true", "1")
        while True:
            with path.open("rb") as file:
                file.seek(offset)
                text = file.read(1 << 20)
            writer.write(text)
            await writer.drain()
            offset += len(text)
            if not text:
                if not follow or self._nodes.find(namespace, pod) is None:
                    return
                await asyncio.sleep(0.1)

    async def _exec(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        namespace, pod, container = request.path.removeprefix("/exec/").split("/")
        pod_life = self._nodes.find(namespace, pod)
        life = {**pod_life.inits, **pod_life.mains}.get(container) if pod_life is not None else None
        if life is None or life.process is None:
            _answer(writer, 404, f"container {container} of pod {namespace}/{pod} does not run\n")
            return
        if PROTOCOL not in request.headers.get("x-stream-protocol-version", ""):
            _answer(writer, 403, f"the streams of exec are served as {PROTOCOL}\n")
            return
        asked = {
            name for query, name in (("input", "stdin"), ("output", "stdout"), ("error", "stderr")) if request.first(query) in ("1", "true")
        }
        tty = request.first("tty") in ("1", "true")
        fields = ("Connection: Upgrade", "Upgrade: SPDY/3.1", f"X-Stream-Protocol-Version: {PROTOCOL}")
        writer.write("\r\n".join(("HTTP/1.1 101 Switching Protocols", *fields, "", "")).encode())
        await writer.drain()
        # On a terminal there is one output; a caller may ask for the other all the same, and may leave out the stream of window sizes.
        wanted = frozenset({"error", *(asked - {"stderr"} if tty else asked)})
        await Session(reader, writer, wanted).run(inside(life.process.pid, tuple(request.query["command"])), life.env, tty=tty)

    def _start(self, path: Path, request: Request) -> int:
        """The byte from which on the caller wants the log."""
        since = 0
        if moment := request.first("sinceTime"):
            since = self._times.offset(path, dt.datetime.fromisoformat(moment).timestamp())
        elif seconds := request.first("sinceSeconds"):
            since = self._times.offset(path, dt.datetime.now(dt.UTC).timestamp() - float(seconds))
        if tail := request.first("tailLines"):
            lines = path.read_bytes()[since:].splitlines(keepends=True)
            since += sum(map(len, lines[: max(0, len(lines) - int(tail))]))
        return since


def _parsed(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, target, _ = first.split(" ")
    parts = urlsplit(target)
    headers: dict[str, str] = {}
    for name, _, value in (line.partition(":") for line in lines):
        key = name.strip().lower()
        # A field that comes several times is one list (RFC 9110, 5.3).
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return Request(method, parts.path, parse_qs(parts.query), headers)


def _common_name(writer: asyncio.StreamWriter) -> str:
    certificate = writer.get_extra_info("peercert") or {}
    names = dict(pair for part in certificate.get("subject", ()) for pair in part)
    return str(names.get("commonName", ""))


def _answer(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    writer.write(
        f"HTTP/1.1 {status} -\r\ncontent-type: text/plain\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n{text}".encode()
    )
