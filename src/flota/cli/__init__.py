"""The commands people type."""


def main() -> None:
    """Entry point of the `flota` command."""
    from flota.cli.commands import run

    run()
