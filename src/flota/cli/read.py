"""Reading commands: the running Flota answers; without one, the folder itself does."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from flota.cli import client
from flota.cli.failure import Failure
from flota.report.failed import Failed
from flota.report.view import View

T = TypeVar("T", bound=msgspec.Struct)


def ask(folder: Path, path: str, query: client.Query, offline: Callable[[View], T | Failed]) -> tuple[bytes, bool]:
    """The report as JSON, and whether a running Flota gave it. Raises Failure."""
    try:
        return client.get(folder, path, query).body, True
    except client.NotRunning:
        from flota.app.folder import view_of_folder

        report = offline(view_of_folder(folder))
        if isinstance(report, Failed):
            raise Failure(report.message, report.code) from None
        return msgspec.json.encode(report), False
