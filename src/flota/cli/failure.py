"""How a command ends when it can't do what was asked: one line that says what, why and how to mend it."""

from typing import NoReturn

import typer


class Failure(Exception):  # noqa: N818 - the command failed, the program did not
    """Ends the command: `message` goes to stderr, `code` to the shell (1 = no, 2 = asked wrongly)."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


def stop(message: str, code: int = 1) -> NoReturn:
    """Print one error and end."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)
