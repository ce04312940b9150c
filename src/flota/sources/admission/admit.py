"""One document in, one object or the reasons against it out."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
from msgspec import Struct

from flota.fleet.core import Secret
from flota.fleet.kinds import KINDS, OUR_GROUPS, Kind, find
from flota.sources.admission.fault import Fault, fault, quoted
from flota.sources.admission.metadata import metadata
from flota.sources.admission.rules import RULES
from flota.sources.admission.schema import has_unknown, settle

_SERVER_FIELDS = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
"""Metadata that only an API server sets: exported objects carry it, and it says nothing here."""
_KUBERNETES_OWN = {
    "": "Binding ComponentStatus Endpoints Event LimitRange Node PersistentVolume PersistentVolumeClaim PodTemplate"
    " ReplicationController ResourceQuota ServiceAccount",
    "apps": "ControllerRevision DaemonSet ReplicaSet StatefulSet",
    "batch": "CronJob",
    "discovery.k8s.io": "",
}
"""Kinds of Kubernetes that nothing here uses, by the groups of which Flota uses others."""


class Admission(Struct, frozen=True):
    """What became of a document.

    admitted: `object` is to be used; any `faults` are notes, that it has no effect yet. refused: `faults` say why, and there is
    no object. ignored: somebody else's kind, or (with a fault NotSupportedYet) one that Flota will know later.
    """

    object: Struct | None
    faults: tuple[Fault, ...]
    verdict: Literal["admitted", "refused", "ignored"]


def admit(raw: Mapping[str, object]) -> Admission:
    """Checks a document, as strictly as an API server, and more where the specification's text says more.

    The namespace of the object is `default` if none is given, and empty for a cluster-scoped kind. `status` and metadata that
    an API server sets are dropped. Rules on changes (GatewayClass spec.controllerName, EndpointSlice addressType are immutable)
    are not kept: editing a file is deleting and creating. Never raises for any value of YAML.
    """
    kind = _kind(raw)
    if isinstance(kind, Admission):
        return kind
    if kind.support == "Ignored" or kind.struct is None:
        return _ignored(kind)
    value, faults = _decode(_without_server_fields(raw, kind), kind.struct)
    if value is None:
        return _refused(faults)
    value = _settled(value, kind)
    faults = tuple(_rules(value, kind))
    if faults:
        return _refused(faults)
    return Admission(value, (_not_yet(kind),) if kind.support == "NotYet" else (), "admitted")


def _kind(raw: Mapping[str, object]) -> Kind | Admission:
    version, name = raw.get("apiVersion"), raw.get("kind")
    if not isinstance(version, str) or not isinstance(name, str) or not version or not name:
        missing = "apiVersion" if not isinstance(version, str) or not version else "kind"
        return _refused([fault((missing,), "Required", "is required, as a string; add it")])
    group, slash, number = version.rpartition("/")
    kind = find(group, name)
    if kind is None:
        return _unknown(group, name)
    if number not in kind.versions:
        served = " or ".join(f"{group}{slash}{each}" for each in kind.versions)
        said = f"{quoted(version)} is not served for {name}; use {served}"
        return _refused([fault(("apiVersion",), "UnknownVersion", said)])
    return kind


def _unknown(group: str, name: str) -> Admission:
    """A kind that Flota does not know: a mistake in our groups and in Kubernetes' own, else somebody else's."""
    others = _KUBERNETES_OWN.get(group)
    if (others is None and group not in OUR_GROUPS) or name in (others or "").split():
        return Admission(None, (), "ignored")
    known = [each.kind for each in KINDS if each.group == group]
    near = difflib.get_close_matches(name[:64], known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    elsewhere = next((each.api_version for each in KINDS if each.kind == name), None)
    if elsewhere is not None:
        hint = f"apiVersion of a {name} is {elsewhere}"
    return _refused([fault(("kind",), "UnknownKind", f'{quoted(name)} is not a kind of group "{group}"; {hint}')])


def _without_server_fields(raw: Mapping[str, object], kind: Kind) -> dict[str, object]:
    document = dict(raw)
    document.pop("status", None)
    if isinstance(given := document.get("metadata"), dict):
        document["metadata"] = _bare(given)
    if kind.kind in ("Deployment", "Job"):
        spec = document.get("spec")
        template = spec.get("template") if isinstance(spec, dict) else None
        if isinstance(spec, dict) and isinstance(template, dict) and isinstance(given := template.get("metadata"), dict):
            document["spec"] = {**spec, "template": {**template, "metadata": _bare(given)}}
    return document


def _bare(given: dict[str, object]) -> dict[str, object]:
    return given if given.keys().isdisjoint(_SERVER_FIELDS) else {k: v for k, v in given.items() if k not in _SERVER_FIELDS}


def _decode(document: dict[str, object], struct: type[Struct]) -> tuple[Struct | None, tuple[Fault, ...]]:
    try:
        value = msgspec.convert(document, struct)
    except msgspec.ValidationError:
        pass
    else:
        if not has_unknown(document, struct):
            return value, ()
    settled, faults = settle(document, struct)
    if faults:
        return None, tuple(faults)
    return msgspec.convert(settled, struct), ()


def _settled(value: Struct, kind: Kind) -> Struct:
    """With the namespace that counts, and a Secret's plain text among its data."""
    given = value.metadata  # type: ignore[attr-defined]
    namespace = (given.namespace or "default") if kind.namespaced else ""
    if namespace != given.namespace:
        value = msgspec.structs.replace(value, metadata=msgspec.structs.replace(given, namespace=namespace))
    if isinstance(value, Secret) and value.string_data:
        plain = {key: text.encode() for key, text in value.string_data.items()}
        value = msgspec.structs.replace(value, data={**value.data, **plain}, string_data={})
    return value


def _rules(value: Struct, kind: Kind) -> Iterable[Fault]:
    yield from metadata(value.metadata, kind)  # type: ignore[attr-defined]
    if rule := RULES.get(kind.kind):
        yield from rule(value)


def _refused(faults: Iterable[Fault]) -> Admission:
    return Admission(None, tuple(faults), "refused")


def _ignored(kind: Kind) -> Admission:
    return Admission(None, (_not_yet(kind),) if kind.support == "NotYet" else (), "ignored")


def _not_yet(kind: Kind) -> Fault:
    return fault(("kind",), "NotSupportedYet", f"Flota knows {kind.kind}, but does nothing with it yet; the object has no effect")
