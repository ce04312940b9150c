"""Which routes a proxy does not take, found by trying: a bad one keeps what was accepted of it, all others go live.

Envoy refuses a RouteConfiguration whole, with the routes of a hundred hosts in it. So half of its routes that are new are held back at
what was accepted of them, and what the proxy says then tells which half to look into. What was accepted stays in place throughout.
Pure: what proxies say goes in, the cluster to plan for comes out.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeVar

import msgspec

from flota.fleet.fleet import Cluster
from flota.fleet.meta import Key
from flota.fleet.routes import GRPCRoute, HTTPRoute

EDITIONS = 8
"""Versions of one RouteConfiguration of which is remembered what is new in them: more are never under way."""
Kind = Literal["HTTPRoute", "GRPCRoute"]
Route = HTTPRoute | GRPCRoute
R = TypeVar("R", HTTPRoute, GRPCRoute)


class RouteRef(NamedTuple):
    """A route of the cluster."""

    kind: Kind
    namespace: str
    name: str


class Bad(msgspec.Struct, frozen=True):
    """A version of a route that the proxy does not take, and its words."""

    route: Route
    message: str


class Trial:
    """Of the proxy of one cluster. For each newer cluster `serve`, `place` once it is planned, and `hear` what the proxy says."""

    def __init__(self, accepted: Mapping[RouteRef, Route] | None = None, bad: Mapping[RouteRef, Bad] | None = None) -> None:
        self.accepted = dict(accepted or {})
        """The last version of each route that the proxy took."""
        self.bad = dict(bad or {})
        self.looking_into: set[str] = set()
        """RouteConfigurations that were refused and are being tried in parts."""
        self._new: dict[RouteRef, Route] = {}
        """Versions that were handed out and are not accepted yet."""
        self._places: dict[RouteRef, tuple[str, ...]] = {}
        """Of those: the RouteConfigurations that they lie in."""
        self._in: defaultdict[str, dict[RouteRef, Route]] = defaultdict(dict)
        self._editions: defaultdict[str, dict[str, dict[RouteRef, Route]]] = defaultdict(dict)
        """Name of a RouteConfiguration → its versions that may be under way → the new routes in it."""
        self._held_back: list[frozenset[RouteRef]] = []
        self._blamed: set[RouteRef] = set()
        """Of `bad`: those since when nothing was accepted."""
        self._hopeless: set[str] = set()
        """RouteConfigurations that are refused for something else than a route."""
        self._where: Callable[[RouteRef, Route], tuple[str, ...]] = _nowhere
        self._moved = False
        """Whether there is another cluster to serve; until it is placed, what the proxy says is about the one before."""
        self._cluster: tuple[Cluster, Cluster] | None = None
        self._served: dict[Kind, tuple[Mapping[Key, Route], frozenset[RouteRef], Mapping[Key, Route]]] = {}
        """What was wanted, what of it was replaced, and what came of it."""

    def serve(self, wanted: Cluster) -> Cluster:
        """The cluster to plan for: the very same unless something is held back."""
        for ref in [ref for ref, bad in self.bad.items() if routes_of(wanted, ref.kind).get(ref[1:]) != bad.route]:
            del self.bad[ref]  # gone, or another version, which is judged anew
            self._blamed.discard(ref)
        http = self._serve("HTTPRoute", wanted.http_routes)
        grpc = self._serve("GRPCRoute", wanted.grpc_routes)
        if http is wanted.http_routes and grpc is wanted.grpc_routes:
            return wanted
        last = self._cluster
        if last is None or last[0] is not wanted or last[1].http_routes is not http or last[1].grpc_routes is not grpc:
            last = self._cluster = wanted, msgspec.structs.replace(wanted, http_routes=http, grpc_routes=grpc)
        return last[1]

    def _serve(self, kind: Kind, wanted: Mapping[Key, R]) -> Mapping[Key, R]:
        back = frozenset(ref for group in (self.bad, *self._held_back) for ref in group if ref.kind == kind)
        last = self._served.get(kind, ({}, frozenset(), {}))
        if last[0] is wanted and last[1] == back:
            return last[2]  # type: ignore[return-value]  # of this kind
        served = wanted if not back else _replaced(wanted, {ref[1:]: self.accepted.get(ref) for ref in back})
        before = last[2]
        # One scan, as this is on the way of every change; what is gone shows in the number.
        moved = [key for key, route in served.items() if before.get(key) is not route]
        if len(before) + sum(key not in before for key in moved) != len(served):
            for key in before.keys() - served.keys():
                self._settled(RouteRef(kind, *key))
                if key not in wanted:
                    self.accepted.pop(RouteRef(kind, *key), None)
        for key in moved:
            self._handed_out(RouteRef(kind, *key), served[key])
        self._served[kind] = wanted, back, served
        return served

    def _handed_out(self, ref: RouteRef, route: Route) -> None:
        self._settled(ref)
        if self.accepted.get(ref) is not route:
            self._new[ref] = route

    def _settled(self, ref: RouteRef) -> None:
        self._new.pop(ref, None)
        for name in self._places.pop(ref, ()):
            self._in[name].pop(ref, None)

    def place(self, where: Callable[[RouteRef, Route], tuple[str, ...]], version: Callable[[str], str]) -> None:
        """The newest cluster is planned: `where` tells in which RouteConfigurations a route lies, `version` their newest content."""
        self._moved, self._where = False, where
        for ref, route in list(self._new.items()):
            if ref in self._places:
                continue
            self._places[ref] = where(ref, route)
            for name in self._places[ref]:
                self._in[name][ref] = route
            if not self._places[ref]:
                self._accept(ref, route)
        for name, new in self._in.items():
            editions = self._editions[name]
            if new and version(name) not in editions:
                editions[version(name)] = dict(new)
                while len(editions) > EDITIONS:
                    del editions[next(iter(editions))]

    def hear(self, took: Mapping[str, str], refused: Mapping[str, str], has: Callable[[str], bool | None]) -> bool:
        """What the proxy says of RouteConfigurations: the versions it `took` just now, those whose newest content it `refused` with
        which words, and whether it `has` the newest content of one (None: no content at all). Whether there is another cluster to serve."""
        for name, version in took.items():
            self._hopeless.discard(name)
            for ref, route in self._editions[name].pop(version, {}).items():
                self._accept(ref, route)
        if self._moved:
            return False
        for name in refused.keys() - self._hopeless:
            self._look_into(name, refused[name], empty=has(name) is None)
        if not self._moved and self.looking_into and all(map(has, self.looking_into)):
            self._blamed.clear()
            self._release()
        return self._moved

    def _release(self) -> None:
        """What was tried is good: try the next part, if there is one."""
        if self._held_back:
            self._held_back.pop()
            self._moved = True
        else:
            self.looking_into.clear()

    def _accept(self, ref: RouteRef, route: Route) -> None:
        """The proxy took a RouteConfiguration with this version of the route in it: so it is good, wherever it lies."""
        known = self.accepted.get(ref)
        if known is None or known.metadata.generation <= route.metadata.generation:
            self.accepted[ref] = route
        if self._new.get(ref) is route:
            self._settled(ref)

    def _look_into(self, name: str, message: str, *, empty: bool) -> None:
        self.looking_into.add(name)
        suspects = list(self._in[name])
        back = self.bad.keys() | {ref for group in self._held_back for ref in group}
        if not back.isdisjoint(suspects):
            return  # another RouteConfiguration has just had one of them held back: perhaps that was it
        if len(suspects) > 1:
            named = [ref for ref in suspects if "/".join(ref) in message]
            first = named if 0 < len(named) < len(suspects) else suspects[: len(suspects) // 2]
            self._held_back.append(frozenset(suspects) - frozenset(first))
        elif suspects:
            self.bad[suspects[0]] = Bad(self._new[suspects[0]], message)
            self._blamed.add(suspects[0])
        elif not (empty and self._distrust(name)):
            self._give_up(name)
            return
        self._moved = True

    def _distrust(self, name: str) -> bool:
        """It has nothing and refuses what was good: another Envoy, which knows better. There is nothing to lose: all of it is new."""
        served = [(RouteRef(kind, *key), route) for kind, last in self._served.items() for key, route in last[2].items()]
        doubtful = {ref: route for ref, route in served if name in self._where(ref, route)}
        for ref in doubtful:
            self.accepted.pop(ref, None)
        self._new |= doubtful
        return bool(doubtful)

    def _give_up(self, name: str) -> None:
        """No route of it is new, so it is refused for something else: what was blamed was blamed wrongly."""
        self._hopeless.add(name)
        self.looking_into.discard(name)
        self._moved |= bool(self._blamed)
        for ref in self._blamed:
            del self.bad[ref]
        self._blamed.clear()
        if not self.looking_into and self._held_back:
            self._held_back.clear()
            self._moved = True


def _nowhere(_ref: RouteRef, _route: Route) -> tuple[str, ...]:
    return ()


def routes_of(cluster: Cluster, kind: Kind) -> Mapping[Key, Route]:
    """The routes of a kind."""
    return cluster.http_routes if kind == "HTTPRoute" else cluster.grpc_routes


def _replaced(wanted: Mapping[Key, R], instead: Mapping[Key, Route | None]) -> Mapping[Key, R]:
    """The mapping with these routes as they were; None = they were not there."""
    both = ((key, instead.get(key, one)) for key, one in wanted.items())
    return {key: one for key, one in both if one is not None}  # type: ignore[misc]  # of the kind that was asked for
