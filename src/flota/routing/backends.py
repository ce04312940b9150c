"""A reference to a backend and all that is known of it: which Envoy cluster it becomes, and the endpoints behind it."""

from collections.abc import Mapping
from hashlib import blake2b
from math import ceil
from typing import Literal

import msgspec
from msgspec import Struct

from flota.plan.backends import Backend, ClientTLS, Endpoints, HealthCheck, Locality
from flota.plan.filters import Session
from flota.plan.listeners import Secret
from flota.routing import probes
from flota.routing.backend_tls import Fault, client_tls, policy_of
from flota.routing.backend_traffic import budget, held_session, traffic_of
from flota.routing.external import external_port, external_tls, find_external, is_external, speaks
from flota.routing.health import keep_the_last
from flota.routing.keys import BackendKey, RouteKey, Target
from flota.routing.policy import Effective, policy_for
from flota.routing.ports import Port, Reason, Unresolved, called, find_port
from flota.routing.protocols import Hint, Protocol, protocol
from flota.routing.tiers import Ranking, Source, rank
from flota.routing.view import ClusterView

__all__ = ["Reason", "Resolved", "Unresolved", "policy_for", "resolve"]

CONNECT_MS = 250
EXTERNAL_CONNECT_MS = 5_000
"""Nothing is known of the way to what is outside."""
_KINDS: Mapping[str, Literal["Service", "ServiceImport", "XBackend"]] = {
    "Service": "Service", "ServiceImport": "ServiceImport", "XBackend": "XBackend",
}  # fmt: skip


class Resolved(Struct, frozen=True):
    """What a reference stands for. `secrets` are those that the backend names."""

    backend: Backend
    endpoints: Endpoints
    secrets: tuple[Secret, ...]
    policy: Effective
    session: Session | None = None
    """Asked for by an XBackendTrafficPolicy of the backend."""
    rtt_ms: int = 0
    """Round trip to the farthest place in use, as far as distances are known."""


Outcome = Resolved | Unresolved


class _Kept(Struct, frozen=True):
    """An outcome and the policy it depends on."""

    policy: Effective
    outcome: Outcome


def resolve(view: ClusterView, ref: BackendKey, route: RouteKey, hint: Hint, certificate: str | None = None) -> Outcome:
    """What `ref` (namespace filled in, ReferenceGrant checked) means for a rule of `route` in the view's cluster. `certificate`: name of
    the `Secret` that is shown to it, should it speak TLS.

    The same object as last time unless something it depends on changed.
    """
    target = Target(ref.kind, ref.namespace, ref.name)
    policy = policy_for(view, target, route)
    attached = (policy.scope, policy.name) if policy.attached == "rule" else None
    detail = (ref.group, ref.port, hint, attached, certificate)
    kept = view.memo.recall(target, detail)
    if isinstance(kept, _Kept) and kept.policy.policy is policy.policy:
        return kept.outcome
    outcome = _resolve(view, ref, policy, hint, certificate)
    before = view.memo.before(target, detail)
    if isinstance(before, _Kept):
        outcome = _same(before.outcome, outcome)
    view.memo.keep(target, detail, _Kept(policy, outcome))
    return outcome


def _same(old: Outcome, new: Outcome) -> Outcome:
    """The new outcome made of the old objects where they are equal."""
    if old == new:
        return old
    if isinstance(old, Unresolved) or isinstance(new, Unresolved):
        return new
    return Resolved(
        backend=old.backend if old.backend == new.backend else new.backend,
        endpoints=old.endpoints if old.endpoints == new.endpoints else new.endpoints,
        secrets=old.secrets if old.secrets == new.secrets else new.secrets,
        policy=new.policy,
        session=new.session,
        rtt_ms=new.rtt_ms,
    )


def _resolve(view: ClusterView, ref: BackendKey, policy: Effective, hint: Hint, certificate: str | None) -> Outcome:
    if is_external(ref):
        return _resolve_external(view, ref, policy, hint)
    port = find_port(view, ref, "UDP" if hint == "UDP" else "TCP")
    if isinstance(port, Unresolved):
        return port
    spoken = protocol(hint, port.protocol, port.app_protocol)
    if isinstance(spoken, str):
        return Unresolved("UnsupportedProtocol", f"{called(ref)}: {spoken}")
    secured = _secure(view, ref, port, spoken, hint)
    if isinstance(secured, Unresolved):
        return secured
    tls, secret = secured
    if tls and certificate:
        tls = msgspec.structs.replace(tls, certificate=certificate)
    return _assemble(view, ref, port, policy, spoken, tls, (secret,) if secret else ())


def _resolve_external(view: ClusterView, ref: BackendKey, policy: Effective, hint: Hint) -> Outcome:
    found = find_external(view, ref)
    if isinstance(found, Unresolved):
        return found
    port = external_port(view, found, hint)
    spoken = speaks(found, hint, protocol(hint, port.protocol, port.app_protocol))
    if isinstance(spoken, str):
        return Unresolved("UnsupportedProtocol", f"{called(ref)}: {spoken}")
    secured = external_tls(view, found, hint)
    if isinstance(secured, Fault):
        return Unresolved("InvalidBackendTLS", f"{called(ref)}: {secured.message}")
    return _assemble(view, ref, port, policy, spoken, *secured)


