"""An API server's JSON → the same structs that files become. Pure.

The API server has admitted the object, so what is not known here is ignored, and only what a CRD of another release may have let through is
looked at again (`RULES`, for kinds that are not Kubernetes' own).
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct, structs

from flota.fleet.kinds import OUR_GROUPS, Kind
from flota.fleet.meta import ObjectMeta
from flota.kube.cache import Undecodable
from flota.sources.admission.rules import RULES
from flota.sources.admission.schema import settle

MAX_FAULTS = 5
"""Faults told of one object."""
_NOISE = "kubectl.kubernetes.io/last-applied-configuration"
"""An annotation that holds the object once more."""


class Held(Struct, frozen=True, gc=False):
    """An object, and its status as JSON where it was asked for (empty where it has none)."""

    object: Struct
    status: bytes = b""


class _Status(Struct):
    status: Raw = Raw(b"")


_status = msgspec.json.Decoder(_Status)
Decoder = Callable[[Raw, Held | None], Held | Undecodable]


def decoder(kind: Kind, *, status: bool = False) -> Decoder:
    """How objects of a kind are decoded. What says the same as before is the identical object, whatever its status says."""
    struct = kind.struct
    assert struct is not None  # noqa: S101 - kinds without one are not followed
    typed = msgspec.json.Decoder(struct)
    rule = RULES.get(kind.kind) if kind.group in OUR_GROUPS else None

    def decode(raw: Raw, before: Held | None) -> Held | Undecodable:
        try:
            value = typed.decode(raw)
        except msgspec.DecodeError:
            slowly = _slowly(raw, struct)
            if isinstance(slowly, Undecodable):
                return slowly
            value = slowly
        value = _tidied(value, kind)
        if before is not None and before.object == value:
            value = before.object
        elif rule is not None and (faults := [each.message for each in rule(value)]):
            return Undecodable("Invalid", _joined(faults))
        said = bytes(_status.decode(raw).status) if status else b""
        return before if before is not None and before.object is value and before.status == said else Held(value, said)

    return decode


def _slowly(raw: Raw, struct: type[Struct]) -> Struct | Undecodable:
    """With null as good as absent, and every departure named."""
    try:
        document: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        return Undecodable("Invalid", f"not JSON: {error}")
    if isinstance(document, dict):
        document.pop("status", None)
    settled, faults = settle(document, struct)
    wrong = [each.message for each in faults if each.reason != "UnknownField"]
    if wrong:
        return Undecodable("Invalid", _joined(wrong))
    return msgspec.convert(settled, struct)


def _tidied(value: Struct, kind: Kind) -> Struct:
    """With no namespace where the kind has none, and without annotations that say everything twice."""
    given: ObjectMeta = value.metadata  # type: ignore[attr-defined]
    wanted = given
    if not kind.namespaced and given.namespace:
        wanted = structs.replace(wanted, namespace="")
    if _NOISE in given.annotations:
        wanted = structs.replace(wanted, annotations={name: text for name, text in given.annotations.items() if name != _NOISE})
    return value if wanted is given else structs.replace(value, metadata=wanted)


def _joined(messages: list[str]) -> str:
    more = len(messages) - MAX_FAULTS
    return "; ".join(messages[:MAX_FAULTS]) + (f"; and {more} more" if more > 0 else "")
