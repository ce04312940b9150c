"""Names, labels and annotations of every object (apimachinery ValidateObjectMeta)."""

from flota.fleet.kinds import Kind
from flota.fleet.meta import ObjectMeta
from flota.sources.admission.fault import Faults
from flota.sources.admission.names import annotations, label, label_1035, labels, subdomain

_LABEL_KINDS = frozenset({"Namespace"})
_LABEL_1035_KINDS = frozenset({"Service"})


def metadata(given: ObjectMeta, kind: Kind) -> Faults:
    """Faults of an object's metadata."""
    check = label if kind.kind in _LABEL_KINDS else label_1035 if kind.kind in _LABEL_1035_KINDS else subdomain
    yield from check(("metadata", "name"), given.name)
    if kind.namespaced:
        yield from label(("metadata", "namespace"), given.namespace)
    yield from labels(("metadata", "labels"), given.labels)
    yield from annotations(("metadata", "annotations"), given.annotations)
