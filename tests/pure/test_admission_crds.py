"""Our structs beside the official CRDs, field by field. Skips where the Go module cache does not hold them."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from msgspec import inspect

from flota.fleet.kinds import KINDS

FOLDERS = {
    "gateway.networking.k8s.io": "sigs.k8s.io/gateway-api@v1.6.1/config/crd/experimental",
    "multicluster.x-k8s.io": "sigs.k8s.io/mcs-api@v0.5.0/config/crd",
}
Node = dict[str, Any]


def _schemas(group: str) -> dict[str, Node]:
    """Kind → schema of its first (preferred) version."""
    cache = Path(os.environ.get("GOMODCACHE") or Path(os.environ.get("GOPATH", Path.home() / "go")) / "pkg/mod")
    folder = cache / FOLDERS[group]
    if not folder.is_dir():
        module = FOLDERS[group].partition("/config")[0]
        pytest.skip(f"no CRDs in the Go module cache ({folder}): go mod download {module}")
    found: dict[str, Node] = {}
    for file in folder.glob("*.yaml"):
        for crd in yaml.load_all(file.read_bytes(), Loader=yaml.CSafeLoader):
            if crd and crd.get("kind") == "CustomResourceDefinition":
                versions = {each["name"]: each for each in crd["spec"]["versions"]}
                for kind in KINDS:
                    if (kind.group, kind.kind) == (crd["spec"]["group"], crd["spec"]["names"]["kind"]):
                        found[kind.kind] = versions[kind.versions[0]]["schema"]["openAPIV3Schema"]
                        assert {name for name, each in versions.items() if each["served"]} == set(kind.versions)
    return found


def _bare(shape: inspect.Type) -> inspect.Type:
    while isinstance(shape, (inspect.Metadata, inspect.UnionType)):
        shape = shape.type if isinstance(shape, inspect.Metadata) else next(t for t in shape.types if not isinstance(t, inspect.NoneType))
    return shape


def _compare(schema: Node, shape: inspect.Type, path: str, loose: set[str]) -> list[str]:
    bare = _bare(shape)
    if isinstance(bare, inspect.StructType):
        return _compare_fields(schema, bare, path, loose)
    if isinstance(bare, inspect.VarTupleType):
        sizes = _differ(path, (schema.get("minItems"), schema.get("maxItems")), (bare.min_length or None, bare.max_length))
        return (sizes if path not in loose else []) + _compare(schema["items"], bare.item_type, f"{path}[]", loose)
    if isinstance(bare, inspect.LiteralType):
        return _differ(path, set(schema.get("enum", bare.values)), set(bare.values))
    if isinstance(bare, inspect.StrType):
        return _differ(path, (schema.get("minLength") or None, schema.get("maxLength")), (bare.min_length or None, bare.max_length))
    return []


def _compare_fields(schema: Node, shape: inspect.StructType, path: str, loose: set[str]) -> list[str]:
    fields = {field.encode_name: field for field in shape.fields}
    official = schema.get("properties", {})
    out = _differ(path, set(official), set(fields))
    required = {field.encode_name for field in shape.fields if field.required}
    out += _differ(f"{path} required", set(schema.get("required", ())) - {"spec"} - loose, required - {"spec"} - loose)
    for name in official.keys() & fields.keys():
        if isinstance(official[name].get("default"), (str, int)):
            out += _differ(f"{path}.{name} default", official[name]["default"], fields[name].default)
        out += _compare(official[name], fields[name].type, f"{path}.{name}", loose)
    return out


def _differ(path: str, official: object, ours: object) -> list[str]:
    return [] if official == ours else [f"{path}: official {official}, ours {ours}"]


LOOSER_IN_OLD_VERSIONS = {"TLSRoute.rules", "TCPRoute.rules", "UDPRoute.rules", "TLSRoute.hostnames", "hostnames"}
"""v1alpha2 has more rules and no hostnames; the struct takes both, the rules of admission tell the versions apart."""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.struct and kind.group in FOLDERS], ids=lambda kind: kind.kind)
def test_the_struct_has_every_field_bound_and_default_of_the_crd(kind: Any) -> None:
    spec = _schemas(kind.group)[kind.kind]["properties"]["spec"]
    fields = {field.name: field.type for field in msgspec.inspect.type_info(kind.struct).fields}  # type: ignore[attr-defined]
    assert _compare(spec, fields["spec"], kind.kind, LOOSER_IN_OLD_VERSIONS) == []
