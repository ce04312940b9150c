"""The slow path: every place where a document departs from its type, with the exact path and the way to mend it.

The fast path is `msgspec.convert`, which stops at the first departure and names it for programmers, and `has_unknown`, as fleet
structs ignore what they don't know. `settle` is only walked when one of them finds something. It also makes equal what the API
server reads as equal: null is as good as absent, 80.0 as 80, and base64 may have line breaks.
"""

import base64
import binascii
import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from msgspec import Struct, inspect

from flota.sources.admission.fault import Fault, Path, fault, quoted

_MOST_HINTS = 50
"""So many faults get a guess at what was meant; guessing is slow, and documents can be hostile."""
_LONGEST_GUESSED = 64


@cache
def _shape(struct: type[Struct]) -> inspect.Type:
    return inspect.type_info(struct)


def has_unknown(value: object, struct: type[Struct]) -> bool:
    """Whether a document that fits `struct` (or a list of such) has fields that it does not know, at any depth."""
    if isinstance(value, list):
        return any(has_unknown(each, struct) for each in value)
    if not isinstance(value, Mapping):
        return False
    known = _inner(struct)
    for name, inner in value.items():
        if name not in known:
            return True
        nested = known[name]
        if nested is not None and has_unknown(inner, nested):
            return True
    return False


@cache
def _inner(struct: type[Struct]) -> dict[str, type[Struct] | None]:
    """The fields of a struct by the names of the wire, with the struct that is in them or in their lists."""
    shape = _shape(struct)
    assert isinstance(shape, inspect.StructType)  # noqa: S101 - it is the shape of a struct
    return {field.encode_name: _struct_in(field.type) for field in shape.fields}


def _struct_in(shape: inspect.Type) -> type[Struct] | None:
    match shape:
        case inspect.Metadata(type=inner) | inspect.VarTupleType(item_type=inner):
            return _struct_in(inner)
        case inspect.StructType():
            return shape.cls
        case inspect.UnionType():
            return next((found for each in shape.types if (found := _struct_in(each))), None)
        case _:
            return None


def settle(value: object, struct: type[Struct]) -> tuple[object, list[Fault]]:
    """The document as `msgspec.convert` takes it for `struct`, and its faults; with any, the document is of no use."""
    faults: list[Fault] = []
    return _settle(value, _shape(struct), (), faults), faults


def _settle(value: object, shape: inspect.Type, path: Path, faults: list[Fault]) -> object:
    words = ""
    if isinstance(shape, inspect.Metadata):
        words = (shape.extra_json_schema or {}).get("description", "")
        shape = shape.type
    match shape:
        case inspect.StructType():
            return _settle_struct(value, shape, path, faults)
        case inspect.UnionType():
            return _settle_union(value, shape, path, faults)
        case inspect.VarTupleType():
            return _settle_list(value, shape, path, faults)
        case inspect.TupleType():
            return _settle_pair(value, shape, path, faults)
        case inspect.DictType():
            return _settle_map(value, shape, path, faults)
        case _:
            return _settle_scalar(value, shape, words, path, faults)


def _settle_scalar(value: object, shape: inspect.Type, words: str, path: Path, faults: list[Fault]) -> object:
    match shape:
        case inspect.StrType():
            _check_string(value, shape, words, path, faults)
        case inspect.IntType() | inspect.FloatType():
            return _settle_number(value, shape, path, faults)
        case inspect.BytesType():
            return _settle_bytes(value, path, faults)
        case inspect.LiteralType():
            value = int(value) if isinstance(value, float) and value.is_integer() else value
            _check_choice(value, shape.values, path, faults)
        case inspect.BoolType():
            if not isinstance(value, bool):
                faults.append(_wrong(path, "true or false", value))
    return value


