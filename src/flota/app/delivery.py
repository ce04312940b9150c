"""Plans on their way to the proxies, and what came back: acknowledged, pending, refused."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from flota.app.encoding import proxy_options
from flota.clock import Clock
from flota.envoy.ads import AdsServer
from flota.envoy.doors import UnixDoor
from flota.envoy.encode import Encoder
from flota.envoy.events import Ack, Event, Overdue, Refusal
from flota.envoy.hearing import AttemptService, Hear
from flota.envoy.protos import load
from flota.envoy.refusals import Refused, explained
from flota.envoy.wire import RDS, Ref
from flota.plan import Plan
from flota.settings import Settings


class Deliveries:
    """Encodes what changed and hands it to the ADS server."""

    def __init__(
        self,
        socket: Path,
        logs: Path,
        clock: Clock,
        settings: Settings,
        hear: Hear,
        on_routes: Callable[[str, Mapping[str, str]], None] = lambda _cluster, _took: None,
    ) -> None:
        """`hear` gets what proxies tell of attempts that wait. `on_routes` is told at once which versions of RouteConfigurations
        a proxy took; of none, when it refused one."""
        self._on_routes = on_routes
        self._protos = load()
        self._options = proxy_options(self._protos, settings, logs)
        self._encoders: dict[str, Encoder] = {}
        self._clusters: frozenset[str] = frozenset()
        self.acknowledgements = 0
        self.refusals = 0
        self.overdue = 0
        self.ads = AdsServer(UnixDoor(socket), self._protos, clock, self._on_event, settings.needs_timeout_ms / 1000,
                             [AttemptService(self._protos, hear)])

    async def serve(self) -> None:
        """Until cancelled."""
        await self.ads.serve()

    def publish(self, plan: Plan) -> None:
        """Hand the plan to all proxies it has."""
        for cluster, proxy in plan.proxies.items():
            encoder = self._encoders.get(cluster)
            if encoder is None:
                encoder = self._encoders[cluster] = Encoder(self._protos, self._options(cluster))
            self.ads.publish(cluster, encoder.snapshot(proxy))
        for cluster in self._clusters - plan.proxies.keys():
            self._encoders.pop(cluster, None)
            self.ads.publish(cluster, {})
        self._clusters = frozenset(plan.proxies)

    def connected(self, cluster: str) -> bool:
        """Whether the proxy follows us."""
        return self.ads.connected(cluster) > 0

    def pending(self, cluster: str) -> frozenset[str]:
        """Names of the plan that the proxy has not acknowledged."""
        return frozenset(self._names(cluster, self.ads.pending(cluster)))

    def refused(self, cluster: str) -> Mapping[str, Refused]:
        """Names of the plan whose newest content the proxy refused → why."""
        found = self.ads.refused(cluster)
        return {name: explained(name, said.message) for ref, said in found.items() for name in self._names(cluster, {ref})}

    def places(self, cluster: str, table: str, hosts: Iterable[str]) -> frozenset[str]:
        """Names of the RouteConfigurations of a table that these hosts (none = any) lie in."""
        encoder = self._encoders.get(cluster)
        return frozenset() if encoder is None else encoder.route_names(table, hosts)

    def has_routes(self, cluster: str, name: str) -> bool | None:
        """Whether the proxy has acknowledged the newest content of a RouteConfiguration; None: it has none at all."""
        found, wanted = self.ads.acknowledged(cluster, RDS, name), self.version_of_routes(cluster, name)
        return True if not wanted else None if found is None else found == wanted

    def version_of_routes(self, cluster: str, name: str) -> str:
        """The newest content of a RouteConfiguration; empty for one that is not in the plan."""
        encoder = self._encoders.get(cluster)
        return "" if encoder is None else encoder.version(RDS, name)

    def refused_routes(self, cluster: str) -> Mapping[str, str]:
        """RouteConfigurations whose newest content the proxy refused → its words."""
        return {ref[1]: said.message for ref, said in self.ads.refused(cluster).items() if ref[0] == RDS}

    def tables(self, cluster: str, names: Iterable[str]) -> frozenset[str]:
        """The tables of the plan that RouteConfigurations belong to."""
        return frozenset(self._names(cluster, {(RDS, name) for name in names}))

    def _names(self, cluster: str, refs: set[Ref]) -> set[str]:
        encoder = self._encoders.get(cluster)
        return set() if encoder is None else {encoder.plan_name(ref) for ref in refs}

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Ack):
            self.acknowledgements += len(event.versions)
            if event.type_url == RDS:
                self._on_routes(event.proxy, {name: version for name, version in event.versions.items() if version is not None})
        elif isinstance(event, Refusal):
            self.refusals += 1
            if event.type_url == RDS:
                self._on_routes(event.proxy, {})
        elif isinstance(event, Overdue):
            self.overdue += 1
