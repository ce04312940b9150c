"""A memo of certificate checks: parsing keys costs a millisecond, and Secrets change more often than listeners."""

from collections.abc import Mapping

from flota.fleet.core import Secret as KubernetesSecret
from flota.fleet.gateway import Gateway, Listener
from flota.fleet.meta import Key
from flota.fleet.policy import ReferenceGrant
from flota.routing.listeners import Certificates, certificates


class Certifier:
    """`listeners.certificates`, asked again only when a Secret, the grants or the listener changed."""

    def __init__(self) -> None:
        self._held: dict[tuple[Key, str], tuple[tuple[object, ...], Certificates]] = {}

    def __call__(
        self,
        listener: Listener,
        gateway: Gateway,
        secrets: Mapping[Key, KubernetesSecret],
        grants: Mapping[Key, ReferenceGrant],
    ) -> Certificates:
        """The certificates of the listener."""
        refs = listener.tls.certificate_refs if listener.tls else ()
        own = gateway.metadata.namespace
        inputs = (listener, grants, *(secrets.get((ref.namespace or own, ref.name)) for ref in refs))
        at = ((own, gateway.metadata.name), listener.name)
        before = self._held.get(at)
        if before and len(before[0]) == len(inputs) and all(map(_is, before[0], inputs)):
            return before[1]
        found = certificates(listener, gateway, secrets, grants)
        self._held[at] = (inputs, found)
        return found


def _is(one: object, other: object) -> bool:
    return one is other
