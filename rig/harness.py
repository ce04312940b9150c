"""A rig for the time of a test."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rig.build import CONTROL_PLANE, UnavailableError, place

_ROOT = Path(__file__).parents[1]


class Rig(NamedTuple):
    """Clusters that are ready."""

    kubeconfig: Path
    """One context per cluster, called like the cluster; the first is the current one. Its user is the administrator."""
    contexts: tuple[str, ...]
    folder: Path
    """Logs are here: CLUSTER-api.log, CLUSTER-controllers.log, etcd.log; and CLUSTER/ca.crt, admin.crt, admin.key."""


def missing() -> str | None:
    """Why no rig can run here now without building first; None when one can. For tests that must not take minutes."""
    absent = [program.name for program in CONTROL_PLANE if not place(program).exists()]
    return f"not built yet: {', '.join(absent)} (`make rig` builds them, about 5 minutes once)" if absent else None


@contextmanager
def running(*clusters: str, options: Sequence[str] = ()) -> Iterator[Rig]:
    """Clusters of these names (default: one, `rig`), ready, with all resource definitions; gone at the end of the block.

    `options` are further ones of `python -m rig up`. Raises UnavailableError.
    """
    names = clusters or ("rig",)
    with tempfile.TemporaryDirectory(prefix="flota-rig-", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-m", "rig", "up", "--until-eof", "--state", folder, "--clusters", ",".join(names), *options]
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
