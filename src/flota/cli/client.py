"""Talking to the Flota that runs a folder: HTTP over its unix socket, with nothing but the standard library."""

import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from flota.cli.failure import Failure
from flota.cli.place import sockets

Query = Mapping[str, str | Sequence[str] | None]


class NotRunning(Exception):  # noqa: N818 - a state, not a mistake
    """No Flota answers for this folder."""


class Answer(msgspec.Struct, frozen=True):
    """What Flota said: HTTP status and body (JSON unless the path says otherwise)."""

    status: int
    body: bytes


def get(folder: Path, path: str, query: Query | None = None, *, timeout: float = 10) -> Answer:
    """GET from the Flota of a folder. Raises NotRunning; Failure when it answers with an error or not at all."""
    given = {key: value for key, value in (query or {}).items() if value is not None}
    return _ask(folder, "GET", f"{path}?{urlencode(given, doseq=True)}" if given else path, None, timeout)


def post(folder: Path, path: str, body: object = None, *, timeout: float = 10) -> Answer:
    """POST to the Flota of a folder. Raises as `get`; an answer 409 (refused with a reason) is returned, not raised."""
    return _ask(folder, "POST", path, json.dumps(body or {}).encode(), timeout)


def _ask(folder: Path, method: str, target: str, body: bytes | None, timeout: float) -> Answer:
    for each in sockets(folder):
        try:
            connection = _connected(os.fspath(each), timeout)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            continue
        except PermissionError as error:
            raise Failure(f"the Flota of {folder} belongs to another user ({error.strerror})") from error
        except TimeoutError as error:
            raise _silent(folder, timeout, str(error)) from error
        # Loaded only where somebody answers: HTTP costs more than the rest of a command.
        from flota.cli.exchange import exchange

        answer = exchange(connection, method, target, body)
        if isinstance(answer, str):
            raise _silent(folder, timeout, answer)
        return _checked(Answer(*answer))
    raise NotRunning


def _connected(path: str, timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        # The path is too long for a socket address, so nothing can listen there (unix(7)).
        raise ConnectionRefusedError(str(error)) if "too long" in str(error) else error from None
    return connection


def _silent(folder: Path, timeout: float, why: str) -> Failure:
    return Failure(f"the Flota of {folder} does not answer within {timeout:g} s ({why}); look at `flota logs flota`")


def _checked(answer: Answer) -> Answer:
    if answer.status < 400 or answer.status == 409:
        return answer
    try:
        said = msgspec.json.decode(answer.body, type=dict[str, object])
    except msgspec.DecodeError:
        said = {}
    message = said.get("message") or answer.body.decode("utf-8", "replace").strip() or f"HTTP {answer.status}"
    raise Failure(str(message), 2 if answer.status == 400 else 1)
