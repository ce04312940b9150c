"""Request paths as the proxy compares and changes them (RFC 3986 section 6.2.2; HTTPPathModifier)."""

import re
from urllib.parse import quote

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_ASCII = "".join(map(chr, range(33, 127)))
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def split(target: str) -> tuple[str, str]:
    """(path, query with its `?`) of a request target as clients send it: without a fragment, other than ASCII escaped."""
    path, mark, query = quote(target.partition("#")[0], safe=_ASCII).partition("?")
    return path, mark + query


def normalise(path: str) -> str:
    """The path that is compared and sent on: needless escapes undone, `.` and `..` resolved, slashes merged. `%2F` stays."""
    plain = _ESCAPE.sub(_unescape, path.replace("\\", "/"))
    kept: list[str] = []
    parts = plain.split("/")[1:] if plain.startswith("/") else plain.split("/")
    for at, part in enumerate(parts):
        last = at == len(parts) - 1
        if part == "..":
            if kept:
                kept.pop()
            if last:
                kept.append("")
        elif part != ".":
            kept.append(part)
        elif last:
            kept.append("")
    return re.sub("/{2,}", "/", "/" + "/".join(kept))


def replace_prefix(path: str, prefix: str, replacement: str) -> str:
    """The path with a matched prefix of whole elements replaced; trailing slashes of both say nothing."""
    old, new = prefix.rstrip("/"), replacement.rstrip("/")
    if new and not new.startswith("/"):
        new = "/" + new
    rest = path[len(old) :]
    if new:
        return new + rest
    return "/" + rest.lstrip("/")


def _unescape(found: re.Match[str]) -> str:
    character = chr(int(found.group(1), 16))
    return character if character in _UNRESERVED else found.group()
