"""One `View` per question, made of what the running engine knows; the answers are pure functions of it."""

import os
from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version

from msgspec import structs

from flota.app.engine import Engine
from flota.app.origins import origins, refusals
from flota.app.views import pod_views, proxy_views, seen_endpoints
from flota.envoy.refusals import Refused
from flota.fleet.drain import Drain
from flota.fleet.problem import Problem
from flota.local.state import local_problem
from flota.report.conditions import advance
from flota.report.explain_object import ObjectExplanation, explain_object
from flota.report.explain_request import AskedRequest, RequestExplanation, explain_request
from flota.report.failed import Failed
from flota.report.named import Asked
from flota.report.status import FleetStatus, status
from flota.report.view import Running, View
from flota.report.whatif import DrainReport, UndrainReport, WhatIfReport, drain_report, undrain_report, what_if
from flota.routing.drains import begun, ended


class Reports:
    """Makes views of one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.metrics_url: str | None = None
        self._metrics_problem: tuple[Problem, ...] = ()
        self._last: View | None = None

    def metrics_failed(self, address: str, error: OSError) -> None:
        """The metrics port can't be had; everything else goes on."""
        message = f"/metrics can't listen on {address}: {error.strerror}; free it or set FLOTA_METRICS_ADDRESS"
        self._metrics_problem = (local_problem("Flota", "metrics", "PortInUse", message),)

    async def view(self, *, observed: bool = True) -> View:
        """The fleet now. `observed` False leaves the proxies alone: enough where their endpoints' health plays no part."""
        engine = self.engine
        plan = engine.plan.get()
        endpoints = await seen_endpoints(engine.fetch, plan.proxies) if observed else {}
        deliveries = engine.deliveries
        problems = engine.source.problems.get()
        now = engine.drains.now()
        fleet = engine.planned or engine.source.fleet.get()
        trying = {cluster: deliveries.tables(cluster, engine.trials.looking_into(cluster)) for cluster in plan.proxies}
        view = View(
            fleet=structs.replace(fleet, drains=engine.drains.latest.get()),
            plan=plan,
            now=now,
            problems=(*problems, *self._problems()),
            refusals=refusals(problems),
            origin=origins(engine.source.folder.table.where),
            proxies=proxy_views(
                plan,
                engine.proxies.states.get(),
                {cluster: deliveries.connected(cluster) for cluster in plan.proxies},
                {cluster: deliveries.pending(cluster) | trying[cluster] for cluster in plan.proxies},
                {cluster: _but(deliveries.refused(cluster), trying[cluster]) for cluster in plan.proxies},
                endpoints,
                stopping=engine.stopping,
            ),
            pods=pod_views(engine.pods.states.get()),
            running=Running(pid=os.getpid(), version=version("flota"), since=engine.started, metrics=self.metrics_url),
            ignored=engine.source.folder.table.ignored(),
            since=self._last.since if self._last else {},
        )
        return self._dated(view)

    def _problems(self) -> tuple[Problem, ...]:
        """Those that are not about files."""
        engine = self.engine
        of_parts = engine.gateway_addresses.problems, engine.pods.problems.get(), engine.trials.problems()
        return (*engine.problems, *(each for part in of_parts for each in part), *self._metrics_problem)

    def _dated(self, view: View) -> View:
        dated = structs.replace(view, since=advance(self._last, view))
        self._last = dated
        return dated

    async def status(self) -> FleetStatus:
        """`flota status`."""
        return status(await self.view())

    async def explain_request(self, asked: AskedRequest) -> RequestExplanation | Failed:
        """`flota explain request`."""
        return explain_request(await self.view(), asked)

    async def explain_object(self, asked: Asked) -> ObjectExplanation | Failed:
        """`flota explain KIND/NAME`."""
        return explain_object(await self.view(), asked)

    async def whatif(self, lose: Sequence[str], drain: Sequence[str]) -> WhatIfReport | Failed:
        """`flota whatif`."""
        return what_if(await self.view(), lose, drain)

    async def drain(self, target: str, until: datetime, *, dry_run: bool, force: bool) -> DrainReport | Failed:
        """Begin a drain if it may begin; kept on disk before it is told."""
        report = drain_report(await self.view(), target, until, dry_run=dry_run, force=force)
        if isinstance(report, DrainReport) and report.applied:
            self._set_drains(begun(self.engine.drains.latest.get(), target, until))
        return report

    async def undrain(self, target: str) -> UndrainReport | Failed:
        """End a drain."""
        report = undrain_report(await self.view(observed=False), target)
        if isinstance(report, UndrainReport) and report.applied:
            self._set_drains(ended(self.engine.drains.latest.get(), target))
        return report

    def _set_drains(self, drains: tuple[Drain, ...]) -> None:
        self.engine.drains.latest.set(drains)
        self.engine.keep_now()

    def ready(self) -> tuple[bool, str]:
        """Whether the fleet was read and planned, and in words."""
        if self.engine.planned is None:
            return False, "the folder is still being read"
        return True, "ok"


def _but(refused: Mapping[str, Refused], trying: Container[str]) -> dict[str, Refused]:
    """Without tables of which is not known yet what is wrong with them."""
    return {name: why for name, why in refused.items() if name not in trying}
