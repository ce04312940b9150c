"""What is wrong with an object, said as a value."""

from msgspec import Struct


class Problem(Struct, frozen=True):
    """One refusal or bad condition. `message` says where, what is allowed and how to mend it.

    `cluster` None = the top of the folder. `file` is relative to the folder, `line` counts from 1. `retry` = it may go
    away by itself, without a change of the object.
    """

    cluster: str | None
    kind: str
    namespace: str
    name: str
    reason: str
    """CamelCase, one of a known set per kind (a condition's reason where there is one)."""
    message: str
    file: str | None = None
    line: int | None = None
    retry: bool = False
