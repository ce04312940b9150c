"""How a container's process is started: one chain of commands that each become the next, so that its number, signals and exit code are
the program's own. Pure.

The root is an overlay of this machine's own: everything installed here is there, nothing that is written reaches it.
"""

import shlex
from pathlib import Path

from msgspec import Struct

from rig.api import Object


class Mount(Struct, frozen=True):
    """What is put into a container's root."""

    source: Path
    target: str
    """Absolute, in the container."""
    read_only: bool = False
    file: bool = False


class Launch(Struct, frozen=True, kw_only=True):
    """A container that is to start."""

    sandbox: int
    """The process that holds the pod's namespaces."""
    layer: Path
    """An empty folder on a file system of its own, for what the container writes."""
    mounts: tuple[Mount, ...]
    words: tuple[str, ...]
    """What to execute, found in PATH."""
    folder: str = "/"
    user: int = 0
    group: int = 0
    groups: tuple[int, ...] = ()
    security: Object
    """core/v1 SecurityContext of the container."""


# put f|d SOURCE TARGET. The place is made from inside the root, as its links lead elsewhere outside: /var/run is one. A folder that
# only its owner may pass, such as a home, would hide a program from the container's user: the overlay's copy of it is opened.
_PUT = r"""put() {
  t=$(chroot $root /bin/sh -c '[ ! -L "$2" ] || [ $1 = d ] || rm "$2"
    if [ $1 = d ]; then mkdir -p "$2"; else mkdir -p "${2%/*}/" && : >> "$2"; fi; readlink -f "$2"' sh "$1" "$3")
  p=${t%/*}
  while [ -n "$p" ]; do chmod o+x "$root$p"; p=${p%/*}; done
  mount --rbind "$2" "$root$t"
}"""


def argv(launch: Launch) -> tuple[str, ...]:
    """The chain: join the pod, take a mount namespace, build the root, become the user, execute."""
    spaces = [f"--{name}=/proc/{launch.sandbox}/ns/{name}" for name in ("net", "uts", "ipc")]
    return ("nsenter", *spaces, "--", "unshare", "--mount", "--propagation", "private", "--", "/bin/sh", "-c", script(launch))


def script(launch: Launch) -> str:
    """The shell script that builds the root and executes the program in it."""
    layer, root = launch.layer, launch.layer / "root"
    lines = [
        "set -e",
        f"root={_q(root)}",
        f"mkdir -p {_q(layer / 'upper')} {_q(layer / 'work')} $root",
        f"mount -t overlay overlay -o lowerdir=/,upperdir={layer}/upper,workdir={layer}/work $root",
        "mount -t proc proc $root/proc",
        "mount --rbind /dev $root/dev",
        "mount --rbind /sys $root/sys",
        "mount -t tmpfs -o mode=1777 tmpfs $root/tmp",
        _PUT,
    ]
    lines += [_mounted(mount) for mount in sorted(launch.mounts, key=lambda each: each.target.count("/"))]
    if launch.security.get("readOnlyRootFilesystem"):
        lines += ["mount -o remount,ro $root/tmp", "mount -o remount,ro $root"]
    become = shlex.join(["setpriv", *privileges(launch), "--", "env", "-C", launch.folder, "--", *launch.words])
    return "\n".join([*lines, f"exec chroot $root {become}"])


def privileges(launch: Launch) -> tuple[str, ...]:
    """Options of setpriv(1). The parent's death must end the program, and a change of user clears that: so it stands here."""
    found = ["--reuid", str(launch.user), "--regid", str(launch.group), "--pdeathsig", "KILL"]
    found += ["--groups", ",".join(map(str, launch.groups))] if launch.groups else ["--clear-groups"]
    if launch.security.get("allowPrivilegeEscalation") is False:
        found.append("--no-new-privs")
    capabilities = launch.security.get("capabilities") or {}
    if "ALL" in capabilities.get("drop", ()):
        kept = "".join(f",+{name.lower()}" for name in capabilities.get("add", ()))
        found += [f"--bounding-set=-all{kept}", "--inh-caps=-all"]
    return tuple(found)


def _mounted(mount: Mount) -> str:
    made = f"put {'f' if mount.file else 'd'} {_q(mount.source)} {_q(mount.target)}"
    return f"{made} && mount -o remount,bind,ro $root$t" if mount.read_only else made


def _q(text: str | Path) -> str:
    return shlex.quote(str(text))
