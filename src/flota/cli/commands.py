"""The commands, their arguments and their exit codes: 0 = done, 1 = no, 2 = asked wrongly. What they do is in the modules beside."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flota.cli.failure import Failure
from flota.cli.options import (
    CURRENT,
    ContextOption,
    FolderOption,
    Output,
    OutputOption,
    Rendered,
    Shell,
    Where,
    chosen,
    fleet,
    is_plugin,
    place,
)
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
    if "_FLOTA_COMPLETE" in os.environ:
        from flota.cli.completion import prepare

        prepare()
    try:
        app(prog_name="kubectl flota" if is_plugin() else "flota")
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
    current = (CURRENT,) if is_plugin() and folder is None else ()
    ctx.obj = Where(folder, tuple(context or current))


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

    raise typer.Exit(run_quiet(fleet(ctx, folder, context), tell=True))


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

    where = place(ctx, folder, context)
    raise typer.Exit(watch_status(where, output) if watch else show_status(where, output))


@app.command()
def check(ctx: typer.Context, output: OutputOption = Output.TABLE, folder: FolderOption = None, context: ContextOption = None) -> None:
    """Every problem, with file and line; exit 1 if any object would be refused, or could not be read."""
    from flota.cli.ask import check_place

    raise typer.Exit(check_place(place(ctx, folder, context), output))


@app.command()
def explain(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="request|KIND/NAME", help="A request, or an object such as httproute/shop.")],
    url: Annotated[str | None, typer.Argument(metavar="[URL]", help="Of the request.", show_default=False)] = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="CLUSTER", help="The cluster whose Gateway is asked.", show_default=False)
    ] = None,
    gateway: Annotated[str | None, typer.Option(metavar="NS/NAME", help="Which of its Gateways.", show_default=False)] = None,
    method: Annotated[str, typer.Option("--method", "-X", help="Of the request.")] = "GET",
    header: Annotated[
        list[str] | None, typer.Option("-H", "--header", metavar="'NAME: VALUE'", help="Of the request (repeatable).")
    ] = None,
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Of the object.")] = "default",
    cluster: Annotated[str | None, typer.Option(help="Of the object; by default all that have it.", show_default=False)] = None,
    output: OutputOption = Output.TABLE,
    folder: FolderOption = None,
    context: ContextOption = None,
) -> None:
    """What happens to a request, or what was decided about an object, and why."""
    from flota.cli.explain import Question, explain_any

    asked = Question(what, url, source, gateway, method, tuple(header or ()), namespace, cluster)
    raise typer.Exit(explain_any(place(ctx, folder, context), asked, output))


@app.command()
def whatif(
    ctx: typer.Context,
    lose: Annotated[list[str] | None, typer.Option(metavar="PLACE", help="A region, cluster or zone that dies.")] = None,
    drained: Annotated[list[str] | None, typer.Option("--drain", metavar="PLACE", help="One that is drained.")] = None,
    output: OutputOption = Output.TABLE,
    folder: FolderOption = None,
    context: ContextOption = None,
) -> None:
    """What would happen to each service, before it does."""
    from flota.cli.ask import what_would

    raise typer.Exit(what_would(place(ctx, folder, context), lose or [], drained or [], output))


@app.command()
def drain(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="CLUSTER|REGION|ZONE", help="Where traffic goes away from.")],
    duration: Annotated[str, typer.Option("--for", metavar="30m", help="How long; then it ends by itself.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if a service would be left with nothing.")] = False,
    output: OutputOption = Output.TABLE,
    folder: FolderOption = None,
    context: ContextOption = None,
) -> None:
    """Move traffic away from a place, and only traffic, for a while."""
    from flota.cli.ask import drain as begin
    from flota.cli.durations import seconds

    where, limit = fleet(ctx, folder, context), seconds(duration, "--for")
    raise typer.Exit(begin(where, target, limit, output, dry_run=dry_run, force=force))


@app.command()
def undrain(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="As it was drained.")],
    output: OutputOption = Output.TABLE,
    folder: FolderOption = None,
    context: ContextOption = None,
) -> None:
    """End a drain."""
    from flota.cli.ask import undrain as end

    raise typer.Exit(end(fleet(ctx, folder, context), target, output))


@app.command()
def render(
    ctx: typer.Context,
    what: Annotated[Rendered, typer.Option("--as", help="What to print.")] = Rendered.ENVOY,
    cluster: Annotated[str | None, typer.Option(help="One cluster only.", show_default=False)] = None,
    output: OutputOption = Output.YAML,
    folder: FolderOption = None,
    context: ContextOption = None,
) -> None:
    """The exact Envoy resources or Kubernetes objects, with nothing started."""
    from flota.cli.ask import render as print_rendered

    raise typer.Exit(print_rendered(fleet(ctx, folder, context), cluster, what.value, output))


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
def serve(
    ctx: typer.Context,
    namespace: Annotated[
        str | None, typer.Option("-n", "--namespace", help="Where Flota keeps its own objects; by default that of its pod.")
    ] = None,
    context: ContextOption = None,
) -> None:
    """Be the control plane of a Kubernetes cluster: this one, or that of --context."""
    from flota.cli.serve import run_serve

    before = ctx.find_object(Where) or Where(None, ())
    raise typer.Exit(run_serve((*before.contexts, *(context or ())), namespace))


@app.command()
def version(output: OutputOption = Output.TABLE) -> None:
    """Versions of Flota and of the engines it drives."""
    import msgspec

    from flota.cli.version import versions
    from flota.report.version import Version

    emit(msgspec.json.encode(versions()), Version, output, lambda it, _: "\n".join(it.lines()))


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=1, help="How long the load runs; 20 at least.")] = 30,
) -> None:
    """Two regions under load, one killed, hung and brought back: the guided first minute. Leaves nothing behind."""
    from flota.cli.demo.run import demo as play

    raise typer.Exit(play(seconds))


@app.command()
def schema(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Of a manifest or a report, such as TrafficPolicy or FleetStatus.")],
) -> None:
    """JSON Schema of a kind."""
    import msgspec

    from flota.cli.schema import schema as schema_of_kind

    write(msgspec.json.format(msgspec.json.encode(schema_of_kind(kind)), indent=2).decode())


@app.command()
def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> None:
    """A script that completes commands, e.g. `source <(flota completion bash)`."""
    from flota.cli.completion import script

    write(script(shell.value))
