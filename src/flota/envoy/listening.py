"""A unix socket at a fixed path: owner-only from its first moment, taking over from the dead but not from the living."""

import errno
import os
import socket
from pathlib import Path

# sizeof(sockaddr_un.sun_path) less the final zero.
_MAX_PATH = 107


def bind(path: Path) -> socket.socket:
    """A listening-ready socket at `path`, mode 0600. A stale socket file is replaced in one step.

    Raises OSError: EADDRINUSE if a live server listens there, ENAMETOOLONG, or what the file system says.
    """
    temporary = path.with_name(f".{path.name[:8]}.{os.getpid()}")
    for one in (path, temporary):
        if len(os.fsencode(one)) > _MAX_PATH:
            raise OSError(errno.ENAMETOOLONG, f"a socket's path may have {_MAX_PATH} bytes", str(one))
    if path.is_socket() and _alive(path):
        raise OSError(errno.EADDRINUSE, "another server is listening there", str(path))
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        temporary.unlink(missing_ok=True)
        listening.bind(str(temporary))
        temporary.chmod(0o600)
        listening.listen(100)
        temporary.replace(path)  # only now can anyone connect, and never to a socket that doesn't listen yet
    except OSError:
        listening.close()
        temporary.unlink(missing_ok=True)
        raise
    return listening


def release(path: Path, listening: socket.socket) -> None:
    """Close the socket and remove its file, unless another server has taken the path over meanwhile."""
    listening.close()
    if path.is_socket() and not _alive(path):
        path.unlink(missing_ok=True)


def _alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # its queue is full: somebody owns it
            return True
        except OSError:
            return False
        return True
