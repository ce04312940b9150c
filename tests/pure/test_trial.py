"""A proxy that refuses whole RouteConfigurations: only its bad routes stay behind, whatever changes in which order."""

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from flota.app.trial import Route, RouteRef, Trial
from flota.fleet.fleet import Cluster
from flota.fleet.meta import ObjectMeta
from flota.fleet.routes import GRPCRoute, GRPCRouteSpec, HTTPRoute, HTTPRouteSpec

SHARDS = 3


def made(ref: RouteRef, version: int) -> Route:
    meta = ObjectMeta(name=ref.name, namespace=ref.namespace, generation=version)
    return HTTPRoute(meta, HTTPRouteSpec()) if ref.kind == "HTTPRoute" else GRPCRoute(meta, GRPCRouteSpec())


def ref_of(number: int) -> RouteRef:
    return RouteRef("GRPCRoute" if number % 5 == 4 else "HTTPRoute", "default", f"r{number}")


def places(number: int) -> tuple[str, ...]:
    return tuple(f"shard{each}" for each in ({number % SHARDS, number * 7 % SHARDS} if number % 4 else range(SHARDS)))


class Proxy:
    """Takes a shard whole or not at all. Version v of route n is bad when (n, v) is in `bad`."""

    def __init__(self, bad: set[tuple[int, int]], *, tells: bool = False) -> None:
        self.bad = bad
        self.tells = tells
        self.broken: set[str] = set()
        """Shards that are refused for something else."""
        self.trial = Trial()
        self.made: dict[tuple[int, int], Route] = {}
        self.live: dict[str, dict[int, int]] = {f"shard{each}": {} for each in range(SHARDS)}
        self.steps = 0

    def change(self, versions: Mapping[int, int], steps: int = 200) -> None:
        """Serve these versions of the routes until the trial has nothing more to say."""
        routes = {number: self.made.setdefault((number, version), made(ref_of(number), version)) for number, version in versions.items()}
        wanted = Cluster(
            "us", "us-east",
            http_routes={ref_of(n)[1:]: one for n, one in routes.items() if isinstance(one, HTTPRoute)},
            grpc_routes={ref_of(n)[1:]: one for n, one in routes.items() if isinstance(one, GRPCRoute)},
        )  # fmt: skip
        before = {shard: dict(held) for shard, held in self.live.items()}
        for _ in range(steps):
            self.steps += 1
            if not self._round(self.trial.serve(wanted)):
                break
        else:
            raise AssertionError("it never ends")
        assert not self.trial.looking_into
        for shard, held in before.items():  # nobody who was there was away
            assert held.keys() & versions.keys() <= self.live[shard].keys()

    def _round(self, served: Cluster) -> bool:
        both = {**served.http_routes, **served.grpc_routes}
        shards: dict[str, dict[int, int]] = {name: {} for name in self.live}
        for (_, name), route in both.items():
            number = int(name[1:])
            for shard in places(number):
                shards[shard][number] = route.metadata.generation
        refused = {}
        took = {}
        for shard, content in shards.items():
            faults = [number for number, version in content.items() if (number, version) in self.bad]
            if faults or shard in self.broken:
                refused[shard] = f"HTTPRoute/default/r{faults[0]}/ab: no" if self.tells and faults else "no"
            elif content != self.live[shard]:
                for number, version in self.live[shard].items():
                    assert number not in content or content[number] >= version or number % 4 == 0 or len(places(number)) > 1, "went back"
                self.live[shard] = content
                took[shard] = str(content)
        self.trial.place(lambda ref, _: places(int(ref.name[1:])), lambda shard: str(shards[shard]))
        has = {shard: self.live[shard] == content if self.live[shard] or not content else None for shard, content in shards.items()}
        return self.trial.hear(took, refused, has.__getitem__)

    def version(self, number: int) -> set[int | None]:
        return {self.live[shard].get(number) for shard in places(number)}


