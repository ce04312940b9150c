"""Rules of XBackend and XBackendTrafficPolicy (Gateway API v1.6.1, apisx/v1alpha1)."""

from flota.fleet.backend import BackendTLS, RetryConstraint, XBackend, XBackendTrafficPolicy
from flota.fleet.values import milliseconds
from flota.sources.admission.fault import Faults, Path, doubled, fault, quoted
from flota.sources.admission.http import session
from flota.sources.admission.names import is_ip, is_label
from flota.sources.admission.policies import validation

_SECOND_MS, _HOUR_MS = 1_000, 3_600_000
_INSIDE = ".cluster.local"


def x_backend(given: XBackend) -> Faults:
    """All rules of an XBackend."""
    spec = given.spec
    if spec.external_hostname is None:
        yield fault(("spec", "externalHostname"), "Required", f"is required for type {spec.type}; add it")
    else:
        yield from _hostname(spec.external_hostname.hostname, ("spec", "externalHostname", "hostname"))
    if spec.port.name and not is_label(spec.port.name):
        said = f"{quoted(spec.port.name)} is not a DNS label: lower-case letters, digits and dashes"
        yield fault(("spec", "port", "name"), "Invalid", said)
    if spec.tls:
        yield from _tls(spec.tls, ("spec", "tls"))


def _hostname(name: str, path: Path) -> Faults:
    if name.endswith(_INSIDE):
        yield fault(path, "Invalid", f"{quoted(name)} is a name inside of the cluster; refer to its Service instead")
    if is_ip(name):
        yield fault(path, "Invalid", f"{quoted(name)} is an IP address; a host name is needed")


def _tls(given: BackendTLS, path: Path) -> Faults:
    named = given.client_certificate_ref is not None
    if given.mode == "ClientAndServer" and not named:
        yield fault((*path, "clientCertificateRef"), "Required", "is required for mode ClientAndServer; name a Secret")
    elif given.mode != "ClientAndServer" and named:
        said = f"belongs to mode ClientAndServer, but mode is {given.mode}; change one of them"
        yield fault((*path, "clientCertificateRef"), "Forbidden", said)
    if given.validation:
        yield from validation(given.validation, (*path, "validation"))


def x_backend_traffic_policy(given: XBackendTrafficPolicy) -> Faults:
    """All rules of an XBackendTrafficPolicy."""
    spec = given.spec
    path: Path = ("spec", "targetRefs")
    yield from doubled(path, spec.target_refs, lambda ref: (ref.group, ref.kind, ref.name), "", "is the same target")
    if spec.retry_constraint:
        yield from _constraint(spec.retry_constraint, ("spec", "retryConstraint"))
    if spec.session_persistence:
        yield from session(spec.session_persistence, ("spec", "sessionPersistence"))


def _constraint(given: RetryConstraint, path: Path) -> Faults:
    over = milliseconds(given.budget.interval)
    if not _SECOND_MS <= over <= _HOUR_MS:
        yield fault((*path, "budget", "interval"), "Invalid", f"{given.budget.interval} is out of range; must be 1s to 1h")
    rate = given.min_retry_rate.interval
    if rate is not None and not 0 < milliseconds(rate) <= _HOUR_MS:
        yield fault((*path, "minRetryRate", "interval"), "Invalid", f"{rate} is out of range; must be more than 0s and at most 1h")
