"""Rules of BackendTLSPolicy (Gateway API v1.6.1, GEP-1897) and of targetRefs (GEP-713)."""

from collections.abc import Sequence

from flota.fleet.policy import (
    BackendTLSPolicy,
    BackendTLSPolicyValidation,
    LocalPolicyTargetReferenceWithSectionName,
    SubjectAltName,
)
from flota.sources.admission.fault import Faults, Path, fault, text
from flota.sources.admission.names import is_ip


def backend_tls_policy(policy: BackendTLSPolicy) -> Faults:
    """All rules of a BackendTLSPolicy."""
    yield from targets(policy.spec.target_refs)
    yield from validation(policy.spec.validation, ("spec", "validation"))


def targets(refs: Sequence[LocalPolicyTargetReferenceWithSectionName]) -> Faults:
    """Two references to one target must both have a section, and not the same."""
    path: Path = ("spec", "targetRefs")
    first: dict[tuple[str, str, str], int] = {}
    seen: dict[tuple[object, ...], int] = {}
    for index, ref in enumerate(refs):
        target = (ref.group, ref.kind, ref.name)
        known = seen.setdefault((*target, ref.section_name), index)
        if known != index:
            said = f"is the same target as {text((*path, known))}; remove it, or give it another sectionName"
            yield fault((*path, index), "Duplicate", said)
            continue
        before = first.setdefault(target, index)
        if (refs[before].section_name is None) != (ref.section_name is None):
            said = f"sectionName must be set or unset as in {text((*path, before))}, which names the same target"
            yield fault((*path, index, "sectionName"), "Invalid", said)


def validation(given: BackendTLSPolicyValidation, path: Path) -> Faults:
    """Rules of how a backend's certificate is checked."""
    if is_ip(given.hostname):
        yield fault((*path, "hostname"), "Invalid", f'"{given.hostname}" is an IP address; a host name is needed')
    if given.ca_certificate_refs and given.well_known_ca_certificates:
        said = "caCertificateRefs and wellKnownCACertificates may not come together; remove one of them"
        yield fault((*path, "wellKnownCACertificates"), "Forbidden", said)
    if not given.ca_certificate_refs and not given.well_known_ca_certificates:
        said = "is required unless wellKnownCACertificates is set; name a ConfigMap with ca.crt"
        yield fault((*path, "caCertificateRefs"), "Required", said)
    for index, name in enumerate(given.subject_alt_names):
        yield from _alt_name(name, (*path, "subjectAltNames", index))


def _alt_name(given: SubjectAltName, path: Path) -> Faults:
    for type_, name, value in (("Hostname", "hostname", given.hostname), ("URI", "uri", given.uri)):
        if value is None and given.type == type_:
            yield fault((*path, name), "Required", f"is required for type {type_}; add it")
        elif value is not None and given.type != type_:
            yield fault((*path, name), "Forbidden", f"belongs to type {type_}, but type is {given.type}; change one of them")
