"""Metrics of `flota serve`, in Prometheus' text format. Names are documented in docs/metrics.md, as those of a folder's Flota."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from flota.app.serve import Serving
    from flota.sources.kube import KubeSource


class ServingCollector:
    """What a replica knows, as metric families."""

    def __init__(self, serving: "Serving", source: "KubeSource") -> None:
        self._serving, self._source = serving, source

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client at each scrape."""
        yield from self._plan()
        yield from self._proxies()
        yield from self._watches()

    def _plan(self) -> Iterator[Metric]:
        serving = self._serving
        plan = serving.plan.get()
        yield GaugeMetricFamily("flota_planned_objects", "Objects with a status in the plan", len(plan.statuses))
        problems = GaugeMetricFamily("flota_problems", "Refused objects and bad conditions by reason", labels=("reason",))
        counts: dict[str, int] = {}
        for problem in (*self._source.problems.get(), *plan.problems):
            counts[problem.reason] = counts.get(problem.reason, 0) + 1
        for reason, count in sorted(counts.items()):
            problems.add_metric((reason,), count)
        yield problems
        yield CounterMetricFamily("flota_plans", "Plans made", serving.plans)
        yield CounterMetricFamily("flota_plan_seconds", "Time spent planning, in seconds", serving.plan_seconds)
        yield GaugeMetricFamily("flota_leader", "1 while this replica leads", serving.election.leads())
        yield CounterMetricFamily("flota_status_writes", "Statuses written", serving.statuses.writes)

    def _proxies(self) -> Iterator[Metric]:
        proxies = self._serving.proxies
        yield GaugeMetricFamily("flota_proxies_connected", "Proxies that follow this replica", proxies.connected())
        yield CounterMetricFamily("flota_xds_acknowledged", "Resources that proxies acknowledged", proxies.acknowledgements)
        yield CounterMetricFamily("flota_xds_refused", "Resources that proxies refused", proxies.refusals)
        yield CounterMetricFamily("flota_xds_overdue", "Resources sent before what they need was acknowledged", proxies.overdue)

    def _watches(self) -> Iterator[Metric]:
        labels = ("cluster", "kind")
        live = GaugeMetricFamily("flota_watch_live", "1 while a kind is followed, 0 while its changes are not seen", labels=labels)
        events = CounterMetricFamily("flota_watch_events", "Changes that the API server told", labels=labels)
        lists = CounterMetricFamily("flota_watch_lists", "Times that everything of a kind was listed", labels=labels)
        restored = CounterMetricFamily("flota_watch_restored", "Times that the API server was found restored from a backup", labels=labels)
        for name, reader in self._source.readers.items():
            for kind, reflector in reader.reflectors():
                live.add_metric((name, kind), reflector.state.live)
                events.add_metric((name, kind), reflector.counts.events)
                lists.add_metric((name, kind), reflector.counts.lists)
                restored.add_metric((name, kind), reflector.counts.restored)
        yield from (live, events, lists, restored)
        yield CounterMetricFamily("flota_api_requests", "Requests to the API server, watches aside", self._serving.client.requests)


def render_serving(serving: "Serving", source: "KubeSource") -> bytes:
    """The text of one scrape."""
    registry = CollectorRegistry()
    registry.register(ServingCollector(serving, source))
    return generate_latest(registry)
