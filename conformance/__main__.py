"""`python -m conformance`: a fresh cluster, Flota in it, the official suite, and its score as the last line.

Exit code 0 only when every test passed, the suite's own report agrees, and a run against a class that nobody serves failed.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import yaml

from conformance.install import CLASS, install
from conformance.score import Score, disagreements, score
from conformance.suite import SUITE, catalogue, events, flags, run
from rig.build import Say, UnavailableError, built
from rig.harness import Rig, running

_FOLDER = Path("build/conformance")
_NOBODY = "nobody-serves-this"
_GUARD_TIMEOUTS = "GWCMustBeAccepted:5"
_COUNTING = "HTTPRouteWeight GRPCRouteWeight TCPRouteWeightedRouting UDPRouteWeightedRouting HTTPRouteRequestPercentageMirror"
_FAST_SKIPS = tuple(_COUNTING.split())
"""Those that send hundreds of requests to see a share."""
_WAITS = {
    10: "MaxTimeToConsistency GatewayStatusMustHaveListeners GatewayListenersMustHaveConditions ListenerSetMustHaveCondition "
    "ListenerSetListenersMustHaveConditions HTTPRouteMustHaveCondition HTTPRouteMustNotHaveParents TLSRouteMustHaveCondition "
    "TCPRouteMustHaveCondition UDPRouteMustHaveCondition RouteMustHaveParents LatestObservedGenerationSet",
    15: "GatewayMustHaveAddress GatewayMustHaveCondition",
    20: "DefaultTestTimeout",
}
_FAST_TIMEOUTS = ";".join(f"{name}:{seconds}" for seconds, names in _WAITS.items() for name in names.split())


def main() -> int:
    """See the module."""
    given = _arguments().parse_args()
    try:
        return _run(given)
    except UnavailableError as error:
        print(f"the suite can't run here: {error}", file=sys.stderr)
        return 1


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument(
        "--fast", action="store_true", help="without the tests that count shares, and with shorter time-outs: within 10 minutes"
    )
    parser.add_argument("--test", action="append", default=[], metavar="NAME", help="only this test; repeatable (for working on it)")
    parser.add_argument("--nobody", action="store_true", help="only the run that must fail")
    return parser


def say(line: str) -> None:
    """Progress."""
    print(line, flush=True)


def _run(given: argparse.Namespace) -> int:
    folder = _FOLDER.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    program = built(SUITE, say)
    with running("conformance", nodes=2) as rig:
        guarded = bool(given.test) or _guard(program, rig, folder, say)
        if given.nobody:
            return 0 if guarded else 1
        install(rig, say)
        if given.test:
            return max(_one(program, rig, folder, name) for name in given.test)
        whole = _judged(program, rig, folder, fast=given.fast)
    return 0 if whole and guarded else 1


def _judged(program: Path, rig: Rig, folder: Path, *, fast: bool) -> bool:
    """The run that counts."""
    output, report = folder / "gateway.json", folder / "report.yaml"
    report.unlink(missing_ok=True)
    more: Sequence[str] = ()
    if fast:
        more = (f"--skip-tests={','.join(_FAST_SKIPS)}", f"--timeout-config-overrides={_FAST_TIMEOUTS}")
    began = time.monotonic()
    code = run(program, rig, output, flags(CLASS, report, version("flota"), more), "9m" if fast else "90m", say)
    found = score(events(output), catalogue(program, folder))
    for line in _table(found):
        say(line)
    differs = disagreements(found, yaml.safe_load(report.read_text())) if report.exists() else ["the suite wrote no report"]
    for line in differs:
        say(line)
    say(f"took {time.monotonic() - began:.0f} s; raw events in {output}, the suite's own report in {report}")
    if not fast:
        say(found.line)
        return found.whole and code == 0 and not differs
    left = [name for name, outcome in found.tests.items() if outcome != "passed" and name not in _FAST_SKIPS]
    say(f"{found.line}, {len(_FAST_SKIPS)} were left out")
    return not left and code == 0 and not differs


def _table(found: Score) -> list[str]:
    """Per profile and level, and what did not pass."""
    lines = [f"{'profile':14} {'core':>12} {'extended':>12}"]
    for name, levels in found.profiles.items():
        cells = (f"{tally.passed} of {tally.total}" for tally in levels.values())
        lines.append(f"{name:14} " + " ".join(f"{cell:>12}" for cell in cells))
    return [*lines, *(f"{outcome:8} {name}" for name, outcome in sorted(found.tests.items()) if outcome != "passed")]


def _one(program: Path, rig: Rig, folder: Path, name: str) -> int:
    """A single test, its output shown."""
    output = folder / f"{name}.json"
    code = run(program, rig, output, (*flags(CLASS, None, version("flota")), f"--run-test={name}"), "20m", lambda _: None)
    for event in events(output):
        if event.get("Action") == "output":
            print(event["Output"], end="")
    return code


def _guard(program: Path, rig: Rig, folder: Path, tell: Say) -> bool:
    """Whether a run against a class that nobody serves fails, as it must."""
    output = folder / "nobody.json"
    more = ("--all-features", f"--timeout-config-overrides={_GUARD_TIMEOUTS}")
    code = run(program, rig, output, flags(_NOBODY, None, version("flota"), more), "5m", tell)
    found = score(events(output), catalogue(program, folder))
    failed = code != 0 and not found.whole and found.passed == 0
    tell(f"against a class that nobody serves: {found.line}{'' if failed else ': THIS MUST FAIL'}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
