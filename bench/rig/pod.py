"""One pod: a small HTTP server that fails as it is told. Run as a process: ADDRESS PORT NAME FILE [h2].

Every request's `x-id` is written to FILE when it arrives, so that what was handed over twice is seen. Commands on stdin, one a line:
`answer STATUS`, `delay MILLISECONDS`, `every N MILLISECONDS` (one in N is that slow), `posts off|on` (only POSTs hang),
`drop`, `undrop` (packets towards it are lost, silently).
"""

import asyncio
import ctypes
import itertools
import os
import resource
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

Answer = Callable[[int, bytes], None]
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27


class Behaviour:
    """What all connections of the pod obey."""

    def __init__(self, name: str, seen: BinaryIO) -> None:
        self.name = name.encode()
        self.status = 200
        self.delay_s = 0.003
        self.slow_every, self.slow_s = 0, 0.0
        self.posts = True
        self.dropping = False
        self.sockets: set[socket.socket] = set()
        self._held: list[Callable[[], None]] = []
        self._seen = seen
        self._count = itertools.count(1)

    def request(self, method: bytes, number: bytes, answer: Answer) -> None:
        """Take one request; `answer` is called with status and body when it is time."""
        self._seen.write(number + b"\n")
        if method == b"POST" and not self.posts:
            self._held.append(lambda: answer(self.status, self.name))
            return
        slow = self.slow_every and next(self._count) % self.slow_every == 0
        asyncio.get_running_loop().call_later(self.slow_s if slow else self.delay_s, self._answer, answer)

    def _answer(self, answer: Answer) -> None:
        if self.dropping:
            self._held.append(lambda: answer(self.status, self.name))
        else:
            answer(self.status, self.name)

    def told(self, line: str) -> None:
        """Obey one command."""
        word, *rest = line.split()
        if word == "answer":
            self.status = int(rest[0])
        elif word == "delay":
            self.delay_s = int(rest[0]) / 1000
        elif word == "every":
            self.slow_every, self.slow_s = int(rest[0]), int(rest[1]) / 1000
        elif word == "posts":
            self.posts = rest[0] == "on"
        elif word in ("drop", "undrop"):
            self.dropping = word == "drop"
            for each in self.sockets:
                _filter(each, drop=self.dropping)
        if self.posts and not self.dropping:
            held, self._held = self._held, []
            for call in held:
                call()


def _filter(sock: socket.socket, *, drop: bool) -> None:
    """Let the kernel throw away every packet that comes in (classic BPF `ret 0`); nothing is answered, no FIN, no RST."""
    if not drop:
        sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        return
    code = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(code)))


class Http1(asyncio.Protocol):
    """A kept HTTP/1.1 connection; one request at a time."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._data = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._socket = socket.socket(fileno=transport.get_extra_info("socket").dup().detach())
        self._behaviour.sockets.add(self._socket)

    def connection_lost(self, _: Exception | None) -> None:
        self._behaviour.sockets.discard(self._socket)
        self._socket.close()

    def data_received(self, data: bytes) -> None:
        self._data += data
        while b"\r\n\r\n" in self._data:
            head, _, rest = self._data.partition(b"\r\n\r\n")
            fields = dict(line.lower().partition(b": ")[::2] for line in head.split(b"\r\n")[1:])
            length = int(fields.get(b"content-length", b"0"))
            if len(rest) < length:
                return
            self._data = rest[length:]
            self._behaviour.request(head.split(b" ", 1)[0], fields.get(b"x-id", b"probe"), self._answer)

    def _answer(self, status: int, body: bytes) -> None:
        self._transport.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nx-pod: %s\r\n\r\n%s" % (status, len(body), body, body))


async def serve(behaviour: Behaviour, address: str, port: int, make: Callable[[], asyncio.Protocol]) -> None:
    """Until stdin ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(make, address, port, backlog=1000)
    behaviour.sockets.update(socket.socket(fileno=each.dup().detach()) for each in server.sockets)
    loop.add_reader(sys.stdin.fileno(), lambda: _read(behaviour))
    print("ready", flush=True)
    await server.serve_forever()


def main() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)  # a hang holds many connections
    address, port, name, file, *rest = sys.argv[1:]
    with Path(file).open("ab", buffering=0) as seen:
        behaviour = Behaviour(name, seen)
        if rest == ["h2"]:
            from bench.rig.h2pod import Http2

            asyncio.run(serve(behaviour, address, int(port), lambda: Http2(behaviour)))
        else:
            asyncio.run(serve(behaviour, address, int(port), lambda: Http1(behaviour)))


def _read(behaviour: Behaviour) -> None:
    lines = os.read(sys.stdin.fileno(), 4096).decode().splitlines()
    if not lines:
        raise SystemExit
    for line in lines:
        behaviour.told(line)


if __name__ == "__main__":
    main()
