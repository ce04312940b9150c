"""Golden pairs: what comes out for an input, kept in the repository. `make golden` writes them anew; the diff is for people."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="write what comes out now as what should come out")


@pytest.fixture
def rewrite_golden(request: pytest.FixtureRequest) -> bool:
    """Whether to write instead of compare. The option is only known when the run begins in this folder."""
    return bool(request.config.getoption("--rewrite-golden", default=False))


@pytest.fixture
def golden(rewrite_golden: bool) -> "Golden":
    """Compares with a kept file, or writes it."""
    return Golden(rewrite_golden)


class Golden:
    """Outcomes beside their inputs."""

    def __init__(self, rewrite: bool) -> None:
        self._rewrite = rewrite

    def check(self, case: Path, **outcomes: str) -> None:
        """Every outcome is `<case>/<name>.yaml`; a file of a name that nothing makes is an orphan."""
        wanted = {f"{name}.yaml": text for name, text in outcomes.items()}
        orphans = {each.name for each in case.iterdir()} - wanted.keys() - {"input.yaml"}
        if self._rewrite:
            for name in orphans:
                (case / name).unlink()
            for name, text in wanted.items():
                (case / name).write_text(text)
            return
        assert not orphans, f"nothing makes {sorted(orphans)} of {case}: `make golden` removes them"
        for name, text in wanted.items():
            kept = case / name
            assert kept.exists(), f"{kept} is missing: `make golden` writes it"
            assert kept.read_text() == text, f"{kept} differs from what comes out now"
