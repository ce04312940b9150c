"""`flota completion`: what a shell needs to complete our commands."""

from typer.completion import completion_init, get_completion_script  # type: ignore[attr-defined]  # typer's own completion of a command


def script(shell: str) -> str:
    """To be sourced by the shell; it asks `flota` itself, so it never gets old."""
    made: str = get_completion_script(prog_name="flota", complete_var="_FLOTA_COMPLETE", shell=shell)
    return made


def prepare() -> None:
    """Let the command line answer a shell that asks for completions."""
    completion_init()
