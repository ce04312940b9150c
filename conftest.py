"""What all rings share: slow tests run only with `--slow` (make nightly), which also looks for new examples.

`make test` tries the same generated examples each time, so that a change is judged by what it changes; new ones are looked for at night.
"""

import re

import pytest
from hypothesis import settings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too, and new generated examples")


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile("gate", derandomize=True)
    settings.register_profile("night", print_blob=True)
    settings.load_profile("night" if config.getoption("--slow") else "gate")


_STARTS_A_RIG = re.compile(r"^from (kube_harness|rig\.harness) import", re.MULTILINE)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # `.ci/run` runs those by their mark, after the rig was built, and lets none of them be skipped.
    modules = {path: bool(_STARTS_A_RIG.search(path.read_text())) for path in {item.path for item in items}}
    for item in items:
        if modules[item.path]:
            item.add_marker(pytest.mark.rig)
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
