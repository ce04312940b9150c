"""What an XBackendTrafficPolicy asks of a backend: a retry budget and sessions (GEP-3388, GEP-1619)."""

from math import ceil

from flota.fleet.backend import RetryConstraint, XBackendTrafficPolicy
from flota.fleet.meta import Condition
from flota.fleet.references import MCS_GROUP, X_GROUP
from flota.fleet.values import milliseconds
from flota.plan import Session
from flota.plan.backends import RetryBudget
from flota.routing import conditions
from flota.routing.keys import Target
from flota.routing.seniority import seniority
from flota.routing.sessions import session, shortcomings
from flota.routing.view import ClusterView

_FIELDS = {"Service": "services", "ServiceImport": "service_imports", "XBackend": "x_backends"}
_GROUPS = {"Service": "", "ServiceImport": MCS_GROUP, "XBackend": X_GROUP}


def traffic_of(view: ClusterView, target: Target) -> XBackendTrafficPolicy | None:
    """The policy that holds for a backend: of several the one first seen (GEP-713)."""
    return min((each for each in view.member.x_policies.get(target) if _is_about(each, target)), key=seniority, default=None)


def budget(policy: XBackendTrafficPolicy | None) -> RetryBudget | None:
    """How many second attempts there may be."""
    constraint = policy.spec.retry_constraint if policy else None
    if constraint is None:
        return None
    return RetryBudget(constraint.budget.percent, milliseconds(constraint.budget.interval), _least(constraint))


def held_session(policy: XBackendTrafficPolicy | None, target: Target) -> Session | None:
    """The session of its requests; the cookie is for all paths, as any rule may send there."""
    asked = policy.spec.session_persistence if policy else None
    return session(asked, tuple(target)) if asked else None


def backend_traffic_conditions(view: ClusterView, name: tuple[str, str]) -> tuple[Condition, ...]:
    """Accepted unless it does nothing at all; what does not work in part is said beside it."""
    policy = view.cluster.x_backend_traffic_policies[name]
    generation, refs = policy.metadata.generation, policy.spec.target_refs
    faults = [each for each in (_fault(view, policy, Target(ref.kind, name[0], ref.name), ref.group) for ref in refs) if each]
    text = "; ".join(dict.fromkeys(message for _, message in faults))
    if len(faults) == len(refs):
        return (conditions.false("Accepted", generation, faults[0][0], text),)
    said = [conditions.true("Accepted", generation)]
    asked = policy.spec.session_persistence
    notes = tuple(shortcomings(asked, 1)) if asked else ()
    if faults:
        said.append(conditions.true("PartiallyInvalid", generation, faults[0][0], text))
    elif notes:
        said.append(conditions.true("PartiallyInvalid", generation, "UnsupportedValue", "; ".join(notes)))
    return tuple(said)


def _fault(view: ClusterView, policy: XBackendTrafficPolicy, target: Target, group: str) -> tuple[str, str] | None:
    """Reason and message, where it does nothing for a target."""
    if _GROUPS.get(target.kind) != group:
        return "Invalid", f"{group}/{target.kind} cannot be the target of an XBackendTrafficPolicy; use {', '.join(_GROUPS)}"
    if view.get(_FIELDS[target.kind], target[1:]) is None:
        return "TargetNotFound", f"{target.kind} {target.namespace}/{target.name} does not exist"
    first = traffic_of(view, target)
    if first is not None and first is not policy:
        older = f"{first.metadata.namespace}/{first.metadata.name}"
        return "Conflicted", f"{target.kind} {target.namespace}/{target.name} already has XBackendTrafficPolicy {older}, which is older"
    return None


def _is_about(policy: XBackendTrafficPolicy, target: Target) -> bool:
    return any((ref.kind, ref.name) == (target.kind, target.name) and _GROUPS.get(ref.kind) == ref.group for ref in policy.spec.target_refs)


def _least(constraint: RetryConstraint) -> int:
    """Envoy knows a least number at a time, not a rate; attempts that take a second each would make the two equal."""
    return max(1, ceil(constraint.min_retry_rate.per_second))
