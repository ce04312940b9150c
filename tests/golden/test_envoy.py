"""The same manifests one step further: the plan of each cluster → what its Envoy gets (tests/golden/envoy)."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Golden
from test_routing import CASES, read

from flota.envoy.encode import Encoder
from flota.envoy.options import Options
from flota.envoy.protos import load
from flota.envoy.wire import SDS, SRDS, Snapshot
from flota.routing.planner import Planner

FOLDER = Path(__file__).parent / "envoy"


@pytest.mark.parametrize("name", [each.name for each in CASES])
def test_envoy(name: str, golden: Golden, rewrite_golden: bool) -> None:
    plan = Planner().plan(read(CASES[0].parent / name / "input.yaml"))
    protos, case = load(), FOLDER / name
    if rewrite_golden:
        case.mkdir(parents=True, exist_ok=True)
    golden.check(case, **{
        cluster: yaml.safe_dump(readable(protos, Encoder(protos, Options()).snapshot(proxy)), sort_keys=False, width=140)
        for cluster, proxy in sorted(plan.proxies.items())
    })


def test_each_is_of_a_case() -> None:
    assert {each.name for each in FOLDER.iterdir()} == {each.name for each in CASES}


def readable(protos: Any, snapshot: Snapshot) -> dict[str, Any]:
    """By type and name. Scopes only by number, as they all say the same; keys of certificates not at all."""
    shown: dict[str, Any] = {}
    for type_url, resources in snapshot.items():
        kind = type_url.rpartition(".")[2]
        if type_url == SRDS:
            shown[kind] = len(resources)
        elif type_url == SDS:
            shown[kind] = sorted(resources)
        else:
            shown[kind] = {name: protos.to_dict(one.body) for name, one in sorted(resources.items())}
    return dict(json.loads(json.dumps(shown, sort_keys=True)))  # maps come in no order
