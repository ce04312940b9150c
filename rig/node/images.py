"""Which program on this machine stands for which image: the one table."""

import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, field

from flota.envoy.bootstrap import envoy_path
from rig.build import COREDNS, ECHO, Program, Say, built
from rig.node.launch import Mount

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NONROOT = 65532


class Image(Struct, frozen=True):
    """What an image would bring."""

    entrypoint: tuple[str, ...]
    mounts: tuple[Mount, ...] = ()
    """Put into the container's root, read-only."""
    user: int = 0
    env: Mapping[str, str] = field(default_factory=lambda: {"PATH": _PATH})


def repository(reference: str) -> str:
    """The last part of an image's name, without registry, tag and digest: `echo-basic` of `r.example/gateway-api/echo-basic:v1.5.1`."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[0]


def image(reference: str, own: Mapping[str, Path], say: Say) -> Image | None:
    """What stands for an image; None when nothing does. `own` maps further names to programs.

    May build the program first, which takes time. Raises build.UnavailableError.
    """
    name = repository(reference)
    if name in own:
        return _program(own[name], name, 0)
    if name in _BUILT:
        program, user = _BUILT[name]
        return _program(built(program, say), name, user)
    if name in ("envoy", "envoy-distroless"):
        return _program(envoy_path(), "envoy", 101)
    if name == "flota":
        return _flota()
    return Image(("/bin/sh",)) if name in _SHELLS else None


_BUILT: Mapping[str, tuple[Program, int]] = {"echo-basic": (ECHO, _NONROOT), "coredns": (COREDNS, _NONROOT)}
_SHELLS = ("alpine", "busybox", "curl", "debian", "netshoot", "socat", "ubuntu")
"""Images whose tools this machine has itself."""


def _program(path: Path, name: str, user: int) -> Image:
    return Image((name,), (Mount(path, f"/usr/local/bin/{name}", read_only=True, file=True),), user)


def _flota() -> Image:
    """This checkout, with the Python that runs the rig."""
    tree = Path(__file__).parents[2]
    places = {Path(sys.prefix), Path(sys.base_prefix), tree}
    outer = [path for path in sorted(places) if not any(path.is_relative_to(other) for other in places - {path})]
    mounts = tuple(Mount(path, str(path), read_only=True) for path in outer)
    return Image(("flota",), mounts, _NONROOT, {"PATH": f"{sys.prefix}/bin:{_PATH}", "PYTHONDONTWRITEBYTECODE": "1"})
