"""The commands, their arguments and their exit codes: 0 = done, 1 = no, 2 = asked wrongly. What they do is in the modules beside."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from flota.cli.failure import Failure
from flota.cli.options import ContextOption, FolderOption, Output, OutputOption, Where, chosen, fleet
from flota.cli.output import emit, note, write

app = typer.Typer(
    name="flota",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="One control plane for applications that run in several Kubernetes clusters.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run() -> None:
    """Run the command of this process; errors are one line on stderr."""
    try:
        app()
    except Failure as failure:
        note(f"error: {failure.message}")
        sys.exit(failure.code)
    except BrokenPipeError:
        # The reader of our output has seen enough (`flota status | head`).
        sys.stderr.close()
        sys.exit(1)


@app.callback()
def main(ctx: typer.Context, folder: FolderOption = None, context: ContextOption = None) -> None:
    """Remember what is said before the command."""
    ctx.obj = Where(folder, tuple(context or ()))


@app.command()
def init(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or an empty folder.")],
    folder: FolderOption = None,
    context: ContextOption = None,
) -> None:
    """Write a working two-region example to start from."""
    from flota.cli.init import next_steps, write_example

    target = chosen(ctx, folder, context) / directory
    write_example(target)
    write(next_steps(target))


@app.command()
def up(
    ctx: typer.Context,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Stay in the background; return when it serves.")] = False,
    timeout: Annotated[str, typer.Option(help="How long -d waits until everything is in effect.")] = "60s",
    folder: FolderOption = None,
    context: ContextOption = None,
) -> None:
    """Start the fleet, with a live table in front or in the background."""
    from flota.cli import up as it
    from flota.cli.durations import seconds

    where, limit = fleet(ctx, folder, context), seconds(timeout, "--timeout")
    it.refuse_second(where)
    if not detach:
        from flota.cli.front import run_in_front

        raise typer.Exit(run_in_front(where))
    raise typer.Exit(it.up_detached(where, limit))


@app.command(name="run", hidden=True)
def run_quietly(ctx: typer.Context, folder: FolderOption = None, context: ContextOption = None) -> None:
    """What `up -d` leaves in the background."""
    from flota.cli.front import run_quiet

    raise typer.Exit(run_quiet(fleet(ctx, folder, context)))


@app.command()
def down(
    ctx: typer.Context,
    timeout: Annotated[str, typer.Option(help="How long everything may take to stop.")] = "60s",
    folder: FolderOption = None,
    context: ContextOption = None,
) -> None:
    """Stop everything that was started here, in good order."""
    from flota.cli import up as it
    from flota.cli.durations import seconds

    where = chosen(ctx, folder, context).resolve()
    stopped = it.down(where, seconds(timeout, "--timeout"))
    write("stopped " + ", ".join(stopped) if stopped else f"nothing runs in {where}")


@app.command()
def status(
    ctx: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay, and show what changes.")] = False,
    output: OutputOption = Output.TABLE,
    folder: FolderOption = None,
    context: ContextOption = None,
) -> None:
    """Clusters, gateways, routes, services with their endpoints, drains and problems, as they are now."""
    from flota.cli.status import show_status, watch_status

    where = fleet(ctx, folder, context)
    raise typer.Exit(watch_status(where, output) if watch else show_status(where, output))


@app.command()
def logs(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Part of a log's name.")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Stay, and print what is added.")] = False,
    tail: Annotated[int, typer.Option("--tail", min=0, help="How many of the last lines of each.")] = 100,
    folder: FolderOption = None,
    context: ContextOption = None,
) -> None:
    """Logs of Flota, the proxies (access logs too) and the pods."""
    from flota.cli.logs import show

    show(chosen(ctx, folder, context).resolve(), name, tail, follow=follow)


@app.command()
def serve(context: ContextOption = None) -> None:
    """The control plane inside a Kubernetes cluster."""
    named = f" for {context[0]}" if context else ""
    raise Failure(f"`flota serve`{named} needs the Kubernetes engine, which comes later; run a folder with `flota up`", 2)


@app.command()
def version(output: OutputOption = Output.TABLE) -> None:
    """Versions of Flota and of the engines it drives."""
    import msgspec

    from flota.cli.version import Version, versions

    emit(msgspec.json.encode(versions()), Version, output, lambda it, _: "\n".join(it.lines()))
