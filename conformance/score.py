"""From the events of `go test -json` to results. Pure.

Each test counts once for every profile that has all of its features, as the suite's own report counts (GEP-1709); but whether it passed is
read from what the test itself said when it ended, never from the report.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct

Outcome = Literal["passed", "failed", "skipped", "missing"]
"""`missing`: it never ended, or never ran."""

PROFILES = ("GATEWAY-HTTP", "GATEWAY-GRPC", "GATEWAY-TLS", "GATEWAY-TCP", "GATEWAY-UDP")
"""What a gateway can pass; the mesh profiles need a data path inside pods."""
ROOT = "TestGateway"
_MESH = "Mesh"
_OUTCOMES: Mapping[str, Outcome] = {"pass": "passed", "fail": "failed", "skip": "skipped"}


class SuiteTest(Struct, frozen=True):
    """A test of the suite."""

    name: str
    features: tuple[str, ...]
    provisional: bool = False


class Profile(Struct, frozen=True):
    """A conformance profile of the suite."""

    name: str
    core: frozenset[str]
    extended: frozenset[str]

    def level(self, test: SuiteTest) -> Literal["core", "extended"] | None:
        """At which level a test counts for this profile; None when it does not."""
        wanted = set(test.features)
        if not wanted <= self.core | self.extended:
            return None
        return "core" if wanted <= self.core else "extended"


class Catalogue(Struct, frozen=True):
    """What the suite holds, as it says itself."""

    tests: tuple[SuiteTest, ...]
    profiles: tuple[Profile, ...]


class Tally(Struct, frozen=True):
    """Of one profile at one level."""

    passed: int
    failed: int
    skipped: int
    missing: int

    @property
    def total(self) -> int:
        return self.passed + self.failed + self.skipped + self.missing


class Score(Struct, frozen=True):
    """What a run is worth."""

    tests: Mapping[str, Outcome]
    """Every gateway test of the suite."""
    seconds: Mapping[str, float]
    """How long each took that ended."""
    profiles: Mapping[str, Mapping[str, Tally]]
    """Profile → level → tally."""
    ended: bool
    """The run as a whole passed: the suite's set-up and clean-up too."""

    @property
    def results(self) -> tuple[int, int]:
        """(passed, all) over the profiles."""
        tallies = [tally for levels in self.profiles.values() for tally in levels.values()]
        return sum(each.passed for each in tallies), sum(each.total for each in tallies)

    @property
    def passed(self) -> int:
        """How many tests passed."""
        return sum(outcome == "passed" for outcome in self.tests.values())

    @property
    def whole(self) -> bool:
        """Everything passed."""
        return self.ended and self.passed == len(self.tests) > 0

    @property
    def line(self) -> str:
        """The last line of a run."""
        passed, total = self.results
        return f"{passed} of {total} results, {self.passed} of {len(self.tests)} tests passed"


def score(events: Iterable[Mapping[str, Any]], catalogue: Catalogue) -> Score:
    """`events` are those of test2json. A test that ended twice counts with the worse end; with a part skipped it has not passed."""
    ends: dict[str, set[Outcome]] = {}
    seconds: dict[str, float] = {}
    for event in events:
        outcome = _OUTCOMES.get(event.get("Action", ""))
        name = event.get("Test", "")
        if outcome is None or name.partition("/")[0] != ROOT:
            continue
        top = name.removeprefix(ROOT).removeprefix("/").partition("/")[0]
        part = name != f"{ROOT}/{top}" and name != ROOT
        # The end of a part says nothing that the test's own end does not, unless it was skipped.
        if not part or outcome == "skipped":
            ends.setdefault(top, set()).add(outcome)
        if not part:
            seconds[top] = seconds.get(top, 0.0) + event.get("Elapsed", 0.0)
    tests = {test.name: _worst(ends.get(test.name, set())) for test in catalogue.tests if _MESH not in test.features}
    profiles = {profile.name: _tallies(profile, catalogue.tests, tests) for profile in catalogue.profiles if profile.name in PROFILES}
    own = ends.get("", set())
    return Score(tests, {name: took for name, took in seconds.items() if name in tests}, profiles, own == {"passed"})


def disagreements(score: Score, report: Mapping[str, Any]) -> list[str]:
    """Where the suite's own report (the document of --report-output) says something else."""
    said = {profile["name"]: profile for profile in report.get("profiles") or ()}
    found = [f"{name}: in the report, but not scored" for name in said if name not in score.profiles]
    for name, levels in score.profiles.items():
        for level, tally in levels.items():
            statistics = ((said.get(name) or {}).get(level) or {}).get("statistics") or {}
            claimed = (statistics.get("Passed", 0), statistics.get("Failed", 0))
            if claimed != (tally.passed, tally.failed):
                counted = f"{tally.passed} passed and {tally.failed} failed"
                found.append(f"{name} {level}: the report says {claimed[0]} passed and {claimed[1]} failed, the events say {counted}")
    return found


def _worst(ends: set[Outcome]) -> Outcome:
    order: tuple[Outcome, ...] = ("failed", "skipped", "passed")
    return next((each for each in order if each in ends), "missing")


def _tallies(profile: Profile, tests: Iterable[SuiteTest], outcomes: Mapping[str, Outcome]) -> dict[str, Tally]:
    found = {}
    for level in ("core", "extended"):
        mine = [outcomes[test.name] for test in tests if test.name in outcomes and profile.level(test) == level]
        found[level] = Tally(*(mine.count(each) for each in ("passed", "failed", "skipped", "missing")))
    return found
