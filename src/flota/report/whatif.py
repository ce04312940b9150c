"""`flota whatif` and `flota drain`: what would happen to each service, and whether a drain may begin."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from flota.report.failed import Failed
from flota.report.observed import observed_plan
from flota.report.shape import API_VERSION, ApiVersion, Row
from flota.report.view import View
from flota.routing.drains import check_drain
from flota.routing.whatif import WhatIf, whatif


class OutlookRow(Row, frozen=True, kw_only=True):
    """A service as the Gateways of cluster `source` see it. `before`, `after`: share of the requests by cluster, 0.0 to 1.0.

    `left` = something is left to serve it.
    """

    namespace: str
    name: str
    kind: Literal["Service", "ServiceImport"]
    source: str
    before: dict[str, float]
    after: dict[str, float]
    left: bool
    why: str
    backend: str


class WhatIfReport(Row, frozen=True, kw_only=True):
    """Every service that a route uses, before and after. `unseen`: what could not be read, and is not counted."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["WhatIf"] = "WhatIf"
    lose: tuple[str, ...]
    drain: tuple[str, ...]
    services: tuple[OutlookRow, ...]
    unseen: tuple[str, ...]


class DrainReport(Row, frozen=True, kw_only=True):
    """What a drain does. `applied` false: it was only looked at (`dryRun`), or refused for the reasons in `refusals`.

    `forced` = the refusals were to be passed over.
    """

    api_version: ApiVersion = API_VERSION
    kind: Literal["Drain"] = "Drain"
    target: str
    until: datetime
    applied: bool
    dry_run: bool
    forced: bool
    refusals: tuple[str, ...]
    services: tuple[OutlookRow, ...]


class UndrainReport(Row, frozen=True, kw_only=True):
    """The end of a drain. `applied` false: there was none."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["Undrain"] = "Undrain"
    target: str
    applied: bool


def what_if(view: View, lose: Sequence[str], drain: Sequence[str]) -> WhatIfReport | Failed:
    """What would happen if these clusters, regions or zones were lost or drained."""
    if not lose and not drain:
        return Failed(reason="NothingAsked", message="say what would be lost or drained: --lose or --drain REGION|CLUSTER|ZONE", code=2)
    found = whatif(view.fleet, observed_plan(view), lose, drain)
    if found.problems:
        return Failed(reason="UnknownTarget", message="; ".join(found.problems), code=2)
    return WhatIfReport(lose=tuple(lose), drain=tuple(drain), services=_rows(found), unseen=view.unseen())


def drain_report(view: View, target: str, until: datetime, *, dry_run: bool, force: bool) -> DrainReport | Failed:
    """Whether a drain may begin; the caller begins it when `applied` is true."""
    found = check_drain(view.fleet, observed_plan(view), target)
    if not found.known:
        return Failed(reason="UnknownTarget", message="; ".join(found.refusals), code=2)
    applied = not dry_run and (force or not found.refusals)
    return DrainReport(
        target=target, until=until, applied=applied, dry_run=dry_run, forced=force, refusals=found.refusals, services=_rows(found.outlook)
    )


def undrain_report(view: View, target: str) -> UndrainReport | Failed:
    """Whether there is such a drain; the caller ends it when `applied` is true."""
    held = [each.target for each in view.fleet.drains if each.until > view.now]
    if target in held:
        return UndrainReport(target=target, applied=True)
    said = f"the drains are: {', '.join(held)}" if held else "nothing is drained"
    return Failed(reason="NotDrained", message=f"{target} is not drained; {said}")


def _rows(found: WhatIf) -> tuple[OutlookRow, ...]:
    return tuple(
        OutlookRow(
            namespace=each.namespace,
            name=each.name,
            kind=each.kind,  # type: ignore[arg-type]  # a Backend's kind
            source=each.source,
            before=dict(each.before),
            after=dict(each.after),
            left=each.left,
            why=each.why,
            backend=each.backend,
        )
        for each in found.services
    )
