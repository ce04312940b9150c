"""Rules of ProxyTemplate (flota.dev/v1alpha1)."""

from flota.fleet.proxytemplate import ProxyTemplate
from flota.sources.admission.fault import Faults, fault


def proxy_template(given: ProxyTemplate) -> Faults:
    """What its schema does not say. Pieces of core/v1 in it are the API server's to judge."""
    scaling = given.spec.autoscaling
    if scaling is None:
        return
    if scaling.min_replicas > scaling.max_replicas:
        said = f"is {scaling.min_replicas}, more than maxReplicas, which is {scaling.max_replicas}; change one of them"
        yield fault(("spec", "autoscaling", "minReplicas"), "Invalid", said)
    if given.spec.replicas is not None:
        yield fault(("spec", "replicas"), "Forbidden", "autoscaling decides how many there are; remove one of the two")
