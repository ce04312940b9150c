"""`python -m rig up`: clusters that run until Ctrl-C, their kubeconfig's path on standard output when they are ready."""

import argparse
import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from rig.build import API_SERVER, CONTROLLERS, ETCD, UnavailableError, built
from rig.plane import Plane, Wanted

_FOLDER = Path("build/rig")


def main() -> int:
    """Exit code 0 after Ctrl-C, 1 when something is missing or died."""
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
    up.add_argument("--state", type=Path, default=_FOLDER, metavar="DIR", help=f"all its files; emptied first (default: {_FOLDER})")
    up.add_argument("--authorization", choices=("RBAC", "AlwaysAllow"), default="RBAC")
    up.add_argument("--feature-gates", default="", metavar="A=true,B=false", help="of the API servers")
    up.add_argument("--no-crds", action="store_true", help="without the Gateway API and Multi-Cluster Services definitions")
    up.add_argument("--until-eof", action="store_true", help="end when standard input ends (for programs that start a rig)")
    up.set_defaults(run=lambda given: asyncio.run(_up(given)))
    commands.add_parser("build", help="only build the programs").set_defaults(run=_build)
    return parser


def say(line: str) -> None:
    """Progress, beside the answer on standard output."""
    print(line, file=sys.stderr, flush=True)


def _build(given: argparse.Namespace) -> int:
    for program in (ETCD, API_SERVER, CONTROLLERS):
        print(built(program, say))
    return 0


async def _up(given: argparse.Namespace) -> int:
    began = time.monotonic()
    plane = Plane(
        Wanted(
            folder=given.state.absolute(),
            clusters=tuple(given.clusters.split(",")),
            authorization=given.authorization,
            crds=not given.no_crds,
            feature_gates=given.feature_gates,
        ),
        say,
    )
    over = _over(until_eof=given.until_eof)
    try:
        await plane.start()
        say(f"ready after {time.monotonic() - began:.1f} s: contexts {', '.join(plane.wanted.clusters)}; Ctrl-C ends it")
        print(plane.kubeconfig, flush=True)
        await plane.watch(over)
        if over.result():
            raise UnavailableError(over.result())
    finally:
        await plane.stop()
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
