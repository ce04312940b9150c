"""The plan on its way to proxies that run in pods, each Gateway's by themselves, and what came back."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from flota.app.acks import NodeReport, Nodes, delivered
from flota.app.replicas import Acknowledgements, gateways
from flota.clock import Clock
from flota.envoy.ads import AdsServer
from flota.envoy.doors import Door, gateway_of
from flota.envoy.encode import Encoder
from flota.envoy.events import Ack, Connected, Disconnected, Event, Overdue, Refusal
from flota.envoy.hearing import AttemptService
from flota.envoy.logs import STANDARD_OUTPUT
from flota.envoy.options import Options
from flota.envoy.protos import Protos
from flota.envoy.slices import Slices
from flota.envoy.wire import LDS, Resource
from flota.fleet.meta import Key
from flota.plan import Plan
from flota.settings import Settings
from flota.writeback.conditions import Delivered
from flota.writeback.proxywriter import group_of

FORGET_S = 600.0
"""A pod that was away for so long does not come back: its name is not used again."""


class PodProxies:
    """Encodes what changed once for the cluster and hands each proxy its Gateway's part.

    `moved` is called with Gateways of which `delivered` may say something else now.
    """

    def __init__(
        self,
        cluster: str,
        door: Door,
        protos: Protos,
        settings: Settings,
        clock: Clock,
        moved: Callable[[Iterable[Key]], None],
        others: Callable[[str], Nodes] = lambda _: {},
    ) -> None:
        """`others`: proxies of a group of node ids that follow other replicas."""
        # Access logs go where `kubectl logs` finds them; configuration alone, as an image need not have our module.
        self._encoder = Encoder(protos, Options(settings, "cel", "", STANDARD_OUTPUT))
        self._cluster, self._clock, self._moved, self._others = cluster, clock, moved, others
        self._own = Acknowledgements(self.report)
        self._slices = Slices()
        self._published = False
        self._nodes: defaultdict[str, dict[str, float | None]] = defaultdict(dict)
        """Group → node → when it went (None = it is there)."""
        self.acknowledgements = 0
        self.refusals = 0
        self.overdue = 0
        self.ads = AdsServer(door, protos, clock, self._on_event, settings.needs_timeout_ms / 1000,
                             [AttemptService(protos, lambda _proxy, _attempts: None), self._own])

    async def serve(self) -> None:
        """Until cancelled."""
        await self.ads.serve()

    def publish(self, plan: Plan) -> None:
        """Hand the plan to all proxies it concerns."""
        proxy = plan.proxies.get(self._cluster)
        whole = self._encoder.snapshot(proxy) if proxy is not None else {}
        roots = {name: group_of(self._cluster, each.gateways[0]) for name, each in (proxy.listeners if proxy else {}).items()}
        changed = self._slices.update(whole, roots)
        first, self._published = not self._published, True
        for group in self._nodes if first else changed & self._nodes.keys():
            for node in self._there(group):
                self.ads.publish(node, self._slices.get(group))
        self._tell(changed)

    def delivered(self, gateway: Key) -> Delivered:
        """What the proxies of a Gateway have of its listeners, also those that follow other replicas."""
        group = group_of(self._cluster, gateway)
        return delivered({name: each.version for name, each in self._listeners(group)}, {**self._others(group), **self.report(group)})

    def report(self, group: str) -> Nodes:
        """What those have that follow us."""
        return {node: self._report(node, group) for node in self._there(group)}

    def _report(self, node: str, group: str) -> NodeReport:
        held = {name: self.ads.acknowledged(node, LDS, name) for name, _ in self._listeners(group)}
        refused = {name: (said.version, said.message) for (type_url, name), said in self.ads.refused(node).items() if type_url == LDS}
        return NodeReport({name: version for name, version in held.items() if version is not None}, refused)

    def _listeners(self, group: str) -> Iterable[tuple[str, Resource]]:
        return self._slices.get(group).get(LDS, {}).items()

    def connected(self) -> int:
        """Proxies that follow us."""
        return sum(len(self._there(group)) for group in self._nodes)

    def _tell(self, groups: Iterable[str]) -> None:
        several = list(groups)
        self._own.changed(several)
        self._moved(gateways(several))

    def _there(self, group: str) -> list[str]:
        return [node for node, gone in self._nodes.get(group, {}).items() if gone is None]

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Connected):
            self._come(event.proxy)
        elif isinstance(event, Disconnected):
            if not self.ads.connected(event.proxy):
                self._nodes[gateway_of(event.proxy)][event.proxy] = self._clock.monotonic()
        elif isinstance(event, Ack):
            self.acknowledgements += len(event.versions)
        elif isinstance(event, Refusal):
            self.refusals += 1
        elif isinstance(event, Overdue):
            self.overdue += 1
        if not isinstance(event, Ack | Refusal) or event.type_url == LDS:
            self._tell([gateway_of(event.proxy)])

    def _come(self, node: str) -> None:
        self._forget()
        group = gateway_of(node)
        self._nodes[group][node] = None
        if self._published:
            self.ads.publish(node, self._slices.get(group))

    def _forget(self) -> None:
        limit = self._clock.monotonic() - FORGET_S
        for group, nodes in list(self._nodes.items()):
            for node, gone in list(nodes.items()):
                if gone is not None and gone < limit:
                    del nodes[node]
                    self.ads.forget(node)
            if not nodes:
                del self._nodes[group]