def _settle_struct(value: object, shape: inspect.StructType, path: Path, faults: list[Fault]) -> object:
    if not isinstance(value, Mapping):
        known = ", ".join(field.encode_name for field in shape.fields[:6])
        faults.append(_wrong(path, f"an object with fields such as {known}", value))
        return value
    fields = {field.encode_name: field for field in shape.fields}
    settled: dict[object, object] = {}
    for name, inner in value.items():
        field = fields.get(name)
        if field is None:
            faults.append(_unknown(path, str(name), fields, guess=len(faults) < _MOST_HINTS))
        elif inner is not None:  # null is pruned where the API server finds it
            settled[name] = _settle(inner, field.type, (*path, name), faults)
    for name, field in fields.items():
        if field.required and name not in settled:
            faults.append(fault((*path, name), "Required", "is required; add it"))
    return settled


def _settle_union(value: object, shape: inspect.UnionType, path: Path, faults: list[Fault]) -> object:
    if value is None and any(isinstance(each, inspect.NoneType) for each in shape.types):
        return None
    options = [each for each in shape.types if not isinstance(each, inspect.NoneType)]
    chosen = next((each for each in options if _fits(value, each)), options[0])
    if len(options) > 1 and not _fits(value, chosen):
        faults.append(_wrong(path, " or ".join(_called(each) for each in options), value))
        return value
    return _settle(value, chosen, path, faults)


def _settle_list(value: object, shape: inspect.VarTupleType, path: Path, faults: list[Fault]) -> object:
    if not isinstance(value, (list, tuple)):
        faults.append(_wrong(path, "a list", value))
        return value
    _check_size(len(value), shape.min_length, shape.max_length, "elements", path, faults)
    return [_settle(each, shape.item_type, (*path, index), faults) for index, each in enumerate(value)]


def _settle_pair(value: object, shape: inspect.TupleType, path: Path, faults: list[Fault]) -> object:
    if not isinstance(value, (list, tuple)) or len(value) != len(shape.item_types):
        faults.append(_wrong(path, f"a list of {len(shape.item_types)}", value))
        return value
    pairs = zip(value, shape.item_types, strict=True)
    return [_settle(each, inner, (*path, index), faults) for index, (each, inner) in enumerate(pairs)]


def _settle_map(value: object, shape: inspect.DictType, path: Path, faults: list[Fault]) -> object:
    if not isinstance(value, Mapping):
        faults.append(_wrong(path, "an object with names and values", value))
        return value
    _check_size(len(value), shape.min_length, shape.max_length, "entries", path, faults)
    inner = shape.value_type
    return {key: _settle(each, inner, (*path, str(key)), faults) for key, each in value.items() if each is not None}


def _settle_number(value: object, shape: inspect.IntType | inspect.FloatType, path: Path, faults: list[Fault]) -> object:
    if isinstance(shape, inspect.IntType) and isinstance(value, float) and value.is_integer():
        value = int(value)
    number = int if isinstance(shape, inspect.IntType) else (int, float)
    if isinstance(value, bool) or not isinstance(value, number):
        faults.append(_wrong(path, "a whole number" if number is int else "a number", value))
    elif (shape.ge is not None and value < shape.ge) or (shape.le is not None and value > shape.le):
        faults.append(fault(path, "Invalid", f"{quoted(value)} is out of range; must be {_range(shape.ge, shape.le)}"))
    return value


def _settle_bytes(value: object, path: Path, faults: list[Fault]) -> object:
    if not isinstance(value, str):
        faults.append(_wrong(path, "a base64 string", value))
        return value
    tight = value.replace("\n", "").replace("\r", "")
    try:
        base64.b64decode(tight, validate=True)
    except (binascii.Error, ValueError) as error:
        said = f"is not base64 ({str(error).lower()}); encode it with `base64`, or use stringData for plain text"
        faults.append(fault(path, "Invalid", said))
    return tight


def _check_string(value: object, shape: inspect.StrType, words: str, path: Path, faults: list[Fault]) -> None:
    if not isinstance(value, str):
        faults.append(_not_text(value, shape, words, path))
        return
    if not value and shape.min_length:
        faults.append(fault(path, "Required", f"may not be empty; must be {words}" if words else "may not be empty"))
    elif shape.max_length is not None and len(value) > shape.max_length:
        said = f"has {len(value)} characters; at most {shape.max_length} are allowed"
        faults.append(fault(path, "TooLong", said))
    elif shape.pattern is not None and not re.search(shape.pattern, value):
        faults.append(fault(path, "Invalid", f"{quoted(value)} is not allowed; must be {words or shape.pattern}"))


