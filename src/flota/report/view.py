"""One moment of the fleet as it is wanted, planned and observed: the only input of every report."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from msgspec import Struct, field

from flota.fleet.fleet import Fleet
from flota.fleet.problem import Problem
from flota.plan import ObjectRef, Plan, State
from flota.report.told import Reading


class Origin(NamedTuple):
    """Where an object comes from: `file` relative to the fleet folder, `line` counted from 1."""

    file: str
    line: int | None


class Seen(NamedTuple):
    """What a proxy finds of an endpoint. `cause` says why in a sentence; empty for a healthy one."""

    state: State
    cause: str = ""


ProxyState = Literal["Running", "Starting", "Failing", "Stopping", "Stopped"]
"""Running: its process lives. Starting: not yet. Failing: it ends again and again. Stopping: told to end, it finishes its requests.
Stopped: it has ended as it was told."""


class Refused(NamedTuple):
    """Why a proxy does not take a part of its plan. `reason`: PortUnavailable, AddressNotUsable or Invalid; `message`: a sentence."""

    reason: str
    message: str


class ProxyView(Struct, frozen=True, kw_only=True):
    """What is known of the proxy of one cluster."""

    state: ProxyState
    reason: str = ""
    """Why it isn't running, in a sentence."""
    pid: int | None = None
    connected: bool = False
    """It follows our plan. A proxy that lost us keeps serving what it has."""
    pending: frozenset[str] = frozenset()
    """Names in the `ProxyPlan` (listeners, tables, backends, secrets) whose newest content it has not acknowledged."""
    refused: Mapping[str, Refused] = field(default_factory=dict)
    """Names in the `ProxyPlan` → why the proxy does not take their newest content."""
    endpoints: Mapping[str, Mapping[str, Seen]] = field(default_factory=dict)
    """Label of the backend → `address:port` (IPv6 in brackets) → what the proxy finds; absent = nothing observed."""


class PodView(Struct, frozen=True, kw_only=True):
    """A pod that runs here as processes."""

    cluster: str
    namespace: str
    name: str
    owner: str
    """`Deployment/shop`, or the Pod's own `Pod/<name>`."""
    address: str | None
    phase: str
    ready: bool
    terminating: bool = False
    reason: str = ""
    """Why it is not ready; a sentence."""
    restarts: int = 0
    pids: tuple[int, ...] = ()
    failed: bool = False
    """It will not become ready without a change: its command can't be started, or its job gave up."""


class Running(Struct, frozen=True, kw_only=True):
    """The Flota that made the view."""

    pid: int
    version: str
    since: datetime
    metrics: str | None = None
    """`http://address:port` of `/metrics` and `/readyz`."""


Since = Mapping[tuple[str, str, str], datetime]
"""(the part of the object that a condition is about, its type, its status) → when it took that status; see `conditions.parts`."""


def _no_origin(ref: ObjectRef) -> Origin | None:
    """Where no files are known."""


class View(Struct, frozen=True, kw_only=True):
    """Everything that a report may look at. Made from the running fleet, or with nothing of ours running (`running` None): from a folder,
    or from clusters as they are (`read`)."""

    def unseen(self) -> tuple[str, ...]:
        """What could not be read, a sentence each; answers do not count it."""
        return self.read.unseen if self.read is not None else ()

    fleet: Fleet
    plan: Plan
    now: datetime
    problems: tuple[Problem, ...] = ()
    """What the sources say: refused objects and those that have no effect."""
    refusals: frozenset[Problem] = frozenset()
    """Those of `problems` that refuse an object or a file: what `flota check` fails on."""
    origin: Callable[[ObjectRef], Origin | None] = _no_origin
    proxies: Mapping[str, ProxyView] = field(default_factory=dict)
    """By cluster. A cluster of the plan that is absent here has no proxy yet."""
    pods: tuple[PodView, ...] = ()
    since: Mapping[ObjectRef, Since] = field(default_factory=dict)
    """When each condition took its present status (`conditions.advance`)."""
    running: Running | None = None
    read: Reading | None = None
    """Set where clusters were read whose proxies somebody else runs (`--context`)."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Objects of kinds that are not ours, counted by `Kind.group`."""