CHANGES = st.lists(st.dictionaries(st.integers(0, 11), st.booleans(), min_size=1), min_size=1, max_size=6)


@settings(max_examples=300, deadline=None)
@given(CHANGES, st.booleans())
def test_only_what_is_bad_stays_behind(changes: list[dict[int, bool]], tells: bool) -> None:
    proxy = Proxy(set(), tells=tells)
    versions: dict[int, int] = {}
    good: dict[int, int] = {}
    for at, change in enumerate(changes, 1):
        for number, fine in change.items():
            versions[number] = at
            if fine:
                good[number] = at
            else:
                proxy.bad.add((number, at))
        proxy.change(versions)
        assert {number: proxy.version(number) for number in versions} == {number: {good.get(number)} for number in versions}
        assert {int(ref.name[1:]) for ref in proxy.trial.bad} == {n for n, version in versions.items() if good.get(n) != version}


def test_it_takes_few_steps() -> None:
    proxy = Proxy({(1, 2)})
    proxy.change(dict.fromkeys(range(200), 1))
    before = proxy.steps
    proxy.change(dict.fromkeys(range(200), 2))
    assert proxy.version(1) == {1}
    assert proxy.version(7) == {2}
    assert proxy.steps - before <= 20


def test_a_named_route_is_looked_at_first() -> None:
    proxy = Proxy({(1, 2)}, tells=True)
    proxy.change(dict.fromkeys(range(200), 1))
    before = proxy.steps
    proxy.change(dict.fromkeys(range(200), 2))
    assert proxy.steps - before <= 4


def test_a_bad_route_that_is_mended_is_taken() -> None:
    proxy = Proxy({(3, 2)})
    proxy.change({3: 1, 4: 1})
    proxy.change({3: 2, 4: 1})
    assert proxy.version(3) == {1}
    proxy.change({3: 3, 4: 1})
    assert proxy.version(3) == {3}
    assert not proxy.trial.bad


def test_what_is_refused_for_something_else_blames_no_route() -> None:
    proxy = Proxy(set())
    proxy.change({1: 1, 4: 1, 7: 1})
    proxy.broken = set(places(1))
    proxy.change({1: 2, 4: 2, 7: 2})
    assert not proxy.trial.bad
    proxy.broken = set()
    proxy.change({1: 2, 4: 2, 7: 2})
    proxy.change({1: 2, 4: 3, 7: 2})
    assert proxy.version(4) == {3}


def test_nothing_held_back_is_the_very_same_cluster() -> None:
    cluster = Cluster("us", "us-east", http_routes={("default", "r1"): HTTPRoute(ObjectMeta(name="r1"), HTTPRouteSpec())})
    assert Trial().serve(cluster) is cluster


def test_what_was_accepted_late_is_what_stays() -> None:
    """The acknowledgement of the first version comes when the second is on its way; that one is refused."""
    ref, trial = ref_of(1), Trial()
    first, second = (Cluster("us", "us-east", http_routes={ref[1:]: made(ref, version)}) for version in (1, 2))  # type: ignore[dict-item]
    for cluster, version in ((first, "a"), (second, "b")):
        assert trial.serve(cluster) is cluster
        trial.place(lambda *_: ("shard",), lambda _, version=version: version)  # type: ignore[misc]
    assert not trial.hear({"shard": "a"}, {}, lambda _: False)
    assert trial.hear({}, {"shard": "no"}, lambda _: False)
    assert trial.serve(second).http_routes == first.http_routes


def test_a_proxy_that_knows_better_and_has_nothing_yet() -> None:
    """A new Envoy refuses what the old one took; all else of it must not be missing."""
    proxy = Proxy(set())
    proxy.change(dict.fromkeys(range(12), 1))
    for held in proxy.live.values():
        held.clear()
    proxy.bad = {(5, 1)}
    proxy.change(dict.fromkeys(range(12), 1))
    assert {number: proxy.version(number) for number in range(12)} == {number: {None if number == 5 else 1} for number in range(12)}
