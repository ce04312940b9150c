"""Certificates with their keys that Gateways and ListenerSets refer to: those of a listener, and the one shown to backends."""

from collections.abc import Mapping

from msgspec import Struct

from flota.fleet.core import CERTIFICATE, KEY
from flota.fleet.core import Secret as KubernetesSecret
from flota.fleet.gateway import Gateway, Listener
from flota.fleet.meta import Key
from flota.fleet.policy import ReferenceGrant
from flota.fleet.references import GATEWAY_GROUP, SecretObjectReference
from flota.plan import ObjectRef, Secret, ServerTLS
from flota.routing.certificates import fault
from flota.routing.grants import Reference, permitted
from flota.routing.listeners import Fault, ends_tls

Secrets = Mapping[Key, KubernetesSecret]
Grants = Mapping[Key, ReferenceGrant]


class Certificates(Struct, frozen=True):
    """The certificates of a listener that are good, and the first thing wrong with the others."""

    tls: ServerTLS | None
    secrets: tuple[Secret, ...]
    fault: Fault | None


def certificates(owner: ObjectRef, listener: Listener, secrets: Secrets, grants: Grants) -> Certificates:
    """The TLS that a listener of `owner` ends; `tls` None with no fault when it ends none."""
    if not ends_tls(listener):
        return Certificates(None, (), None)
    refs = listener.tls.certificate_refs if listener.tls else ()
    if not refs:
        return Certificates(None, (), Fault("InvalidCertificateRef", "tls.certificateRefs names no certificate"))
    good: dict[str, Secret] = {}
    first: Fault | None = None
    for ref in refs:
        found = key_pair(owner, ref, secrets, grants, "InvalidCertificateRef")
        if isinstance(found, Secret):
            good[found.name] = found
        else:
            first = first or found
    alpn = ("h2", "http/1.1") if listener.protocol == "HTTPS" else ()
    return Certificates(ServerTLS(tuple(good), alpn=alpn) if good else None, tuple(good.values()), first)


def client_certificate(owner: ObjectRef, gateway: Gateway, secrets: Secrets, grants: Grants) -> Secret | Fault | None:
    """What the Gateway shows to backends that speak TLS (spec.tls.backend.clientCertificateRef); None = nothing is asked for."""
    ref = gateway.spec.tls.backend.client_certificate_ref if gateway.spec.tls and gateway.spec.tls.backend else None
    return key_pair(owner, ref, secrets, grants, "InvalidClientCertificateRef") if ref else None


def key_pair(
    owner: ObjectRef, ref: SecretObjectReference, secrets: Secrets, grants: Grants, reason: str, group: str = GATEWAY_GROUP
) -> Secret | Fault:
    """A certificate with its key that an object of `group` names. The permission is asked first: who may not refer to another namespace
    is not told what exists there."""
    namespace = ref.namespace or owner.namespace
    where = f"{ref.kind} {namespace}/{ref.name}"
    if (ref.group, ref.kind) != ("", "Secret"):
        return Fault(reason, f"{where}: only a Secret can hold a certificate")
    if not permitted(grants, Reference(group, owner.kind, owner.namespace, "", "Secret", namespace, ref.name)):
        text = f"{where} is in another namespace, and no ReferenceGrant there allows {owner.kind}s of {owner.namespace} to use it"
        return Fault("RefNotPermitted", text)
    secret = secrets.get((namespace, ref.name))
    if secret is None:
        return Fault(reason, f"{where} does not exist")
    wrong = fault(secret)
    if wrong:
        return Fault(reason, f"{where} can't be used: {wrong}")
    return Secret(f"secret/{namespace}/{ref.name}", secret.data[CERTIFICATE], secret.data[KEY])
