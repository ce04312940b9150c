"""What a cluster is given follows from the code and the chart."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from flota.fleet.kinds import KINDS
from flota.settings import Settings
from flota.writeback.held import WRITTEN, resource_of
from flota.writeback.proxywriter import RESOURCES
from install.crds import files

ROOT = Path(__file__).parents[2]
CHART = ROOT / "install" / "chart"


def manifests() -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((ROOT / "install" / "flota.yaml").read_text()) if each]


def one(kind: str) -> dict[str, Any]:
    return next(each for each in manifests() if each["kind"] == kind and each["metadata"]["name"] == "flota")


def test_definitions_follow_from_the_structs():
    for path, text in files().items():
        assert path.read_text() == text, "run `make manifests`"


def test_plain_manifests_have_the_definitions():
    held = {each["metadata"]["name"]: each for each in manifests() if each["kind"] == "CustomResourceDefinition"}
    assert held == {each["metadata"]["name"]: each for each in map(yaml.safe_load, files().values())}


def schemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for each in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(each, dict):
            yield from schemas(each)


def test_schemas_are_structural():
    for text in files().values():
        for each in schemas(yaml.safe_load(text)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]):
            assert "type" in each or each.get("x-kubernetes-preserve-unknown-fields"), each
            assert not {"$ref", "anyOf", "oneOf", "prefixItems", "default"} & each.keys()


def test_roles_allow_what_is_done_and_nothing_else():
    rules = one("ClusterRole")["rules"]
    allowed = {(group, name, verb) for each in rules for group in each["apiGroups"] for name in each["resources"] for verb in each["verbs"]}
    read = [each for each in KINDS if each.struct is not None and each.kind not in ("Pod", "Job")]
    wanted = {(each.group, plural(each.kind), verb) for each in read for verb in ("get", "list", "watch")}
    wanted |= {("", "nodes", verb) for verb in ("get", "list", "watch")}
    wanted |= {(resource_of(kind).group, f"{resource_of(kind).plural}/status", "patch") for kind in WRITTEN}
    wanted |= {(each.group, each.plural, verb) for each in RESOURCES.values() for verb in ("create", "patch")}
    wanted |= {("", "secrets", verb) for verb in ("create", "patch")}
    assert allowed == wanted


def plural(kind: str) -> str:
    lower = kind.lower()
    return f"{lower[:-1]}ies" if lower.endswith("cy") else f"{lower}es" if lower.endswith("s") else f"{lower}s"


def test_the_deployment_sets_settings_that_exist():
    container = one("Deployment")["spec"]["template"]["spec"]["containers"][0]
    known = {f"FLOTA_{each.name.upper()}": each.name for each in msgspec.structs.fields(Settings)}
    given = {each["name"]: each["value"] for each in container["env"] if each["name"].startswith("FLOTA_")}
    assert given.keys() <= known.keys()
    msgspec.convert({known[name]: value for name, value in given.items()}, Settings, strict=False)


def test_values_have_a_schema_and_are_all_used():
    values, schema = yaml.safe_load((CHART / "values.yaml").read_text()), yaml.safe_load((CHART / "values.schema.json").read_text())
    jsonschema.validate(values, schema)
    assert values.keys() == schema["properties"].keys() - {"global"}
    used = set(re.findall(r"\.Values\.([\w.]+)", "".join(path.read_text() for path in (CHART / "templates").iterdir())))
    assert {each.split(".")[0] for each in used} == values.keys()
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**values, "replicas": 0}, schema)


def test_the_chart_renders_to_the_plain_manifests():
    built = sorted(Path("~/.cache/flota/tools").expanduser().glob("helm-*"))
    helm = shutil.which("helm") or next(map(str, built), None)
    if helm is None:
        pytest.skip("no helm: `make manifests` builds it (some minutes once)")
    command = [helm, "template", "flota", str(CHART), "--namespace", "flota-system", "--include-crds", "--kube-version", "1.36.0"]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    namespace, *rest = manifests()
    assert namespace["kind"] == "Namespace"
    assert [each for each in yaml.safe_load_all(rendered) if each] == rest
