"""The `.flota/` folder: what Flota keeps on disk, owner-only, so that it finds everything again after any death.

Nothing here throws for a full disk or a read-only folder: such an operation returns a `Problem`, and what runs goes
on running.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from flota.fleet.problem import Problem

T = TypeVar("T")

FORMAT = 1
_MAGIC = "flota-document"
_LONGEST_SOCKET_NAME = 40
# sockaddr_un.sun_path holds 108 bytes with the closing zero (unix(7)); Envoy adds up to 30 of its own.
_SOCKET_PATH_LIMIT = 107 - 30


def local_problem(
    kind: str,
    name: str,
    reason: str,
    message: str,
    *,
    cluster: str | None = None,
    namespace: str = "",
    retry: bool = False,
) -> Problem:
    """A problem with something that runs or is kept on this machine. `kind` is Pod, Proxy, Gateway, State, …"""
    return Problem(cluster=cluster, kind=kind, namespace=namespace, name=name, reason=reason, message=message, retry=retry)


def disk_problem(what: str, path: Path, error: OSError) -> Problem:
    """The reason in words for an error of the file system; all of them may heal by themselves, so `retry` is true."""
    words = {
        errno.ENOSPC: ("DiskFull", "the disk is full: free some space"),
        errno.EDQUOT: ("DiskFull", "the disk quota is used up: free some space"),
        errno.EROFS: ("StateReadOnly", "the file system is read-only: make it writable or move the fleet folder"),
        errno.EACCES: ("StateReadOnly", "no permission: the folder must belong to you and be writable"),
        errno.EPERM: ("StateReadOnly", "no permission: the folder must belong to you and be writable"),
    }
    reason, advice = words.get(error.errno or 0, ("StateUnusable", error.strerror or str(error)))
    return local_problem("State", path.name, reason, f"cannot {what} {path}: {advice}", retry=True)


class Lock(NamedTuple):
    """The lock of the one running Flota of a folder; it is released when the descriptor is closed or the process
    dies.
    """

    descriptor: int

    def release(self) -> None:
        os.close(self.descriptor)


class StateFolder(NamedTuple):
    """The state of one fleet folder. Make it with `open_state`."""

    folder: Path
    """The fleet folder, resolved."""
    root: Path
    """`.flota` in it."""
    identity: str
    """Digest of the folder's path: sixteen hexadecimal digits, the fleet's name on this machine."""
    sockets: Path
    """Where sockets go: in `.flota`, or in a short folder under /tmp when the path is too long for a socket."""

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def processes(self) -> Path:
        return self.root / "processes"

    @property
    def exits(self) -> Path:
        return self.root / "exits"

    @property
    def proxies(self) -> Path:
        return self.root / "proxies"

    def lock(self) -> Lock | Problem:
        """Become the one Flota of this folder, or say which process is. Held until released or death (flock(2))."""
        path = self.root / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            return disk_problem("write", path, error)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            message = f"Flota runs this folder already (pid {holder}): see `flota status`, or stop it with `flota down`"
            return local_problem("State", "lock", "AlreadyRunning", message)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            # A full disk must not keep Flota from running; only the pid in the other's message is lost.
            pass
        return Lock(descriptor)

    def holder(self) -> int | None:
        """The pid of the Flota that runs this folder, None when none does. Never keeps the lock."""
        try:
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            return int(text) if text.isdigit() else 0
        finally:
            os.close(descriptor)
        return None

    def save(self, name: str, value: object) -> Problem | None:
        """Keep a value under a name, atomically; readers see the old or the new one, whole."""
        body = msgspec.msgpack.encode(value)
        path = self._document(name)
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(path, self._header(name, body) + body)
        except OSError as error:
            return disk_problem("write", path, error)
        return None

    def load(self, name: str, type_: type[T]) -> T | Problem | None:
        """The value kept under a name; None when there is none; a problem when it must not be trusted.

        Reasons: Damaged (cut or changed), Foreign (of another folder, owner or program), NewerVersion (of a later
        Flota).
        """
        path = self._document(name)
        try:
            kept, mine = _read_private(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            return disk_problem("read", path, error)
        if not mine:
            return _distrust(name, path, "Foreign", "is not yours alone (owner or mode differ)")
        header, _, body = kept.partition(b"\n")
        fault = self._fault(name, header, body)
        if fault is not None:
            return _distrust(name, path, *fault)
        try:
            return msgspec.msgpack.decode(body, type=type_)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            return _distrust(name, path, "Damaged", f"does not fit this version of Flota ({error})")

    def remove(self, name: str) -> None:
        """Forget what is kept under a name."""
        self._document(name).unlink(missing_ok=True)

    def tidy(self) -> None:
        """After everything was stopped: leave nothing outside the fleet folder."""
        if self.sockets.parent != self.root:
            with contextlib.suppress(OSError):
                self.sockets.rmdir()

    def _document(self, name: str) -> Path:
        return self.root / "documents" / f"{name}.msgpack"

    def _header(self, name: str, body: bytes) -> bytes:
        return f"{_MAGIC} {FORMAT} {name} {self.identity} {hashlib.sha256(body).hexdigest()}\n".encode()

    def _fault(self, name: str, header: bytes, body: bytes) -> tuple[str, str] | None:
        parts = header.decode("utf-8", "replace").split(" ")
        if len(parts) < 2 or parts[0] != _MAGIC or not parts[1].isdigit():
            return "Damaged", "is not a document of Flota"
        if int(parts[1]) > FORMAT:
            return "NewerVersion", f"was written by a newer Flota (format {parts[1]}, known is {FORMAT})"
        if len(parts) != 5:
            return "Damaged", "has a broken header"
        if (parts[2], parts[3]) != (name, self.identity):
            return "Foreign", "belongs to another fleet folder or was renamed"
        if parts[4] != hashlib.sha256(body).hexdigest():
            return "Damaged", "does not match its digest"
        return None


def open_state(folder: Path, *, short_root: Path = Path("/tmp")) -> StateFolder | Problem:  # noqa: S108 - see socket_folder
    """Make or find the state folder of a fleet folder (0700 throughout)."""
    folder = folder.resolve()
    identity = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    root = folder / ".flota"
    try:
        for path in (root, root / "logs", root / "processes", root / "documents", root / "proxies", root / "exits"):
            private_folder(path)
        sockets = socket_folder(root / "run", short_root / f"flota-{os.getuid()}", identity)
    except OSError as error:
        return disk_problem("use", root, error)
    return StateFolder(folder, root, identity, sockets)


def socket_folder(preferred: Path, short: Path, identity: str) -> Path:
    """A 0700 folder whose sockets fit into a socket address.

    The short one is under /tmp, not under $XDG_RUNTIME_DIR: that is removed at logout, while proxies run on; and not
    under
    $TMPDIR, which the next shell may have set differently.
    """
    if len(os.fsencode(preferred)) + 1 + _LONGEST_SOCKET_NAME <= _SOCKET_PATH_LIMIT:
        private_folder(preferred)
        return preferred
    private_folder(short)
    chosen = short / identity
    private_folder(chosen)
    return chosen


def private_folder(path: Path) -> None:
    """Make a folder 0700, or make sure that the one there is a real folder of ours. Raises OSError."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise PermissionError(errno.EPERM, "not a folder of yours", str(path)) from None
        if stat.S_IMODE(found.st_mode) != 0o700:
            path.chmod(0o700)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file atomically, 0600. Raises OSError; then the old file is still there, whole."""
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        staged.replace(path)
    except OSError:
        staged.unlink(missing_ok=True)
        raise


def _read_private(path: Path) -> tuple[bytes, bool]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        mine = stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
        return (file.read() if mine else b""), mine


def _distrust(name: str, path: Path, reason: str, why: str) -> Problem:
    return local_problem("State", name, reason, f"{path} {why}; it is not used and will be rebuilt")
