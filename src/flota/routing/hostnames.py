"""Hostnames with wildcards: which listener a host belongs to, and which routes reach it (Gateway API Hostname).

A hostname is `a.example.com`, `*.example.com` (any number of labels in front, at least one), or `*` (every host).
"""

from collections.abc import Iterable, Iterator

ANY = "*"


def covers(wide: str, narrow: str) -> bool:
    """Whether every host that `narrow` matches is also matched by `wide`."""
    if wide in (ANY, narrow):
        return True
    return wide.startswith("*.") and narrow != ANY and narrow.removeprefix("*").endswith(wide[1:])


def intersect(one: str, other: str) -> str | None:
    """The hostname that matches exactly what both match; None if nothing does."""
    if covers(one, other):
        return other
    return one if covers(other, one) else None


def specificity(hostname: str) -> tuple[int, int]:
    """Grows with precedence: characters of an exact name first, then characters (HTTPRouteSpec.hostnames)."""
    if hostname == ANY:
        return (0, 0)
    return (0, len(hostname)) if hostname.startswith("*.") else (len(hostname), len(hostname))


def chain(hostname: str) -> Iterator[str]:
    """`hostname` and every wildcard that covers it, the most specific first, ending with `*`."""
    if hostname == ANY:
        yield ANY
        return
    yield hostname
    rest = hostname.removeprefix("*.")
    while "." in rest:
        rest = rest.split(".", 1)[1]
        yield f"*.{rest}"
    # `*.com` covers `a.com`; a bare label has only `*` above it.
    yield ANY


def most_specific(hostname: str, among: Iterable[str]) -> str | None:
    """The most specific of `among` that covers `hostname` whole; None if none does."""
    held = frozenset(among)
    return next((each for each in chain(hostname) if each in held), None)
