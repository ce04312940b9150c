"""The options that commands share."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from flota.cli.failure import Failure
from flota.cli.place import fleet_folder


class Output(StrEnum):
    """How an answer is printed. `table` is for people; `wide` has more columns."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


class Rendered(StrEnum):
    """What `flota render` prints."""

    ENVOY = "envoy"
    OBJECTS = "objects"


class Shell(StrEnum):
    """Shells that can complete commands."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


FolderOption = Annotated[
    Path | None, typer.Option("-C", metavar="DIR", help="The fleet's folder; by default the current one.", show_default=False)
]
ContextOption = Annotated[
    list[str] | None, typer.Option("--context", metavar="NAME", help="A Kubernetes cluster (repeatable).", show_default=False)
]
OutputOption = Annotated[Output, typer.Option("-o", "--output", help="How to print the answer.")]


class Where(NamedTuple):
    """What was said before the command."""

    folder: Path | None
    contexts: tuple[str, ...]


CURRENT = ""
"""In place of a context's name: the current one."""


def is_plugin() -> bool:
    """Whether we were started as `kubectl flota`, which means the current context where nothing else is said."""
    return Path(sys.argv[0]).name == "kubectl-flota"


class Contexts(NamedTuple):
    """Clusters to read, by their kubeconfig contexts."""

    names: tuple[str, ...]


def place(ctx: typer.Context, folder: Path | None, contexts: list[str] | None) -> Path | Contexts:
    """What to read: the folder of a fleet, or clusters. Raises Failure when there is no fleet, or when both are named."""
    before = ctx.find_object(Where) or Where(None, ())
    named = _named(before, folder, contexts)
    if not named:
        return fleet(ctx, folder, contexts)
    if folder or before.folder:
        raise Failure("name a folder (-C) or clusters (--context), not both", 2)
    return Contexts(named)


def _named(before: Where, folder: Path | None, contexts: list[str] | None) -> tuple[str, ...]:
    """The contexts that were named; the current one only where nothing was."""
    said = (*before.contexts, *(contexts or ()))
    named = tuple(each for each in said if each != CURRENT)
    return named or (said if folder is None else ())


def chosen(ctx: typer.Context, folder: Path | None, contexts: list[str] | None) -> Path:
    """The folder to work in, existing or not; what is said after the command counts more. Raises Failure for --context."""
    before = ctx.find_object(Where) or Where(None, ())
    named = _named(before, folder, contexts)
    if named:
        said = "clusters are only read (status, check, explain, whatif) or served (serve); this needs a folder: -C DIR"
        raise Failure(f"--context {named[0] or '(the current one)'}: {said}", 2)
    return folder or before.folder or Path()


def fleet(ctx: typer.Context, folder: Path | None, contexts: list[str] | None) -> Path:
    """The folder of the fleet. Raises Failure when there is no fleet in it."""
    return fleet_folder(chosen(ctx, folder, contexts))
