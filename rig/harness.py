"""A rig for the time of a test."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from flota.local.kernel import marked
from flota.local.process import MARK
from rig import space
from rig.api import Api
from rig.build import CONTROL_PLANE, POD_PROGRAMS, UnavailableError, place
from rig.plane import held, identity

_ROOT = Path(__file__).parents[1]


class Rig(NamedTuple):
    """Clusters that are ready."""

    kubeconfig: Path
    """One context per cluster, called like the cluster; the first is the current one. Its user is the administrator."""
    contexts: tuple[str, ...]
    folder: Path
    """Logs are here: CLUSTER-api.log, CLUSTER-controllers.log, etcd.log, logs/ of containers; and CLUSTER/ca.crt, admin.crt, admin.key."""

    def inside(self, *command: str) -> tuple[str, ...]:
        """A command line that runs `command` in the network of a rig with nodes, where pods and Services are reached."""
        first = (self.folder / "room").read_text().strip()
        return ("nsenter", f"--net=/proc/{first}/ns/net", "--", *command)

    def pid(self, component: str) -> int:
        """The process of etcd, CLUSTER-api or CLUSTER-controllers, as this test sees it: to stop it (SIGSTOP) or to kill it.

        What is killed is started again, with the same data at the same port. Raises LookupError while it does not run.
        """
        prefix = f"{identity(self.folder)}/{component}/"
        found = [process.pid for process, _ in marked(MARK, prefix) if process.pid == process.session or process.alive]
        if not found:
            raise LookupError(f"{component} does not run")
        return found[0]

    @contextmanager
    def down(self, *components: str) -> Iterator[None]:
        """Components are killed, and started again only at the end of the block."""
        holds = [held(self.folder, each) for each in components]
        for hold, component in zip(holds, components, strict=True):
            hold.touch()
            os.kill(self.pid(component), signal.SIGKILL)
        try:
            yield
        finally:
            for hold in holds:
                hold.unlink(missing_ok=True)

    def api(self, name: str = "") -> Api:
        """A client of one cluster (default: the first) as its administrator."""
        name = name or self.contexts[0]
        [cluster] = [each["cluster"] for each in json.loads(self.kubeconfig.read_text())["clusters"] if each["name"] == name]
        folder = self.folder / name
        return Api(cluster["server"], str(folder / "ca.crt"), str(folder / "admin.crt"), str(folder / "admin.key"))


def missing(*, nodes: bool = False) -> str | None:
    """Why no rig can run here now without building first; None when one can. For tests that must not take minutes.

    RIG=required in the environment turns the answer into an UnavailableError, so that nothing is skipped where a rig should be; RIG=later
    leaves all such tests to a later run.
    """
    when = os.environ.get("RIG", "")
    why = "left to a later run (RIG=later)" if when == "later" else _missing(nodes=nodes)
    if why and when == "required":
        raise UnavailableError(why)
    return why


def _missing(*, nodes: bool) -> str | None:
    if nodes and (why := space.missing()):
        return why
    absent = [program.name for program in (*CONTROL_PLANE, *(POD_PROGRAMS if nodes else ())) if not place(program).exists()]
    return f"not built yet: {', '.join(absent)} (`make rig` builds them, about 5 minutes once)" if absent else None


@contextmanager
def running(*clusters: str, nodes: int = 0, options: Sequence[str] = ()) -> Iterator[Rig]:
    """Clusters of these names (default: one, `rig`), ready, with all resource definitions; gone at the end of the block.

    With `nodes` per cluster, pods run and Services lead to them, in a network of the rig's own (`Rig.inside`); needs root.
    `options` are further ones of `python -m rig up`. Raises UnavailableError.
    """
    names = clusters or ("rig",)
    with tempfile.TemporaryDirectory(prefix="flota-rig-", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-m", "rig", "up", "--until-eof", "--state", folder, "--clusters", ",".join(names)]
        command += ["--nodes", str(nodes), *options]
        with tempfile.TemporaryFile("w+") as errors, _process(command, errors.fileno()) as process:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                process.wait()
                errors.seek(0)
                raise UnavailableError(errors.read().strip()[-2000:])
            try:
                yield Rig(Path(line.strip()), names, Path(folder))
            finally:
                if process.stdin:
                    process.stdin.close()
                process.wait(timeout=30)


@contextmanager
def _process(command: list[str], errors: int) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        try:
            yield process
        except BaseException:
            process.terminate()
            raise
