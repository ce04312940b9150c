"""`kubectl exec`: a command in a container, its streams over one SPDY connection (the API's remotecommand protocol, v4.channel.k8s.io)."""

import asyncio
import contextlib
import fcntl
import json
import os
import struct
import termios
from collections.abc import Mapping, Sequence

from rig.node.spdy import FIN, PING, SYN_STREAM, Reader, Writer

PROTOCOL = "v4.channel.k8s.io"
_OPENED_S = 10.0
"""So long the caller may take to open its streams."""


class Session:
    """One call. The connection was upgraded already."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wanted: frozenset[str]) -> None:
        """`wanted`: of stdin, stdout, stderr and error, those that the caller is going to open."""
        self._reader = reader
        self._writer = writer
        self._wanted = wanted
        self._frames = Writer()
        self._streams: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._opened = asyncio.Event()
        self._input: asyncio.StreamWriter | None = None
        self._early = b""
        self._early_end = False
        self._terminal: int | None = None

    async def run(self, command: Sequence[str], env: Mapping[str, str], *, tty: bool) -> None:
        """From the first stream to the exit code."""
        async with asyncio.TaskGroup() as group:
            listen = group.create_task(self._listen(), name="frames of exec")
            try:
                async with asyncio.timeout(_OPENED_S):
                    await self._opened.wait()
                code = await (self._on_terminal(command, env) if tty else self._plain(command, env))
                await self._finish(code)
            except TimeoutError:
                # Without its streams nothing can be told to the caller.
                pass
            listen.cancel()

    async def _plain(self, command: Sequence[str], env: Mapping[str, str]) -> int:
        pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        stdin = pipe if "stdin" in self._wanted else null
        process = await asyncio.create_subprocess_exec(
            *command, env=dict(env), stdin=stdin, stdout=pipe, stderr=pipe, start_new_session=True
        )
        try:
            self._input_is(process.stdin)
            async with asyncio.TaskGroup() as group:
                for name, source in (("stdout", process.stdout), ("stderr", process.stderr)):
                    if source is not None:
                        group.create_task(self._pump(source, name), name=f"{name} of exec")
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()

    async def _on_terminal(self, command: Sequence[str], env: Mapping[str, str]) -> int:
        ours, theirs = os.openpty()
        # A session of its own whose terminal this is: so Ctrl-C and window sizes reach the command.
        process = await asyncio.create_subprocess_exec(
            "setsid", "--ctty", "--wait", *command, env={"TERM": "xterm", **env}, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self._terminal = ours
        loop = asyncio.get_running_loop()
        source = asyncio.StreamReader()
        reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(source), os.fdopen(os.dup(ours), "rb", buffering=0))
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(os.dup(ours), "wb", buffering=0))
        self._input_is(asyncio.StreamWriter(transport, protocol, None, loop))
        try:
            pump = asyncio.create_task(self._pump(source, "stdout"), name="terminal of exec")
            code = await process.wait()
            # A terminal has no end of file while a background job holds it.
            await asyncio.wait({pump}, timeout=0.5)
            pump.cancel()
            return code
        finally:
            reading.close()
            transport.close()
            self._terminal = None
            os.close(ours)

    async def _pump(self, source: asyncio.StreamReader, name: str) -> None:
        # Reading a terminal that was left by all is an error in Linux (EIO), not an end.
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 15):
                if name in self._streams:
                    self._writer.write(self._frames.data(self._streams[name], data))
                    await self._writer.drain()

    async def _finish(self, code: int) -> None:
        """The exit code as a Status on the error stream, then the end of every stream."""
        status: dict[str, object] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        if code:
            causes = [{"reason": "ExitCode", "message": str(code if code > 0 else 128 - code)}]
            message = f"command terminated with exit code {code}"
            status |= {"status": "Failure", "reason": "NonZeroExitCode", "message": message, "details": {"causes": causes}}
        for name, stream in self._streams.items():
            told = json.dumps(status).encode() if name == "error" else b""
            self._writer.write(self._frames.data(stream, told, last=True))
        self._writer.write(self._frames.goaway(max(self._names, default=0)))
        await self._writer.drain()

    async def _listen(self) -> None:
        frames = Reader()
        while data := await self._reader.read(1 << 15):
            for frame in frames.feed(data):
                if frame.kind == SYN_STREAM:
                    self._open(frame.stream, frame.headers.get("streamtype", ""))
                elif frame.kind == PING:
                    self._writer.write(self._frames.ping(frame.body))
                elif frame.kind is None:
                    self._received(self._names.get(frame.stream, ""), frame.body, last=bool(frame.flags & FIN))

    def _open(self, stream: int, name: str) -> None:
        self._streams[name] = stream
        self._names[stream] = name
        self._writer.write(self._frames.reply(stream))
        if self._wanted <= self._streams.keys():
            self._opened.set()

    def _received(self, name: str, data: bytes, *, last: bool) -> None:
        if name == "stdin":
            self._early += data
            self._early_end = self._early_end or last
            self._feed()
        elif name == "resize" and data and self._terminal is not None:
            size = json.loads(data)
            packed = struct.pack("HHHH", size.get("Height", 24), size.get("Width", 80), 0, 0)
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, packed)

    def _input_is(self, writer: asyncio.StreamWriter | None) -> None:
        self._input = writer
        self._feed()

    def _feed(self) -> None:
        """Hand on what came for the command's input; it may have come before the command."""
        if self._input is None:
            return
        if self._early:
            self._input.write(self._early)
            self._early = b""
        if self._early_end and self._terminal is None and self._input.can_write_eof():
            self._input.write_eof()
