"""The suite as a program: built once, asked what it holds, run inside a rig."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from conformance.score import PROFILES, ROOT, Catalogue
from rig.build import Program, Say, UnavailableError
from rig.harness import Rig

SUITE = Program("gateway.test", Path(__file__).parent, ".", 1.5, test=True)

USABLE, UNUSABLE = "127.88.0.200", "192.0.2.1"
"""For GatewayStaticAddresses: one that the rig's balancer gives to who asks, and one of TEST-NET-1 (RFC 5737)."""


def catalogue(program: Path, folder: Path) -> Catalogue:
    """What the suite holds. Raises UnavailableError."""
    file = folder / "catalogue.json"
    ended = subprocess.run(
        [str(program), "-test.run", "^TestCatalogue$"],
        env={**os.environ, "CATALOGUE": str(file)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise UnavailableError(f"the suite does not say what it holds: {ended.stdout[-500:]}")
    return msgspec.json.decode(file.read_bytes(), type=Catalogue)


def flags(class_name: str, report: Path | None, version: str, more: Sequence[str] = ()) -> tuple[str, ...]:
    """Of a run. No features are named, so the suite takes them from the GatewayClass; no time-out is changed, nothing is skipped."""
    told = (f"--gateway-class={class_name}", f"--conformance-profiles={','.join(PROFILES)}")
    addresses = (f"--usable-address={USABLE}", f"--unusable-address={UNUSABLE}")
    whom = ("--organization=flota", "--project=flota", "--url=https://flota.dev", f"--version={version}", "--contact=flota.dev/contact")
    return (*told, *addresses, *whom, *((f"--report-output={report}",) if report else ()), *more)


def run(program: Path, rig: Rig, output: Path, given: Sequence[str], limit: str, say: Say) -> int:
    """Run the suite in a rig's network; its raw events go to `output`. The exit code of the suite is returned."""
    # test2json is what `go test -json` itself puts around a test program.
    command = ["go", "tool", "test2json", "-t", "-p", "flota.dev/conformance", str(program), "-test.v=test2json"]
    command += [f"-test.run=^{ROOT}$", f"-test.timeout={limit}", *given]
    env = {**os.environ, "KUBECONFIG": str(rig.kubeconfig), "GOFLAGS": "-buildvcs=false"}
    output.parent.mkdir(parents=True, exist_ok=True)
    with (
        output.open("wb") as file,
        subprocess.Popen(rig.inside(*command), env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=SUITE.folder) as running,
    ):
        began = time.monotonic()
        for line in running.stdout or ():
            file.write(line)
            _tell(line, time.monotonic() - began, say)
    return running.returncode


def _tell(line: bytes, elapsed: float, say: Say) -> None:
    """A line for each test that has ended."""
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return
    name, action = event.get("Test", ""), event.get("Action", "")
    if action in ("pass", "fail", "skip") and name.count("/") == 1:
        say(f"{elapsed:6.0f} s  {action:4}  {name.removeprefix(f'{ROOT}/')} ({event.get('Elapsed', 0):.1f} s)")


def events(path: Path) -> Iterator[Mapping[str, Any]]:
    """The events of a run, from its raw file."""
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)
