"""Flota's own metrics, in Prometheus' text format. Read when asked for; nothing is counted that nobody reads.

Each name is documented in docs/metrics.md (kept true by tests/law/test_metrics.py).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from flota.app.engine import Engine


class EngineCollector:
    """What the engine knows, as metric families."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client at each scrape."""
        yield from self._fleet()
        yield from self._proxies()
        yield from self._traffic()

    def _fleet(self) -> Iterator[Metric]:
        engine = self._engine
        plan = engine.plan.get()
        yield GaugeMetricFamily("flota_clusters", "Clusters of the fleet", len(engine.planned.clusters) if engine.planned else 0)
        yield GaugeMetricFamily("flota_planned_objects", "Objects with a status in the plan", len(plan.statuses))
        problems = GaugeMetricFamily("flota_problems", "Refused objects and bad conditions by reason", labels=("reason",))
        counts: dict[str, int] = {}
        for problem in (*engine.source.problems.get(), *plan.problems, *engine.trials.problems()):
            counts[problem.reason] = counts.get(problem.reason, 0) + 1
        for reason, count in sorted(counts.items()):
            problems.add_metric((reason,), count)
        yield problems
        yield CounterMetricFamily("flota_plans", "Plans made", engine.plans)
        yield CounterMetricFamily("flota_plan_seconds", "Time spent planning, in seconds", engine.plan_seconds)
        yield GaugeMetricFamily("flota_drains", "Drains in force", len(engine.drains.latest.get()))

    def _proxies(self) -> Iterator[Metric]:
        engine = self._engine
        connected = GaugeMetricFamily("flota_proxy_connected", "1 when the proxy follows this Flota", labels=("cluster",))
        running = GaugeMetricFamily("flota_proxy_running", "1 when the proxy's process lives", labels=("cluster",))
        states = engine.proxies.states.get()
        for cluster in engine.plan.get().proxies:
            connected.add_metric((cluster,), engine.deliveries.connected(cluster))
            state = states.get(cluster)
            running.add_metric((cluster,), state is not None and state.phase == "Running")
        yield connected
        yield running
        yield CounterMetricFamily("flota_xds_acknowledged", "Resources that proxies acknowledged", engine.deliveries.acknowledgements)
        yield CounterMetricFamily("flota_xds_refused", "Resources that proxies refused", engine.deliveries.refusals)
        yield CounterMetricFamily("flota_xds_overdue", "Resources sent before what they need was acknowledged", engine.deliveries.overdue)

    def _traffic(self) -> Iterator[Metric]:
        signals = self._engine.signals.get()
        limit = GaugeMetricFamily("flota_attempt_limit_seconds", "Learnt: a second attempt starts after", labels=("cluster", "backend"))
        for (cluster, label), ms in sorted(signals.per_try.items()):
            limit.add_metric((cluster, label), ms / 1000)
        yield limit
        sick = GaugeMetricFamily("flota_backend_sick", "1 while second attempts to a backend fail too", labels=("cluster", "backend"))
        for key in sorted(signals.sick):
            sick.add_metric(key, 1)
        yield sick
        yield GaugeMetricFamily("flota_endpoints_dead", "Endpoints that take requests and answer none", len(signals.dead))
        pods = GaugeMetricFamily("flota_pods", "Pods on this machine by cluster and readiness", labels=("cluster", "ready"))
        counts: dict[tuple[str, str], int] = {}
        for pod in self._engine.pods.states.get():
            key = (pod.cluster, str(pod.ready).lower())
            counts[key] = counts.get(key, 0) + 1
        for (cluster, ready), count in sorted(counts.items()):
            pods.add_metric((cluster, ready), count)
        yield pods


def render_metrics(engine: "Engine") -> bytes:
    """The text of one scrape."""
    registry = CollectorRegistry()
    registry.register(EngineCollector(engine))
    return generate_latest(registry)
