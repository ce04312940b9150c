"""Drains: traffic told to keep away from a place for a while, and when that must be refused (design section 6.2)."""

from datetime import datetime

from msgspec import Struct

from flota.fleet.drain import Drain
from flota.fleet.fleet import Fleet
from flota.plan.plan import Plan
from flota.routing.targets import unknown
from flota.routing.tiers import serving
from flota.routing.whatif import WhatIf, drain_endpoints, in_use, whatif

Drains = tuple[Drain, ...]


class DrainCheck(Struct, frozen=True):
    """Whether a drain may begin, and what it would do. `known` False: the target means nothing in this fleet."""

    refusals: tuple[str, ...]
    """One sentence for each ServiceImport that would be left with nothing; empty = it may begin."""
    outlook: WhatIf
    known: bool = True


def check_drain(fleet: Fleet, plan: Plan, target: str) -> DrainCheck:
    """Look at a drain of a cluster, region or zone before it begins.

    Refused when a ServiceImport that a route uses, and that serves now, would be left with nothing. Plain Services stay
    where they are. `--force` is the caller's business: even then endpoints that drain serve when nothing else does.
    """
    problems = unknown(fleet, plan, (target,))
    if problems:
        return DrainCheck(problems, WhatIf((), problems), known=False)
    return DrainCheck(_refusals(plan, target), whatif(fleet, plan, drain=(target,)))


def _refusals(plan: Plan, target: str) -> tuple[str, ...]:
    emptied: dict[tuple[str, str], list[str]] = {}
    for source in sorted(plan.proxies):
        proxy = plan.proxies[source]
        for backend in in_use(proxy):
            if backend.kind != "ServiceImport":
                continue
            now = proxy.endpoints[backend.endpoints]
            then = drain_endpoints(now, frozenset((target,)))
            if serving(now.tiers) and not serving(then.tiers):
                emptied.setdefault((backend.namespace, backend.service), []).append(source)
    left = "would be left with nothing but endpoints that drain"
    return tuple(
        f"ServiceImport {namespace}/{name} {left}, as seen from {', '.join(sorted(set(sources)))}"
        for (namespace, name), sources in sorted(emptied.items())
    )


def begun(drains: Drains, target: str, until: datetime) -> Drains:
    """With this drain; one of the same target before is replaced."""
    return (*ended(drains, target), Drain(target, until))


def ended(drains: Drains, target: str) -> Drains:
    """Without the drain of this target; the very same tuple if there is none."""
    left = tuple(each for each in drains if each.target != target)
    return drains if len(left) == len(drains) else left


def lasting(drains: Drains, now: datetime) -> Drains:
    """Those that have not expired; the very same tuple if that is all of them."""
    left = tuple(each for each in drains if each.until > now)
    return drains if len(left) == len(drains) else left
