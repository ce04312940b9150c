"""Which resource of a refused response does the proxy mean?

Envoy names the culprits in most of its messages ("Error adding/updating cluster(s) a: …"), but not in those of proto
validation, and a name may stand in a message about another one. So names only tell whom to send alone first: refused is
what is refused alone.
"""

from collections.abc import Sequence

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./")


def groups(names: Sequence[str], message: str) -> list[tuple[str, ...]]:
    """Groups of a refused response's names, each to be sent by itself; names in none of them are above suspicion."""
    suspects: list[tuple[str, ...]] = [(name,) for name in names if mentions(message, name)]
    if suspects or len(names) < 2:
        return suspects or [tuple(names)]
    middle = len(names) // 2
    return [tuple(names[:middle]), tuple(names[middle:])]


def mentions(message: str, name: str) -> bool:
    """Whether the name stands in the message as a whole word ("a" is not in "route-a/b")."""
    start = message.find(name) if name else -1
    while start >= 0:
        end = start + len(name)
        before, after = message[start - 1 : start], message[end : end + 1]
        if before not in _NAME_CHARACTERS and after not in _NAME_CHARACTERS:
            return True
        start = message.find(name, start + 1)
    return False