def _secure(
    view: ClusterView, ref: BackendKey, port: Port, spoken: Protocol, hint: Hint
) -> tuple[ClientTLS | None, Secret | None] | Unresolved:
    """TLS as a BackendTLSPolicy asks for it. What is passed through is already encrypted, and datagrams have none."""
    if hint in ("TLS", "UDP"):
        return None, None
    policy = policy_of(view, Target(ref.kind, ref.namespace, ref.name), port.name)
    if policy is None:
        if spoken.needs_tls:
            hint_text = f"appProtocol {port.app_protocol} needs a BackendTLSPolicy that says whom to trust"
            return Unresolved("UnsupportedProtocol", f"{called(ref)}: {hint_text}")
        return None, None
    found = client_tls(view, policy)
    if isinstance(found, Fault):
        name = f"{policy.metadata.namespace}/{policy.metadata.name}"
        return Unresolved("InvalidBackendTLS", f"{called(ref)}: BackendTLSPolicy {name}: {found.message}")
    return found


def _assemble(
    view: ClusterView,
    ref: BackendKey,
    port: Port,
    policy: Effective,
    spoken: Protocol,
    tls: ClientTLS | None,
    secrets: tuple[Secret, ...],
) -> Resolved:
    cluster = view.cluster
    source = Source(cluster.name, cluster.region, cluster.zone or "")
    ranking = rank(source, keep_the_last(_permitted(port.places, policy)), policy, view.fleet.distances)
    label = _label(ref, port, policy)
    endpoints = Endpoints(name=label, tiers=ranking.tiers, overprovisioning=policy.overprovisioning)
    farthest = _farthest(ranking, source, view)
    external = is_external(ref)
    target = Target(ref.kind, ref.namespace, ref.name)
    traffic = traffic_of(view, target)
    backend = Backend(
        name="",
        label=label,
        kind=_KINDS[ref.kind],
        namespace=ref.namespace,
        service=ref.name,
        port=port.number,
        endpoints=endpoints.name,
        protocol=spoken.spoken,
        tls=tls,
        # Who is outside has not asked to be looked at every second.
        health=None if external else _health(view, policy, spoken, port, tls, farthest),
        fail_back_ms=0 if policy.spec is None else policy.spec.fail_back_ms,
        close_on_failure=spoken.spoken == "TCP",
        strict_weights=ranking.weighted,
        dns=external,
        retry_budget=budget(traffic),
        connect_timeout_ms=EXTERNAL_CONNECT_MS if external else max(CONNECT_MS, ceil(3 * farthest)),
    )
    return Resolved(_named(backend), endpoints, secrets, policy, held_session(traffic, target), ceil(farthest))


def _permitted(found: tuple[Locality, ...], policy: Effective) -> tuple[Locality, ...]:
    """Only places that traffic may go to count as what is left."""
    return tuple(each for each in found if policy.permits(each.cluster, each.region))


def _label(ref: BackendKey, port: Port, policy: Effective) -> str:
    """What people and statistics call it. A policy of its own rule ranks the endpoints in another way: another name."""
    base = f"{ref.kind.lower()}/{ref.namespace}/{ref.name}/{port.number}{'/udp' if port.protocol == 'UDP' else ''}"
    if policy.attached == "rule":
        base += f"/{'policy' if policy.scope == 'cluster' else 'fleet-policy'}/{policy.name}"
    return base.replace(".", "_")


def _named(backend: Backend) -> Backend:
    """The backend under a name that its content decides."""
    digest = blake2b(msgspec.msgpack.encode(msgspec.structs.replace(backend, label="")), digest_size=6).hexdigest()
    kind = backend.kind.lower()
    return msgspec.structs.replace(backend, name=f"{kind}/{backend.namespace}/{backend.service}/{backend.port}/{digest}")


def _farthest(ranking: Ranking, source: Source, view: ClusterView) -> float:
    """Round trip to the farthest place in use, in milliseconds, as far as distances are known."""
    regions = {place.region for tier in ranking.tiers for place in tier.localities}
    return max((view.fleet.distances.get((source.region, each), 0.0) for each in regions), default=0.0)


def _health(
    view: ClusterView, policy: Effective, spoken: Protocol, port: Port, tls: ClientTLS | None, farthest: float
) -> HealthCheck | None:
    """The active check. There are none of datagrams: UDP follows readiness."""
    if spoken.spoken == "UDP":
        return None
    declared = None if policy.spec is None else policy.spec.health_check
    usable = [each for each in port.checks if each is not None and _repeatable(each, spoken, tls)]
    if len(usable) < len(port.checks):
        usable = []
    return probes.choose(probes.interval_ms(view.load), farthest, declared, usable)


def _repeatable(check: HealthCheck, spoken: Protocol, tls: ClientTLS | None) -> bool:
    """Whether the proxy can ask what the kubelet asks, which speaks HTTP/1.1. On a port of its own always; on the port of
    the requests only in the way of the requests."""
    if check.port is not None:
        return True
    return spoken.spoken != "HTTP2" and (check.scheme == "HTTPS") == (tls is not None)