def _not_text(value: object, shape: inspect.StrType, words: str, path: Path) -> Fault:
    """Unquoted numbers and true/false are what YAML reads as something else; quotes help where the text would be right."""
    said = f"must be a string ({words}), not {_named(value)}" if words else f"must be a string, not {_named(value)}"
    written = str(value).lower() if isinstance(value, bool) else quoted(value)
    if isinstance(value, (int, float)) and re.search(shape.pattern or "", written):
        said += f'; write it in quotes: "{written}"'
    return fault(path, "TypeInvalid", said)


def _check_choice(value: object, choices: Iterable[Any], path: Path, faults: list[Fault]) -> None:
    known = list(choices)
    if isinstance(value, bool) or value not in known:
        near = _near(value, [str(each) for each in known], 0.75) if isinstance(value, str) and len(faults) < _MOST_HINTS else []
        hint = f" (did you mean {near[0]}?)" if near else ""
        allowed = ", ".join(str(each) for each in sorted(known, key=str))
        faults.append(fault(path, "NotSupported", f"{_shown(value)} is not allowed; one of {allowed}{hint}"))


def _check_size(size: int, least: int | None, most: int | None, what: str, path: Path, faults: list[Fault]) -> None:
    if least is not None and size < least:
        faults.append(fault(path, "TooFew", f"has {size} {what}; at least {least} needed"))
    elif most is not None and size > most:
        faults.append(fault(path, "TooMany", f"has {size} {what}; at most {most} are allowed"))


def _unknown(path: Path, name: str, fields: Mapping[str, object], *, guess: bool) -> Fault:
    lower = {known.lower(): known for known in fields}
    near = _near(name.lower(), lower, 0.7) if guess else []
    hint = f"did you mean {lower[near[0]]}?" if near else f"known here: {', '.join(fields) or 'none'}"
    return fault((*path, name), "UnknownField", f"unknown field; {hint}")


def _near(given: str, known: Iterable[str], cutoff: float) -> list[str]:
    return difflib.get_close_matches(given, list(known), n=1, cutoff=cutoff) if len(given) <= _LONGEST_GUESSED else []


def _wrong(path: Path, wanted: str, value: object) -> Fault:
    mend = ""
    if "number" in wanted and isinstance(value, str) and value.lstrip("-").isdigit():
        mend = f"; write it without quotes: {value}"
    elif wanted == "a list":
        mend = '; start each element with "- "'
    return fault(path, "TypeInvalid", f"must be {wanted}, not {_named(value)}{mend}")


def _named(value: object) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if value is None:
        return "null"
    return f"the string {quoted(value)}" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else quoted(value)


def _shown(value: object) -> str:
    return quoted(value) if isinstance(value, str) else _named(value)


def _fits(value: object, shape: inspect.Type) -> bool:
    bare = shape.type if isinstance(shape, inspect.Metadata) else shape
    match bare:
        case inspect.StructType() | inspect.DictType():
            return isinstance(value, Mapping)
        case inspect.StrType():
            return isinstance(value, str)
        case inspect.LiteralType():
            return value in bare.values
        case inspect.IntType():
            return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
        case _:
            return True


def _called(shape: inspect.Type) -> str:
    match shape.type if isinstance(shape, inspect.Metadata) else shape:
        case inspect.StructType(fields=fields):
            return f"an object with {', '.join(field.encode_name for field in fields)}"
        case inspect.LiteralType(values=values):
            return " or ".join(str(value) for value in values)
        case inspect.StrType():
            return "a string"
        case inspect.IntType():
            return "a whole number"
        case _:
            return "a value"


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f"{least} to {most}"
    return f"at least {least}" if least is not None else f"at most {most}"
