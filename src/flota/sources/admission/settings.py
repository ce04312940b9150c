"""Rules of Secret and ConfigMap, as the API server validates them."""

import json
from collections.abc import Mapping

from flota.fleet.core import ConfigMap, Secret
from flota.sources.admission.fault import Faults, Path, fault, quoted
from flota.sources.admission.names import is_key

_MAX_BYTES = 1_048_576
_NEEDED = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def secret(given: Secret) -> Faults:
    """All rules of a Secret. Whether certificates parse is for the Gateway that uses them (InvalidCertificateRef)."""
    yield from _keys(given.data, "data")
    yield from _size({key: len(value) for key, value in given.data.items()})
    for key in _NEEDED.get(given.type, ()):
        if not given.data.get(key) and not (given.type == "kubernetes.io/tls" and key in given.data):
            yield fault(("data", key), "Required", f"is required for type {given.type}; add it")
    if given.type == "kubernetes.io/basic-auth" and not {"username", "password"} & given.data.keys():
        yield fault(("data",), "Required", "needs username, password, or both for type kubernetes.io/basic-auth")
    for key in (".dockercfg", ".dockerconfigjson"):
        if key in _NEEDED.get(given.type, ()) and given.data.get(key) and not _is_json(given.data[key]):
            yield fault(("data", key), "Invalid", f"is not JSON, as type {given.type} asks for")
    if given.type == "kubernetes.io/service-account-token":
        name = "kubernetes.io/service-account.name"
        if not given.metadata.annotations.get(name):
            yield fault(("metadata", "annotations", name), "Required", f"is required for type {given.type}; add it")


def config_map(given: ConfigMap) -> Faults:
    """All rules of a ConfigMap."""
    yield from _keys(given.data, "data")
    yield from _keys(given.binary_data, "binaryData")
    for key in given.binary_data:
        if key in given.data:
            yield fault(("binaryData", key), "Duplicate", "is in data, too; remove one of the two")
    sizes = [len(value.encode()) for value in given.data.values()] + [len(value) for value in given.binary_data.values()]
    yield from _size(dict(enumerate(sizes)))


def _keys(data: Mapping[str, object], field: str) -> Faults:
    for key in data:
        if not is_key(key):
            path: Path = (field, key)
            said = f"{quoted(key)} is not allowed as a key; must be at most 253 letters, digits, dashes, underscores and dots"
            yield fault(path, "Invalid", said)


def _size(sizes: Mapping[object, int]) -> Faults:
    total = sum(sizes.values())
    if total > _MAX_BYTES:
        yield fault(("data",), "TooLong", f"holds {total} bytes; at most {_MAX_BYTES} are allowed")


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
