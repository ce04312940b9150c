"""The options that commands share."""

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


class Contexts(NamedTuple):
    """Clusters to read, by their kubeconfig contexts."""

    names: tuple[str, ...]


def place(ctx: typer.Context, folder: Path | None, contexts: list[str] | None) -> Path | Contexts:
    """What to read: the folder of a fleet, or clusters. Raises Failure when there is no fleet, or when both are named."""
    before = ctx.find_object(Where) or Where(None, ())
    named = (*before.contexts, *(contexts or ()))
    if not named:
        return fleet(ctx, folder, contexts)
    if folder or before.folder:
        raise Failure("name a folder (-C) or clusters (--context), not both", 2)
    return Contexts(named)


def chosen(ctx: typer.Context, folder: Path | None, contexts: list[str] | None) -> Path:
    """The folder to work in, existing or not; what is said after the command counts more. Raises Failure for --context."""
    before = ctx.find_object(Where) or Where(None, ())
    named = (*before.contexts, *(contexts or ()))
    if named:
        said = "clusters are only read (status, check, explain, whatif) or served (serve); this needs a folder: -C DIR"
        raise Failure(f"--context {named[0]}: {said}", 2)
    return folder or before.folder or Path()


def fleet(ctx: typer.Context, folder: Path | None, contexts: list[str] | None) -> Path:
    """The folder of the fleet. Raises Failure when there is no fleet in it."""
    return fleet_folder(chosen(ctx, folder, contexts))
