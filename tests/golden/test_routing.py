"""Manifests → the plan of each cluster's proxy, and what every object is told (tests/golden/routing)."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from conftest import Golden

from flota.fleet.fleet import Cluster, Fleet
from flota.fleet.kinds import KINDS
from flota.plan import Plan
from flota.routing.planner import Planner

sys.path.insert(0, str(Path(__file__).parents[1] / "pure"))
from routing_fleets import tls_secret

CASES = sorted(each.parent for each in (Path(__file__).parent / "routing").glob("*/input.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda each: each.name)
def test_plan(case: Path, golden: Golden) -> None:
    plan = Planner().plan(read(case / "input.yaml"))
    golden.check(case, plan=plan_text(plan), status=status_text(plan))


def test_there_are_cases_and_no_folders_without_input() -> None:
    assert CASES
    folders = {each for each in CASES[0].parent.iterdir() if each.is_dir()}
    assert folders == set(CASES)


def read(path: Path) -> Fleet:
    """A fleet. A document `cluster: {name, region, zone}` begins a cluster; earlier objects are older. `keypair: {name, hosts}` is a
    Secret with a certificate and `ca.crt`, made anew each time."""
    clusters: dict[str, Cluster] = {}
    distances: dict[tuple[str, str], float] = {}
    name = ""
    for age, document in enumerate(yaml.safe_load_all(path.read_text())):
        if "cluster" in document:
            name = document["cluster"]["name"]
            clusters[name] = Cluster(**document["cluster"])
        elif "distances" in document:
            for one, other, rtt in document["distances"]:
                distances[one, other] = distances[other, one] = rtt
        elif "keypair" in document:
            clusters[name] = _with(clusters[name], _keypair(**document["keypair"]), age)
        else:
            clusters[name] = _with(clusters[name], document, age)
    return Fleet(path.parent.name, clusters, distances)


def _keypair(name: str, hosts: list[str], namespace: str = "default") -> dict[str, Any]:
    secret = tls_secret(name, *hosts, namespace=namespace)
    return {**secret, "data": {**secret["data"], "ca.crt": secret["data"]["tls.crt"]}}


def _with(cluster: Cluster, document: dict[str, Any], age: int) -> Cluster:
    kind = next(each for each in KINDS if each.kind == document["kind"])
    meta = {"creationTimestamp": f"2026-01-01T00:{age // 60:02}:{age % 60:02}Z", "generation": 1, **document["metadata"]}
    assert kind.struct
    made: Any = msgspec.convert({"apiVersion": kind.api_version, **document, "metadata": meta}, kind.struct)
    key = (made.metadata.namespace if kind.namespaced else "", made.metadata.name)
    return msgspec.structs.replace(cluster, **{kind.collection: {**getattr(cluster, kind.collection), key: made}})


def plan_text(plan: Plan) -> str:
    """The proxies, without what is as it always is."""
    return _text({name: plain(proxy) for name, proxy in sorted(plan.proxies.items())})


def status_text(plan: Plan) -> str:
    """Statuses by object, and the problems."""
    statuses = {"/".join(filter(None, ref)): plain(plan.statuses[ref]) for ref in sorted(plan.statuses)}
    return _text({"statuses": statuses, "problems": plain(plan.problems)})


def plain(value: Any) -> Any:
    """The value as YAML shows it: fields that have their default are left out, mappings are in order."""
    if isinstance(value, msgspec.Struct):
        defaults = dict(zip(value.__struct_fields__[::-1], value.__struct_defaults__[::-1], strict=False))
        fields = ((name, getattr(value, name)) for name in value.__struct_fields__)
        return {name: plain(held) for name, held in fields if name not in defaults or held != defaults[name]}
    if isinstance(value, Mapping):
        return {str(key): plain(value[key]) for key in sorted(value)}
    if isinstance(value, bytes):
        return "…"  # keys are others each time
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return value


def _text(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=140, allow_unicode=True)
