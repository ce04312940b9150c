"""Run the benches that were named, or all: every module here with a `run(quick)`."""

import argparse
import importlib
import pkgutil
import sys
import time
from pathlib import Path

import bench


def main() -> int:
    """Every bench prints its own table; returns 0."""
    names = [module.name for module in pkgutil.iter_modules(bench.__path__) if not module.name.startswith("_")]
    found = {name: module.run for name in names if hasattr(module := importlib.import_module(f"bench.{name}"), "run")}
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(found)}; default all")
    parser.add_argument("--quick", action="store_true", help="few samples, small sizes: shows that a bench works, measures nothing")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in found]
    if unknown:
        parser.error(f"no bench {', '.join(unknown)}; there are {', '.join(found)}")
    for name in given.names or found:
        began = time.monotonic()
        print(f"\n## {name} (load of the machine {Path('/proc/loadavg').read_text().split()[0]})", flush=True)
        found[name](quick=given.quick)
        print(f"({name} took {time.monotonic() - began:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
