"""Programs that the rig runs, built from Go modules once per version into the user's cache."""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

MODULES = Path(__file__).parent / "modules"
_STAMP = "k8s.io/component-base/version"
_KUBERNETES = f"-X {_STAMP}.gitVersion=v1.36.1 -X {_STAMP}.gitMajor=1 -X {_STAMP}.gitMinor=36 -X {_STAMP}.gitTreeState=clean"

Say = Callable[[str], None]
"""Where progress goes, line by line."""


class UnavailableError(RuntimeError):
    """Something that the rig needs is not on this machine; the message says what, and how to get it."""


class Program(NamedTuple):
    """A Go program: `folder` holds a go.mod that pins everything, `package` is what is built in it."""

    name: str
    folder: Path
    package: str
    minutes: float
    """How long a first build takes on two cores; for the progress line only."""
    link: str = ""
    """More linker flags, such as the version, which `go build` does not stamp into a dependency."""
    test: bool = False
    """It is the tests of the package, as a program."""


ETCD = Program("etcd", MODULES / "etcd", "go.etcd.io/etcd/server/v3", 0.5)
API_SERVER = Program("kube-apiserver", MODULES / "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", 3.5, _KUBERNETES)
CONTROLLERS = Program("kube-controller-manager", MODULES / "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager", 1, _KUBERNETES)


COREDNS = Program("coredns", MODULES / "coredns", ".", 1)
ECHO = Program("echo-basic", MODULES / "echo", "sigs.k8s.io/gateway-api/conformance/echo-basic", 0.2)


CONTROL_PLANE = (ETCD, API_SERVER, CONTROLLERS)
POD_PROGRAMS = (COREDNS, ECHO)


def cache_folder() -> Path:
    """Where built programs are kept; shared by every checkout of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flota" / "rig"


def place(program: Program) -> Path:
    """Where a program is once it is built: one folder per content of its module, so a new version never meets an old file."""
    digest = hashlib.sha256(f"{program.package} {program.link} {platform.machine()}".encode())
    for source in sorted(path for path in program.folder.iterdir() if path.suffix in {".go", ".mod", ".sum"}):
        digest.update(source.relative_to(program.folder).as_posix().encode() + b"\0" + source.read_bytes())
    return cache_folder() / f"{program.name}-{digest.hexdigest()[:16]}" / program.name


def built(program: Program, say: Say) -> Path:
    """The program's executable; built now where it is not there yet, by one process at a time. Raises UnavailableError."""
    target = place(program)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target.parent / "lock", lambda: say(f"{program.name}: another process is building it")):
        if not target.exists():
            _build(program, target, say)
    return target


@contextmanager
def _alone(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock that ends with the process (flock(2))."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(program: Program, target: Path, say: Say) -> None:
    say(f"{program.name}: building (about {program.minutes:g} min, once per version)")
    staged = target.with_name(f".{target.name}.{os.getpid()}")
    flags = ["-v", "-trimpath", "-ldflags", f"-s -w {program.link}", "-o", str(staged)]
    verb = ("test", "-c") if program.test else ("build",)
    command = ["nice", "-n", "10", _go(), *verb, *flags, program.package]
    began = said = time.monotonic()
    packages, lines = 0, []
    # Static, so that a program also runs inside the bare root of a pod.
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
    with subprocess.Popen(command, cwd=program.folder, env=env, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as running:
        for line in running.stderr or ():
            lines.append(line)
            packages += 1
            if time.monotonic() - said > 10:
                said = time.monotonic()
                say(f"{program.name}: {packages} packages after {said - began:.0f} s")
    if running.returncode:
        staged.unlink(missing_ok=True)
        raise UnavailableError(f"building {program.name} failed:\n{''.join(lines[-15:])}")
    staged.replace(target)
    say(f"{program.name}: built in {time.monotonic() - began:.0f} s")


def module_folder(module: str, pinned_in: Path) -> Path:
    """Where the source of a module lies, in the version that a go.mod pins; downloaded where needed. Raises UnavailableError."""
    command = [_go(), "mod", "download", "-json", module]
    ended = subprocess.run(command, cwd=pinned_in, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600, check=False)
    if ended.returncode:
        raise UnavailableError(f"go mod download {module} failed: {(ended.stderr or ended.stdout).strip()[-500:]}")
    return Path(json.loads(ended.stdout)["Dir"])


def _go() -> str:
    found = shutil.which("go")
    if found is None:
        raise UnavailableError("no go on the PATH: the rig builds etcd and Kubernetes from source (Go 1.26 or newer)")
    return found
