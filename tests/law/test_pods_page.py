"""docs/pods.md tells of every field of a pod whether it does something here, as explain and the engine treat it."""

import re
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import fields

from flota.fleet.pods import Deployment
from flota.report.podfields import EFFECTIVE, REFUSED, without_effect

PAGE = (Path(__file__).parents[2] / "docs" / "pods.md").read_text()


def told(title: str) -> dict[str, str]:
    """Field → what the page says of it, by the table below the title of the type."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return {name: re.split("[;:,( ]", said + " ")[0] for name, said in re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE)}


@pytest.mark.parametrize("kind", EFFECTIVE, ids=lambda kind: kind.__name__)
def test_every_field_is_told_as_it_is_treated(kind: type[msgspec.Struct]) -> None:
    def state(name: str) -> str:
        return "in" if name in EFFECTIVE[kind] else "refused" if name in REFUSED[kind] else "no"

    assert told(kind.__name__) == {each.encode_name: state(each.encode_name) for each in fields(kind)}


def test_explain_lists_what_is_set_in_vain() -> None:
    hooks = {"preStop": {"tcpSocket": {"port": 1}}}
    container = {"name": "app", "command": ["x"], "image": "y", "resources": {"limits": {}}, "lifecycle": hooks}
    spec = {
        "selector": {"matchLabels": {"a": "b"}},
        "revisionHistoryLimit": 3,
        "template": {"spec": {"containers": [container], "tolerations": [{}], "nodeSelector": {"a": "b"}}},
    }
    found = without_effect(msgspec.convert({"metadata": {"name": "a"}, "spec": spec}, Deployment))
    assert set(found) == {
        "revisionHistoryLimit", "tolerations", "nodeSelector", "image of container app", "resources of container app",
        "lifecycle.preStop.tcpSocket of container app",
    }  # fmt: skip
