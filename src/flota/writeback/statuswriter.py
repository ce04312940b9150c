"""Statuses to the API server: one write per real change, only what is ours, only while we lead.

Statuses that are ours alone are applied with our own field manager; lists that we share with other controllers are replaced as a whole,
on condition that nobody has changed the object since. A burst of routes is counted once: `attachedRoutes` waits until it is over.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

from flota.clock import Clock
from flota.fleet.meta import Key
from flota.kube.client import Client
from flota.kube.errors import ApiError
from flota.latest import Latest
from flota.plan import GatewayStatus, ListenerSetStatus, ObjectRef, PolicyStatus, RouteStatus
from flota.writeback import statuses
from flota.writeback.conditions import Delivered, Json
from flota.writeback.errands import Errands
from flota.writeback.held import WRITTEN, Held, Heldings, Ref, decode, resource_of
from flota.writeback.picture import ROUTE_FIELDS, Picture
from flota.writeback.statuses import Told

QUIET_S, LONGEST_S = 0.25, 10.0
"""A count of routes is written when it has not changed for so long, and at the latest after that."""
AGAIN_S = 5.0
"""After a write that the API server would not take."""
SHARED = frozenset({"HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "BackendTLSPolicy", "XBackend", "XBackendTrafficPolicy"})
"""Kinds whose status is a list that other controllers write to as well."""


class _Counting(Struct):
    """A count that moves."""

    status: Json
    since: float
    last: float


class StatusWriter:
    """`look` at what may differ; `work` writes it."""

    def __init__(
        self,
        client: Client,
        picture: Latest[Picture | None],
        delivered: Callable[[Key], Delivered],
        features: Iterable[str],
        leads: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._client, self._picture, self._delivered, self._leads, self._clock = client, picture, delivered, leads, clock
        self._features = tuple(features)
        self._seen: Mapping[ObjectRef, object] = {}
        self._sets: dict[Ref, Key] = {}
        """ListenerSets and the Gateways whose proxies serve them."""
        self._counting: dict[Ref, _Counting] = {}
        self._said: dict[Ref, tuple[Json, str]] = {}
        """What we wrote last, and the version that it made: whatever else is in a status then, others put there."""
        self.errands: Errands[Ref] = Errands(clock)
        self.writes = 0
        self.failures: dict[Ref, str] = {}
        """What the API server said of writes that it would not take."""

    def look(self) -> None:
        """A new picture: ask for what differs from the last one."""
        picture = self._picture.get()
        if picture is None:
            return
        before, self._seen = self._seen, picture.plan.statuses
        if before is self._seen:
            return
        changed = [ref for ref, status in self._seen.items() if before.get(ref) is not status]
        changed += [ref for ref in before if ref not in self._seen]
        for ref in changed:
            if ref.cluster == picture.cluster and ref.kind in WRITTEN:
                self._ask(ref, self._seen.get(ref))

    def _ask(self, ref: ObjectRef, status: object) -> None:
        key: Ref = (ref.kind, ref.namespace, ref.name)
        self._sets.pop(key, None)
        if isinstance(status, ListenerSetStatus):
            self._sets[key] = status.gateway
        self.errands.ask([key])

    def delivered(self, gateways: Iterable[Key]) -> None:
        """Proxies of these Gateways acknowledged something, came or went."""
        moved = set(gateways)
        self.errands.ask(("Gateway", *key) for key in moved)
        self.errands.ask(ref for ref, gateway in self._sets.items() if gateway in moved)

    async def work(self, held: Heldings) -> None:
        """Until cancelled."""
        await self.errands.work(lambda ref: self._write(held, ref), 8)

    async def _write(self, heldings: Heldings, ref: Ref) -> float | None:
        held, picture = heldings.get(ref), self._picture.get()
        if held is None or picture is None:
            return None
        wanted = self._wanted(picture, ref, Told(held.status, self._clock.now()))
        if wanted is None or not _differs(held.status, wanted) or self._said.get(ref) == (wanted, held.metadata.resource_version):
            self._counting.pop(ref, None)
            return None
        wait = self._patience(ref, held.status, wanted)
        if wait > 0:
            return wait
        if not self._leads():
            return None
        return self._answered(heldings, ref, held, wanted, await self._send(ref, held, wanted))

    async def _send(self, ref: Ref, held: Held, wanted: Json) -> bytes | ApiError:
        kind, namespace, name = ref
        resource = resource_of(kind)
        if kind in SHARED:
            body: Json = {"metadata": {"resourceVersion": held.metadata.resource_version, "uid": held.metadata.uid}, "status": wanted}
            return await self._client.merge(resource, name, body, namespace, subresource="status")
        metadata = {"name": name, "uid": held.metadata.uid} | ({"namespace": namespace} if namespace else {})
        body = {"apiVersion": resource.api_version, "kind": kind, "metadata": metadata, "status": wanted}
        return await self._client.apply(resource, name, body, namespace, subresource="status")

    def _answered(self, heldings: Heldings, ref: Ref, held: Held, wanted: Json, answer: bytes | ApiError) -> float | None:
        self._counting.pop(ref, None)
        self.writes += 1
        if isinstance(answer, ApiError):
            if answer.code in (404, 409):
                return 0.1  # it has changed, or is gone: the stream is about to say so
            self.failures[ref] = f"{answer.reason}: {answer.message}"
            return AGAIN_S
        self.failures.pop(ref, None)
        after = decode(answer)
        if isinstance(after, Held):
            heldings.wrote(ref, held, after)
            self._said[ref] = (wanted, after.metadata.resource_version)
        return None

    def _wanted(self, picture: Picture, ref: Ref, told: Told) -> Json | None:
        kind, namespace, name = ref
        status = picture.plan.statuses.get(ObjectRef(picture.cluster, kind, namespace, name))
        if kind in ROUTE_FIELDS:
            return self._route(picture, ref, status if isinstance(status, RouteStatus) else RouteStatus(()), told)
        if isinstance(status, GatewayStatus):
            return statuses.gateway(status, self._delivered((namespace, name)), told)
        if isinstance(status, ListenerSetStatus):
            return statuses.listener_set(status, self._delivered(status.gateway), told)
        if kind in statuses.LISTS:
            known = status if isinstance(status, PolicyStatus) else PolicyStatus(())
            wanted = statuses.ancestors(known.conditions, known.ancestors, told, statuses.LISTS[kind])
            return wanted if any(wanted.values()) or any(told.held.get(each) for each in wanted) else None
        if not isinstance(status, PolicyStatus):
            return None
        if kind == "GatewayClass":
            return statuses.gateway_class(status.conditions, self._features, told)
        made = statuses.ancestors(status.conditions, status.ancestors, told)
        return {**statuses.plain(status.conditions, told), **made}

    def _route(self, picture: Picture, ref: Ref, status: RouteStatus, told: Told) -> Json | None:
        route = getattr(picture.objects, ROUTE_FIELDS[ref[0]]).get(ref[1:])
        if route is None:
            return None
        wanted = statuses.route(status, ref[1], route.spec.parent_refs, told)
        return wanted if wanted["parents"] or told.held.get("parents") else None

    def _patience(self, ref: Ref, held: Mapping[str, Any], wanted: Json) -> float:
        """Seconds to wait before a write, as more is to be expected."""
        if ref[0] not in ("Gateway", "ListenerSet") or _differs(_uncounted(held), _uncounted(wanted)):
            return 0.0
        now = self._clock.monotonic()
        counting = self._counting.get(ref)
        if counting is None:
            counting = self._counting[ref] = _Counting(wanted, now, now)
        elif counting.status != wanted:
            counting.status, counting.last = wanted, now
        return min(counting.last + QUIET_S, counting.since + LONGEST_S) - now


def _differs(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return any(held.get(name, []) != value for name, value in wanted.items())


def _uncounted(status: Mapping[str, Any]) -> Json:
    listeners = [{**each, "attachedRoutes": 0} for each in status.get("listeners", [])]
    return {**status, "listeners": listeners}
