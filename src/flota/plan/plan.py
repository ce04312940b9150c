"""The plan: what each proxy should serve, and what each object is told about itself."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from msgspec import Struct

from flota.fleet.meta import Condition, Key
from flota.fleet.problem import Problem
from flota.fleet.proxytemplate import ProxyTemplateSpec
from flota.plan.backends import Backend, Endpoints
from flota.plan.listeners import Listener, Secret
from flota.plan.routes import RouteTable


class ObjectRef(NamedTuple):
    """An object of the fleet. `cluster` is empty for those at the top of the folder."""

    cluster: str
    kind: str
    namespace: str
    name: str


class ParentStatus(Struct, frozen=True):
    """RouteParentStatus: what one parent (a Gateway or ListenerSet, and listener) says of a route."""

    namespace: str
    name: str
    section_name: str | None
    port: int | None
    conditions: tuple[Condition, ...]
    kind: Literal["Gateway", "ListenerSet"] = "Gateway"


class RouteStatus(Struct, frozen=True):
    """Status of any route kind. Conditions Accepted, ResolvedRefs, PartiallyInvalid per parent (Gateway API RouteStatus)."""

    parents: tuple[ParentStatus, ...]
    tables: tuple[str, ...] = ()
    """Tables and listeners of the proxy plan that carry it: in effect once these are acknowledged."""


class ListenerStatus(Struct, frozen=True):
    """Gateway API ListenerStatus, and of a ListenerSet its ListenerEntryStatus. `socket`: name of the plan's `Listener`, None when it is
    not served."""

    name: str
    attached_routes: int
    supported_kinds: tuple[tuple[str, str], ...]
    """(group, kind) pairs."""
    conditions: tuple[Condition, ...]
    socket: str | None = None


class GatewayStatus(Struct, frozen=True):
    """Gateway API GatewayStatus as planned. `Programmed` here means "planned to be": the edge turns it true on acknowledgement."""

    addresses: tuple[str, ...]
    conditions: tuple[Condition, ...]
    listeners: tuple[ListenerStatus, ...]
    listener_sets: int = 0
    """ListenerSets that take part (attachedListenerSets)."""
    template: ProxyTemplateSpec | None = None
    """How its own proxies are to run, as it and its class say by parametersRef; None = as Flota's settings say."""


class ListenerSetStatus(Struct, frozen=True):
    """Gateway API ListenerSetStatus as planned; `Programmed` as that of a Gateway. `gateway`: (namespace, name) of the parent."""

    gateway: tuple[str, str]
    conditions: tuple[Condition, ...]
    listeners: tuple[ListenerStatus, ...]


class PolicyStatus(Struct, frozen=True):
    """Status of a BackendTLSPolicy, TrafficPolicy, GatewayClass, ServiceExport or ServiceImport.

    `ancestors`: (namespace, name) of the Gateways of ours that a policy holds for, of which each has these conditions: an entry of
    `status.ancestors` in the API, 16 at most (GEP-713). None where no traffic can meet the policy, and for the other kinds.
    """

    conditions: tuple[Condition, ...]
    ancestors: tuple[Key, ...] = ()


Status = GatewayStatus | ListenerSetStatus | RouteStatus | PolicyStatus


class ProxyPlan(Struct, frozen=True):
    """All that the proxy of one cluster serves; every mapping by the `name` of its values. An unchanged part is the very same object."""

    cluster: str
    region: str
    zone: str
    listeners: Mapping[str, Listener]
    tables: Mapping[str, RouteTable]
    backends: Mapping[str, Backend]
    endpoints: Mapping[str, Endpoints]
    secrets: Mapping[str, Secret]


class Plan(Struct, frozen=True):
    """One plan for the whole fleet."""

    proxies: Mapping[str, ProxyPlan]
    """By cluster; a cluster without Gateways has none."""
    statuses: Mapping[ObjectRef, Status]
    problems: tuple[Problem, ...]
    """Every bad condition, as people read it."""
