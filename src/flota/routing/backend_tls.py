"""TLS towards backends: which BackendTLSPolicy holds for a port, and what it trusts (GEP-1897)."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from flota.fleet.policy import BackendTLSPolicy, BackendTLSPolicyValidation
from flota.fleet.references import MCS_GROUP, LocalObjectReference
from flota.plan.backends import ClientTLS
from flota.plan.listeners import Secret
from flota.routing.certificates import ROOTS, roots
from flota.routing.keys import Target
from flota.routing.seniority import seniority
from flota.routing.view import ClusterView

GROUPS = {"Service": "", "ServiceImport": MCS_GROUP}
"""Kinds a BackendTLSPolicy can be about, with their groups."""


class Fault(NamedTuple):
    """Why a reference of a policy is of no use; `reason` is that of the condition ResolvedRefs."""

    reason: str
    message: str


class Trust(NamedTuple):
    """What a policy trusts. `roots` None = nothing of what it names can be used; empty = the system's own."""

    roots: bytes | None
    faults: tuple[Fault, ...]


def policy_of(view: ClusterView, target: Target, port: str) -> BackendTLSPolicy | None:
    """The policy of a port (by its name): one for the port before one for the whole Service, the oldest of equals."""
    policies = view.member.tls_policies.get(target)
    named = prevailing(policies, target, port) if port else None
    return named or prevailing(policies, target, None)


def prevailing(policies: Iterable[BackendTLSPolicy], target: Target, section: str | None) -> BackendTLSPolicy | None:
    """The policy that holds among those attached to exactly this section; the others are Conflicted."""
    attached = (each for each in policies if (target, section) in attachments(each))
    return min(attached, key=seniority, default=None)


def attachments(policy: BackendTLSPolicy) -> frozenset[tuple[Target, str | None]]:
    """What a policy is about: targets of a kind it can be about, with the name of a port."""
    return frozenset(
        (Target(ref.kind, policy.metadata.namespace, ref.name), ref.section_name)
        for ref in policy.spec.target_refs
        if GROUPS.get(ref.kind) == ref.group
    )


def client_tls(view: ClusterView, policy: BackendTLSPolicy) -> tuple[ClientTLS, Secret | None] | Fault:
    """What the policy means for the connection. A Fault must not fall back to plain text: nothing may be sent then."""
    name = f"backendtlspolicy/{policy.metadata.namespace}/{policy.metadata.name}"
    return trusting(view, policy.metadata.namespace, policy.spec.validation, name)


def trusting(
    view: ClusterView, namespace: str, validation: BackendTLSPolicyValidation, name: str
) -> tuple[ClientTLS, Secret | None] | Fault:
    """Whom such a validation trusts, and by which name; `name` = of the `Secret` with the roots.

    The name tells the roots: with others it is another backend, so no request goes on over a connection that was judged by the old ones.
    """
    found = trust(view, namespace, validation)
    if found.roots is None:
        return found.faults[0]
    name = f"{name}/{blake2b(found.roots, digest_size=6).hexdigest()}"
    dns = tuple(each.hostname for each in validation.subject_alt_names if each.type == "Hostname" and each.hostname)
    uris = tuple(each.uri for each in validation.subject_alt_names if each.type == "URI" and each.uri)
    tls = ClientTLS(
        sni=validation.hostname,
        ca=name if found.roots else None,
        dns_names=dns if dns or uris else (validation.hostname,),
        uris=uris,
    )
    return tls, Secret(name=name, roots=found.roots) if found.roots else None


def trust(view: ClusterView, namespace: str, validation: BackendTLSPolicyValidation) -> Trust:
    """The roots that are named, joined, and what is wrong with its references. One good one is enough."""
    if not validation.ca_certificate_refs:
        if validation.well_known_ca_certificates == "System":
            return Trust(b"", ())
        known = validation.well_known_ca_certificates or "nothing"
        return Trust(None, (Fault("Invalid", f"wellKnownCACertificates is {known}; only System is supported"),))
    results = [_roots(view, namespace, ref) for ref in validation.ca_certificate_refs]
    good = [each for each in results if isinstance(each, bytes)]
    faults = tuple(each for each in results if isinstance(each, Fault))
    return Trust(b"".join(good) if good else None, faults)


def _roots(view: ClusterView, namespace: str, ref: LocalObjectReference) -> bytes | Fault:
    where = f"{ref.kind} {namespace}/{ref.name}"
    if ref.group or ref.kind not in ("ConfigMap", "Secret"):
        return Fault("InvalidKind", f"{where} cannot hold CA certificates; use a ConfigMap with {ROOTS}")
    key = (namespace, ref.name)
    found = roots(view.cluster.config_maps.get(key) if ref.kind == "ConfigMap" else view.cluster.secrets.get(key))
    return found if isinstance(found, bytes) else Fault("InvalidCACertificateRef", f"{where} {found}")
