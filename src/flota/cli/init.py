"""`flota init`: a working two-region fleet to start from."""

from importlib import resources
from pathlib import Path

from flota.cli.failure import Failure

REGIONS = {"us": "us-east", "eu": "eu-west"}
"""Cluster → region of the example."""


def write_example(folder: Path) -> tuple[Path, ...]:
    """Write the example into a new or empty folder and return its files. Raises Failure."""
    if folder.exists() and not folder.is_dir():
        raise Failure(f"{folder} is a file; name a new or an empty folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise Failure(f"{folder} is not empty; name a new or an empty folder, so that nothing of yours is changed")
    written = []
    try:
        for name, text in _files().items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            written.append(path)
    except OSError as error:
        raise Failure(f"cannot write {error.filename}: {error.strerror}") from error
    return tuple(written)


def _files() -> dict[str, str]:
    example = resources.files("flota.cli") / "example"
    read = {name: (example / name).read_text() for name in ("fleet.yaml", "shop.py", "gateway.yaml", "shop.yaml")}
    files = {"fleet.yaml": read["fleet.yaml"], "shop.py": read["shop.py"]}
    for cluster, region in REGIONS.items():
        files[f"{cluster}/gateway.yaml"] = read["gateway.yaml"]
        files[f"{cluster}/shop.yaml"] = read["shop.yaml"].replace("@REGION@", region)
    return files


def next_steps(folder: Path) -> str:
    """What to do with the example."""
    there = f"  cd {folder}\n" if folder.resolve() != Path.cwd() else ""
    return f"""Wrote a fleet of two regions to {folder}: fleet.yaml, us/, eu/ and shop.py.

Next:
{there}  flota up                start it, with a live table (-d: in the background)
  flota status            its state; the ADDRESSES of the Gateways answer on port 8080
  flota whatif --lose us  what would happen if cluster us were lost
  flota down              stop everything

Change any file while it runs: it is live at once. `flota check` tells every mistake with file and line."""
