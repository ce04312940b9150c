"""`python -m rig up`: clusters that run until Ctrl-C, their kubeconfig's path on standard output when they are ready."""

import argparse
import asyncio
import os
import re
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from rig import crds, space
from rig.api import Object
from rig.build import CONTROL_PLANE, POD_PROGRAMS, UnavailableError, built
from rig.plane import Plane, Wanted, claim, clear
from rig.room import Room

_FOLDER = Path("build/rig")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
_MOST_CLUSTERS = 60
"""As many as address ranges don't overlap."""
_MOST_NODES = 10


def main() -> int:
    """Exit code 0 after Ctrl-C, 1 when something is missing or died, that of the command for `exec`."""
    given = _arguments().parse_args()
    try:
        return int(given.run(given))
    except UnavailableError as error:
        say(str(error))
        return 1


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rig", description=__doc__)
    commands = parser.add_subparsers(required=True)
    up = commands.add_parser("up", help="run clusters until Ctrl-C")
    up.add_argument("--clusters", default="rig", metavar="A,B", help="their names, which are the contexts too (default: rig)")
    up.add_argument("--nodes", type=int, default=0, metavar="N", help="nodes that run pods, per cluster, up to 10 (default: 0; needs root)")
    up.add_argument("--image", action="append", default=[], metavar="NAME=PATH", help="a program that stands for an image; repeatable")
    up.add_argument("--publish", action="store_true", help="show load-balancer addresses (TCP) on the host's loopback too")
    up.add_argument("--authorization", choices=("RBAC", "AlwaysAllow"), default="RBAC")
    up.add_argument("--feature-gates", default="", metavar="A=true,B=false", help="of the API servers")
    up.add_argument("--no-crds", action="store_true", help="without the Gateway API and Multi-Cluster Services definitions")
    up.add_argument("--until-eof", action="store_true", help="end when standard input ends (for programs that start a rig)")
    up.set_defaults(run=_up)
    inside = commands.add_parser("exec", help="run a command in the network of a rig with nodes")
    inside.add_argument("command", nargs=argparse.REMAINDER)
    inside.set_defaults(run=_exec)
    for command in (up, inside):
        command.add_argument("--state", type=Path, default=_FOLDER, metavar="DIR", help=f"where the rig is (default: {_FOLDER})")
    commands.add_parser("build", help="only build the programs").set_defaults(run=_build)
    return parser


def say(line: str) -> None:
    """Progress, beside the answer on standard output."""
    print(line, file=sys.stderr, flush=True)


def _build(given: argparse.Namespace) -> int:
    for program in (*CONTROL_PLANE, *POD_PROGRAMS):
        print(built(program, say))
    return 0


def _exec(given: argparse.Namespace) -> int:
    words = given.command[1:] if given.command[:1] == ["--"] else given.command
    try:
        first = (given.state / "room").read_text().strip()
    except FileNotFoundError:
        raise UnavailableError(f"no rig with nodes runs in {given.state}") from None
    os.execvp("nsenter", ["nsenter", f"--net=/proc/{first}/ns/net", "--", *words])


def _up(given: argparse.Namespace) -> int:
    began = time.monotonic()
    folder, names = given.state.absolute(), tuple(given.clusters.split(","))
    if len(set(names)) < len(names) or len(names) > _MOST_CLUSTERS or not all(map(_NAME.fullmatch, names)):
        raise UnavailableError(f"--clusters {given.clusters}: up to {_MOST_CLUSTERS} different names of a-z, 0-9 and -, such as us,eu")
    if not 0 <= given.nodes <= _MOST_NODES:
        raise UnavailableError(f"--nodes {given.nodes}: from 0 to {_MOST_NODES}")
    # What needs the network of the host comes before the room.
    for program in (*CONTROL_PLANE, *(POD_PROGRAMS if given.nodes else ())):
        built(program, say)
    definitions = [] if given.no_crds else crds.documents()
    claim(folder)
    clear(folder)
    wanted = Wanted(folder=folder, clusters=names, authorization=given.authorization, feature_gates=given.feature_gates)
    if not given.nodes:
        return asyncio.run(_run(given, Plane(wanted, say), None, definitions, began))
    if why := space.missing():
        raise UnavailableError(why)
    host = space.HostNetwork() if given.publish else None
    listeners = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
    code = space.enter(folder / "room")
    if code is not None:
        return code
    ports = tuple(listener.getsockname()[1] for listener in listeners.values())
    wanted = Wanted(**{name: getattr(wanted, name) for name in wanted.__struct_fields__} | {"ports": ports, "address": space.ADDRESS})
    plane = Plane(wanted, say)
    images = {name: Path(path) for name, _, path in (each.partition("=") for each in given.image)}
    return asyncio.run(_run(given, plane, Room(plane, given.nodes, images, listeners, host, say), definitions, began))


async def _run(given: argparse.Namespace, plane: Plane, room: Room | None, definitions: list[Object], began: float) -> int:
    over = _over(until_eof=given.until_eof)
    try:
        await plane.start(definitions)
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            if room is not None:
                await room.start(stack, group)
            say(f"ready after {time.monotonic() - began:.1f} s: contexts {', '.join(plane.wanted.clusters)}; Ctrl-C ends it")
            print(plane.kubeconfig, flush=True)
            await plane.watch(over)
            if room is not None:
                room.stop()
    finally:
        await plane.stop()
    if over.result():
        raise UnavailableError(over.result())
    return 0


def _over(*, until_eof: bool) -> asyncio.Future[str]:
    """Done, with nothing to say, on Ctrl-C, SIGTERM or, where asked, the end of standard input."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[str] = loop.create_future()

    def end() -> None:
        if not over.done():
            over.set_result("")

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 1 << 10):
            loop.remove_reader(sys.stdin)
            end()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    if until_eof:
        loop.add_reader(sys.stdin, read)
    return over


if __name__ == "__main__":
    sys.exit(main())
