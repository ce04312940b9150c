"""What a plain YAML scalar means, as `kubectl` reads it.

kubectl reads YAML 1.1 scalars (`yes`, `on`, `0777`, `1_000`) and turns the document into JSON, where `80.0` and `8e1` are
the number 80. Base-60 numbers and timestamps are strings there. Pure.
"""

import base64
import binascii
import re
from decimal import Decimal

Scalar = str | int | float | bool | None

_TAG = "tag:yaml.org,2002:"
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}
_NOT_FINITE = frozenset((".nan", ".NaN", ".NAN", *(f"{s}{w}" for s in ("", "+", "-") for w in (".inf", ".Inf", ".INF"))))
_MAYBE = frozenset("yYnNtTfFoO~0123456789+-.")
_INT = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[oO]([0-7]+)|0[bB]([01]+)|(0[0-7]*)|([1-9][0-9]*))", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_BASES = (16, 8, 2, 8, 10)
_LONGEST_NUMBER = 4000  # digits; Python refuses to read longer ones, and nobody means them


def resolve(text: str) -> Scalar:
    """The value of a plain (unquoted) scalar without a tag. Raises ValueError for NaN and the infinities."""
    if text and text[0] not in _MAYBE:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if text in _NOT_FINITE:
        raise ValueError(f"{text} is not a number JSON has; quote it if it is meant as a string")
    return _number(text)


def tagged(tag: str, text: str) -> Scalar:
    """The value of a scalar with an explicit tag. Raises ValueError when the tag is not a standard one or does not fit."""
    if tag in ("!", _TAG + "str", _TAG + "timestamp"):
        return text
    if tag == _TAG + "binary":
        return _binary(text)
    kinds = {"int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)}
    wanted = kinds.get(tag.removeprefix(_TAG)) if tag.startswith(_TAG) else None
    if wanted is None:
        raise ValueError(f"the tag {shown(tag)} is not allowed; leave it out")
    value = resolve(text)
    if type(value) not in wanted:
        raise ValueError(f"{text!r} is not a {tag.removeprefix(_TAG)}, as its tag says")
    return value


def shown(tag: str) -> str:
    """A tag as people write it."""
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag


def as_key(value: Scalar) -> str:
    """A mapping key as JSON has it: numbers and booleans become strings. Raises ValueError for what cannot be a key."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise ValueError(f"a key must be a string, and this one is {'null' if value is None else value}; quote it")


def _number(text: str) -> Scalar:
    if len(text) > _LONGEST_NUMBER:
        return text
    plain = text.replace("_", "") if text[0] != "." else text
    found = _INT.fullmatch(plain)
    if found:
        sign, *digits = found.groups()
        value = next(int(d, base) for d, base in zip(digits, _BASES, strict=True) if d is not None)
        value = -value if sign == "-" else value
        if -(1 << 63) <= value < 1 << 64:
            return value
    if not _FLOAT.fullmatch(plain):
        return text
    return _as_json(float(plain), text)


def _as_json(value: float, text: str) -> Scalar:
    """JSON has one kind of number: what is whole is an integer."""
    if value in (float("inf"), float("-inf")):
        return text
    if value.is_integer() and abs(value) < 1 << 63:
        return int(Decimal(repr(value)))
    return value


def _binary(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError("a !!binary value must be base64 of UTF-8 text") from None
