"""By what routing looks things up."""

from typing import NamedTuple


class Target(NamedTuple):
    """What a decision is about: a Service, a ServiceImport, or a route of which a rule has a policy."""

    kind: str
    namespace: str
    name: str


class RouteKey(NamedTuple):
    """A rule of a route; `rule` is its name, None if it has none."""

    kind: str
    namespace: str
    name: str
    rule: str | None = None


class BackendKey(NamedTuple):
    """A backend reference with its namespace filled in; `port` None where the reference has none."""

    group: str
    kind: str
    namespace: str
    name: str
    port: int | None


class PolicyKey(NamedTuple):
    """What a TrafficPolicy is attached to: all of an object (`section` None), or a named rule of a route."""

    kind: str
    namespace: str
    name: str
    section: str | None
