"""Reading commands: the running Flota answers; without one, the folder itself does. Clusters are read themselves."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from flota.cli import client
from flota.cli.failure import Failure
from flota.cli.options import Contexts
from flota.cli.output import note
from flota.report.failed import Failed
from flota.report.view import View

T = TypeVar("T", bound=msgspec.Struct)


def ask(place: Path | Contexts, path: str, query: client.Query, offline: Callable[[View], T | Failed]) -> tuple[bytes, bool]:
    """The report as JSON, and whether a running Flota gave it. Raises Failure."""
    if isinstance(place, Contexts):
        view = view_of(place)
        for each in view.unseen():
            note(f"not seen: {each}")
        return _answer(offline(view)), False
    try:
        return client.get(place, path, query).body, True
    except client.NotRunning:
        return _answer(offline(view_of(place))), False


def view_of(place: Path | Contexts) -> View:
    """A folder with nothing started, or clusters as they are. Raises Failure."""
    if not isinstance(place, Contexts):
        from flota.app.folder import view_of_folder

        return view_of_folder(place)
    from flota.app.contexts import view_of_contexts
    from flota.kube.kubeconfig import KubeconfigError

    try:
        return view_of_contexts(place.names, os.environ)
    except KubeconfigError as error:
        raise Failure(str(error), 2) from None


def _answer(report: T | Failed) -> bytes:
    if isinstance(report, Failed):
        raise Failure(report.message, report.code) from None
    return msgspec.json.encode(report)
