"""`python -m flota.cli`: how `flota up -d` starts the Flota that stays."""

from flota.cli import main

if __name__ == "__main__":
    main()
