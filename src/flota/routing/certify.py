"""A memo of certificate checks: parsing keys costs a millisecond, and Secrets change more often than listeners."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from flota.fleet.fleet import Cluster
from flota.fleet.gateway import Gateway, Listener
from flota.plan import ObjectRef, Secret
from flota.routing.clients import UNCHECKED, Clients, clients, validation
from flota.routing.keypairs import Certificates, certificates, client_certificate
from flota.routing.listeners import Fault

T = TypeVar("T")


class Certifier:
    """What `keypairs` and `clients` answer, asked again only when something that they look at changed."""

    def __init__(self) -> None:
        self._held: dict[object, tuple[tuple[object, ...], Any]] = {}
        self._before: dict[object, tuple[tuple[object, ...], Any]] = {}

    def begin(self) -> None:
        """A new round: what nobody asks in it is forgotten with the next."""
        self._before, self._held = self._held, {}

    def certificates(self, owner: ObjectRef, listener: Listener, cluster: Cluster) -> Certificates:
        """The certificates of a listener."""
        refs = listener.tls.certificate_refs if listener.tls else ()
        keys = [(ref.namespace or owner.namespace, ref.name) for ref in refs]
        inputs = (listener, cluster.reference_grants, *map(cluster.secrets.get, keys))
        make = lambda: certificates(owner, listener, cluster.secrets, cluster.reference_grants)  # noqa: E731
        return self._recall((owner, listener.name), inputs, make)

    def client_certificate(self, owner: ObjectRef, gateway: Gateway, cluster: Cluster) -> Secret | Fault | None:
        """What the Gateway shows to backends."""
        ref = gateway.spec.tls.backend.client_certificate_ref if gateway.spec.tls and gateway.spec.tls.backend else None
        if ref is None:
            return None
        inputs = (ref, cluster.reference_grants, cluster.secrets.get((ref.namespace or owner.namespace, ref.name)))
        make = lambda: client_certificate(owner, gateway, cluster.secrets, cluster.reference_grants)  # noqa: E731
        return self._recall((owner, "client"), inputs, make)

    def clients(self, owner: ObjectRef, gateway: Gateway, port: int, cluster: Cluster) -> Clients:
        """How the clients of a port are checked."""
        asked = validation(gateway, port)
        if asked is None:
            return UNCHECKED
        keys = [(ref.namespace or owner.namespace, ref.name) for ref in asked.ca_certificate_refs]
        held = (*map(cluster.config_maps.get, keys), *map(cluster.secrets.get, keys))
        make = lambda: clients(owner, port, asked, cluster.config_maps, cluster.secrets, cluster.reference_grants)  # noqa: E731
        return self._recall((owner, port), (asked, cluster.reference_grants, *held), make)

    def _recall(self, at: object, inputs: tuple[object, ...], make: Callable[[], T]) -> T:
        before = self._held.get(at) or self._before.get(at)
        if before is None or not _same(before[0], inputs):
            before = (inputs, make())
        self._held[at] = before
        found: T = before[1]
        return found


def _same(old: Iterable[object], new: Iterable[object]) -> bool:
    before: Iterator[tuple[object, object]] = zip(old, new, strict=False)
    return all(one is other for one, other in before)
