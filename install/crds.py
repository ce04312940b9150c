"""CustomResourceDefinitions of Flota's own kinds, made from the structs that decode them. `python -m install.crds` writes them.

Structural schemas (apiextensions/v1): no references, no unions of types; what a schema can't say is a CEL rule here, or left to Flota,
which judges what it reads as strictly as files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from flota.fleet.kinds import KINDS, Kind

CHART = Path(__file__).parent / "chart"
Schema = dict[str, Any]
_KEPT = frozenset(
    {"type", "description", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "pattern"}
)
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_COLUMNS: Mapping[str, list[Schema]] = {
    "ClusterSet": [_AGE],
    "TrafficPolicy": [
        {"name": "Prefer", "type": "string", "jsonPath": ".spec.prefer"},
        {"name": "Accepted", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Accepted")].status'},
        _AGE,
    ],
    "ProxyTemplate": [
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
        {"name": "Service", "type": "string", "jsonPath": ".spec.service.type"},
        _AGE,
    ],
}
_RULES: Mapping[str, list[tuple[str, str]]] = {
    "ClusterSet": [],
    "TrafficPolicy": [
        ("!has(self.allow) || !has(self.forbid)", "allow and forbid may not come together"),
        (
            "(has(self.prefer) && self.prefer != 'Nearest') || !has(self.tiers) || size(self.tiers) == 0",
            "prefer Nearest makes the tiers from distances: remove tiers, or set prefer to Order or Weights",
        ),
        ("!has(self.prefer) || self.prefer != 'Order' || (has(self.tiers) && size(self.tiers) > 0)", "prefer Order needs tiers"),
        (
            "!has(self.prefer) || self.prefer != 'Weights' || (has(self.tiers) && size(self.tiers) == 1)",
            "prefer Weights needs exactly one tier",
        ),
    ],
    "ProxyTemplate": [
        ("!has(self.replicas) || !has(self.autoscaling)", "autoscaling decides how many there are: remove replicas"),
        (
            "!has(self.autoscaling) || !has(self.autoscaling.minReplicas) || self.autoscaling.minReplicas <= self.autoscaling.maxReplicas",
            "autoscaling.minReplicas may not be more than maxReplicas",
        ),
    ],
}


def definition(kind: Kind) -> Schema:
    """apiextensions.k8s.io/v1 CustomResourceDefinition."""
    assert kind.struct is not None  # noqa: S101
    plural = f"{kind.kind.lower()[:-1]}ies" if kind.kind.endswith("y") else f"{kind.kind.lower()}s"
    root = _schema(kind)
    names = {"kind": kind.kind, "listKind": f"{kind.kind}List", "plural": plural, "singular": kind.kind.lower(), "categories": ["flota"]}
    version = {
        "name": kind.versions[0],
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": root},
        "subresources": {"status": {}},
        "additionalPrinterColumns": _COLUMNS[kind.kind],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{kind.group}", "labels": {"app.kubernetes.io/name": "flota"}},
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [version],
        },
    }


def _schema(kind: Kind) -> Schema:
    whole = msgspec.json.schema(kind.struct)
    found = whole["$defs"][kind.kind]
    spec = _structural(found["properties"]["spec"], whole["$defs"])
    rules = [{"rule": rule, "message": message} for rule, message in _RULES[kind.kind]]
    if rules:
        spec["x-kubernetes-validations"] = rules
    properties = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
        "status": _STATUS,
    }
    required = [name for name in ("spec",) if name in found.get("required", ())]
    made = {"type": "object", "description": found.get("description", ""), "properties": properties}
    return {**made, "required": required} if required else made


def _structural(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    if "$ref" in schema:
        return _structural(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        several = [each for each in schema["anyOf"] if each.get("type") != "null"]
        if len(several) == 1:
            return _structural(several[0], definitions)
        return {"description": "one of several types; Flota says which", "x-kubernetes-preserve-unknown-fields": True}
    made = {name: value for name, value in schema.items() if name in _KEPT}
    if "enum" in made:
        made.setdefault("type", "string")
    if "pattern" in made:
        made["pattern"] = made["pattern"].replace(r"\Z", "$")  # RE2, which Python's \Z stands for here
    if schema.get("type") == "array":
        items = schema.get("prefixItems", [schema.get("items")])
        made["items"] = _structural(items[0], definitions)
    if schema.get("type") == "object":
        made |= _object(schema, definitions)
    return made


def _object(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    if "properties" in schema:
        made: Schema = {"properties": {name: _structural(each, definitions) for name, each in schema["properties"].items()}}
        return {**made, "required": schema["required"]} if schema.get("required") else made
    values = schema.get("additionalProperties") or {}
    return {"additionalProperties": _structural(values, definitions)} if values else {"x-kubernetes-preserve-unknown-fields": True}


_CONDITION: Schema = {
    "type": "object",
    "required": ["type", "status", "lastTransitionTime", "reason", "message"],
    "properties": {
        "type": {"type": "string", "maxLength": 316},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": {"type": "string", "maxLength": 1024},
        "message": {"type": "string", "maxLength": 32768},
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
    },
}
_CONDITIONS: Schema = {"type": "array", "items": _CONDITION, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
_ANCESTOR: Schema = {
    "type": "object",
    "required": ["ancestorRef", "controllerName"],
    "properties": {
        "ancestorRef": {
            "type": "object",
            "required": ["name"],
            "properties": {name: {"type": "string"} for name in ("group", "kind", "namespace", "name", "sectionName")},
        },
        "controllerName": {"type": "string"},
        "conditions": _CONDITIONS,
    },
}
_STATUS: Schema = {
    "type": "object",
    "description": "What Flota says of it.",
    "properties": {
        "conditions": _CONDITIONS,
        "ancestors": {"type": "array", "maxItems": 16, "items": _ANCESTOR, "x-kubernetes-list-type": "atomic"},
    },
}


def files() -> dict[Path, str]:
    """What stands in the chart, by path."""
    own = [definition(each) for each in KINDS if each.kind in _COLUMNS]
    return {CHART / "crds" / f"{each['metadata']['name']}.yaml": yaml.safe_dump(each, sort_keys=False, width=140) for each in own}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
