"""The addresses at which Gateways are reached: what load balancers gave their Services, followed by every replica."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct, field

from flota.clock import Clock
from flota.fleet.meta import Key
from flota.kube.cache import Undecodable
from flota.kube.client import Client
from flota.kube.pace import Pace
from flota.kube.reflector import Reflector
from flota.kube.resource import Resource
from flota.kube.timing import Jitter
from flota.latest import Latest
from flota.writeback.names import GATEWAY_LABEL, MANAGED_BY, MANAGER

SERVICES = Resource("", "v1", "services", "Service")
Addresses = Mapping[Key, tuple[str, ...]]
"""(namespace, name) of a Gateway → its addresses."""


class _Owner(Struct):
    kind: str = ""
    name: str = ""


class _Meta(Struct, rename="camel"):
    namespace: str = ""
    owner_references: list[_Owner] = field(default_factory=list)


class _Spec(Struct, rename="camel"):
    type: str = ""
    cluster_ips: list[str] = field(name="clusterIPs", default_factory=list)


class _Ingress(Struct):
    ip: str = ""
    hostname: str = ""


class _Balancer(Struct):
    ingress: list[_Ingress] = field(default_factory=list)


class _Status(Struct, rename="camel"):
    load_balancer: _Balancer = field(default_factory=_Balancer)


class _Service(Struct):
    metadata: _Meta
    spec: _Spec = field(default_factory=_Spec)
    status: _Status = field(default_factory=_Status)


class Balanced(Struct, frozen=True):
    """What a Service says: of which Gateway it is, and at which addresses that is reached."""

    gateway: Key
    addresses: tuple[str, ...]


def decode(raw: Raw | bytes, before: Balanced | None = None) -> Balanced | Undecodable:
    """A Service of ours. One without a load balancer is reached at its cluster addresses."""
    try:
        service = msgspec.json.decode(raw, type=_Service)
    except msgspec.DecodeError as error:
        return Undecodable("Undecodable", str(error))
    owner = next((each.name for each in service.metadata.owner_references if each.kind == "Gateway"), "")
    ingress = service.status.load_balancer.ingress
    addresses = tuple(each.ip or each.hostname for each in ingress if each.ip or each.hostname)
    if service.spec.type != "LoadBalancer":
        addresses = tuple(each for each in service.spec.cluster_ips if each != "None")
    new = Balanced((service.metadata.namespace, owner), addresses)
    return before if before == new else new


class Balancers:
    """Keeps `addresses` up to date; the identical mapping until one changes."""

    def __init__(self, client: Client, clock: Clock, jitter: Jitter, pace: Pace) -> None:
        self.addresses: Latest[Addresses] = Latest({})
        self.synced: Latest[bool] = Latest(False)
        self._reflector: Reflector[Balanced] = Reflector(
            client, SERVICES, decode,
            clock=clock, jitter=jitter, pace=pace, notify=self._notify, labels=f"{MANAGED_BY}={MANAGER},{GATEWAY_LABEL}",
        )  # fmt: skip

    async def run(self) -> None:
        """Until cancelled."""
        await self._reflector.run()

    def _notify(self) -> None:
        found = {each.gateway: each.addresses for each in self._reflector.cache.objects.values() if each.gateway[1] and each.addresses}
        if self._reflector.state.synced:
            if found != self.addresses.get():
                self.addresses.set(found)
            self.synced.set(True)
