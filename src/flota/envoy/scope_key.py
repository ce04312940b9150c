"""The key by which a host finds its table: a hash of the host (without port, lower case), computed by the proxy for every request.

Two ways, the same tables: a dynamic module (ours, in C, `native/scope_key.c`), or, where it can't be loaded, parity bits by regular
expressions in pure configuration. Which one is decided once per proxy, before its first listener, and is part of every key.
"""

import re
import zlib
from collections.abc import Mapping
from typing import Literal

from flota.envoy.protos import Protos
from flota.envoy.values import Fields, extension

HEADER = "x-flota-scope"

Way = Literal["module", "cel"]
KEYS: Mapping[Way, int] = {"module": 256, "cel": 64}
"""Fixed for the life of a listener: every possible host has a key, and every key a scope. In configuration each doubling costs every
request another regular expression."""

_SETS = ("b-fj-ko-s0-12-46-7", "e-jv-w0-12-37-8", "a-jw-y3-47-9", "i-pr-y2-34-56-8", "d-eq-x0-48-9", "c-jl-p1-23-57-9")
"""Ranges of signs, found by search for an even spread; bit i is the parity of how many signs of a host are in set i."""


def key_of(host: str, way: Way) -> int:
    """The key of an exact host, as the proxy computes it. `host` lower case, without a port."""
    if way == "module":
        return zlib.crc32(host.encode()) % KEYS[way]
    return sum(1 << bit for bit, signs in enumerate(_members()) if sum(sign in signs for sign in host) & 1)


def _members() -> tuple[frozenset[str], ...]:
    return tuple(
        frozenset(chr(code) for first, last in re.findall("(.)-(.)", ranges) for code in range(ord(first), ord(last) + 1))
        for ranges in _SETS
    )


def mutation(protos: Protos, way: Way, prefix: str, module: str) -> Fields:
    """An early header mutation (TypedExtensionConfig): it runs before the table is chosen and replaces what a client sent under this name.

    `prefix` keeps the tables of one chain apart from all others; `module`: absolute path of the built module.
    """
    if way == "module":
        text = protos.message("google.protobuf.StringValue")(value=f"{HEADER} {KEYS[way]} {prefix}/")
        return extension(
            protos, "envoy.http.early_header_mutation.dynamic_modules",
            "envoy.extensions.http.early_header_mutation.dynamic_modules.v3.DynamicModuleEarlyHeaderMutation",
            dynamic_module_config={"module": {"local": {"filename": module}}, "do_not_close": True},
            early_header_mutation_name="scope",
            early_header_mutation_config=protos.any(text))
    header = {"key": HEADER, "value": f"{prefix}/{_expression()}"}
    return extension(
        protos, "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[{"append": {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD", "header": header}}])


def _expression() -> str:
    """An integer for every host: an empty value would leave the client's own header."""
    bits = (f"(request.host.matches('{_even(signs)}') ? 0 : {1 << bit})" for bit, signs in enumerate(_members()))
    return f"%CEL({' + '.join(bits)})%"


def _even(members: frozenset[str]) -> str:
    """RE2: an even number of members before the port. Few ASCII ranges only, as Envoy bounds the size of the program."""
    both = members | {sign.upper() for sign in members}
    inside = _ranges(both)
    outside = _ranges({chr(code) for code in range(1, 0x7F)} - both - {":"})
    return f"^[{outside}]*([{inside}][{outside}]*[{inside}][{outside}]*)*(:|$)"


def _ranges(signs: set[str] | frozenset[str]) -> str:
    """Sorted signs as the inside of a character class, hexadecimal escapes for what is not a letter or a digit."""
    codes = sorted(map(ord, signs))
    parts, start = [], codes[0]
    for code, after in zip(codes, [*codes[1:], -1], strict=True):
        if after != code + 1:
            parts.append(_sign(start) if start == code else f"{_sign(start)}-{_sign(code)}")
            start = after
    return "".join(parts)


def _sign(code: int) -> str:
    return chr(code) if chr(code).isalnum() else f"\\\\x{code:02x}"
