"""How the certificates of clients are checked (Gateway spec.tls.frontend, GEP-91): per port, else the default."""

from collections.abc import Mapping

from msgspec import Struct

from flota.fleet.core import ConfigMap
from flota.fleet.core import Secret as KubernetesSecret
from flota.fleet.gateway import FrontendTLSValidation, Gateway
from flota.fleet.meta import Key
from flota.fleet.policy import ReferenceGrant
from flota.fleet.references import GATEWAY_GROUP, ObjectReference
from flota.plan import ClientCheck, ObjectRef, Secret
from flota.routing.certificates import ROOTS, roots
from flota.routing.grants import Reference, permitted
from flota.routing.listeners import Fault

Holders = Mapping[Key, ConfigMap | KubernetesSecret]


class Clients(Struct, frozen=True):
    """The check of one port. `refusal`: nobody can be let in; `fault`: the first reference of no use, the others hold."""

    check: ClientCheck | None = None
    secrets: tuple[Secret, ...] = ()
    fault: Fault | None = None
    refusal: Fault | None = None


UNCHECKED = Clients()


def validation(gateway: Gateway, port: int) -> FrontendTLSValidation | None:
    """What is asked for on a port. An entry of the port replaces the default whole, also by asking for nothing."""
    frontend = gateway.spec.tls.frontend if gateway.spec.tls else None
    if frontend is None:
        return None
    return next((each.tls for each in frontend.per_port if each.port == port), frontend.default).validation


def is_insecure(gateway: Gateway) -> bool:
    """Whether any port may let in clients that show no good certificate."""
    frontend = gateway.spec.tls.frontend if gateway.spec.tls else None
    if frontend is None:
        return False
    given = [frontend.default, *(each.tls for each in frontend.per_port)]
    return any(each.validation and each.validation.mode == "AllowInsecureFallback" for each in given)


def clients(
    owner: ObjectRef,
    port: int,
    asked: FrontendTLSValidation,
    config_maps: Mapping[Key, ConfigMap],
    secrets: Mapping[Key, KubernetesSecret],
    grants: Mapping[Key, ReferenceGrant],
) -> Clients:
    """The check of a port of the Gateway `owner`: the roots of all references that are good, joined."""
    results = [_roots(owner, ref, config_maps if ref.kind == "ConfigMap" else secrets, grants) for ref in asked.ca_certificate_refs]
    good = b"".join(each for each in results if isinstance(each, bytes))
    first = next((each for each in results if isinstance(each, Fault)), None)
    if not good:
        text = f"no client can be let in on port {port}: {first.message if first else 'no reference to roots is good'}"
        return Clients(fault=first, refusal=Fault("NoValidCACertificate", text))
    name = f"gateway/{owner.namespace}/{owner.name}/clients/{port}"
    check = ClientCheck(name, required=asked.mode == "AllowValidOnly")
    return Clients(check, (Secret(name, roots=good),), first)


def _roots(owner: ObjectRef, ref: ObjectReference, holders: Holders, grants: Mapping[Key, ReferenceGrant]) -> bytes | Fault:
    """The permission is asked before anything is said of what exists in another namespace."""
    namespace = ref.namespace or owner.namespace
    where = f"{ref.kind} {namespace}/{ref.name}"
    if ref.group or ref.kind not in ("ConfigMap", "Secret"):
        return Fault("InvalidCACertificateKind", f"{where} cannot hold CA certificates; use a ConfigMap with {ROOTS}")
    if not permitted(grants, Reference(GATEWAY_GROUP, owner.kind, owner.namespace, "", ref.kind, namespace, ref.name)):
        text = f"{where} is in another namespace, and no ReferenceGrant there allows Gateways of {owner.namespace} to use it"
        return Fault("RefNotPermitted", text)
    found = roots(holders.get((namespace, ref.name)))
    return found if isinstance(found, bytes) else Fault("InvalidCACertificateRef", f"{where} {found}")
