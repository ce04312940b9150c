"""What is known of routes that a proxy does not take goes on over a restart of Flota."""

from datetime import UTC, datetime

from flota.app.kept import KeptBad
from flota.app.trial import Route, RouteRef
from flota.app.trials import Trials, routes_before
from flota.fleet.fleet import Cluster, Fleet
from flota.fleet.meta import ObjectMeta
from flota.fleet.routes import HTTPRoute, HTTPRouteSpec
from flota.sources.memory import Remembered, SourceMemory

REF = RouteRef("HTTPRoute", "default", "r")


def route(generation: int) -> HTTPRoute:
    return HTTPRoute(ObjectMeta(name="r", generation=generation), HTTPRouteSpec(hostnames=(f"v{generation}.test",)))


def fleet(generation: int) -> Fleet:
    return Fleet("f", {"us": Cluster("us", "us-east", http_routes={REF[1:]: route(generation)})})


def after_a_refusal(envoy: str = "1.40") -> tuple[KeptBad, ...]:
    """Version 1 was accepted, version 2 refused."""
    trials = Trials(lambda: None, envoy)
    trials.begin({("us", REF): route(1)}, (), fleet(2))
    (trial,) = trials._trials.values()
    trial.serve(fleet(2).clusters["us"])
    trial.place(lambda *_: ("shard",), lambda _: "a")
    assert trial.hear({}, {"shard": "no"}, lambda _: False)
    return trials.bad()


def served(kept: tuple[KeptBad, ...], generation: int, *, envoy: str = "1.40", before: Route | None = None) -> int | None:
    trials = Trials(lambda: None, envoy)
    trials.begin({} if before is None else {("us", REF): before}, kept, fleet(generation))
    found = trials.serve(fleet(generation)).clusters["us"].http_routes.get(REF[1:])
    return None if found is None else found.metadata.generation


def test_what_was_refused_is_not_tried_again() -> None:
    assert served(after_a_refusal(), 2) == 1


def test_it_is_by_another_envoy() -> None:
    assert served(after_a_refusal(), 2, envoy="1.41") == 2


def test_another_version_is_tried_and_falls_back_to_what_was_accepted() -> None:
    trials = Trials(lambda: None, "1.40")
    trials.begin({("us", REF): route(2)}, after_a_refusal(), fleet(3))
    assert trials.serve(fleet(3)).clusters["us"].http_routes[REF[1:]].metadata.generation == 3
    assert trials._trials["us"].accepted == {REF: route(1)}


def test_what_another_flota_wrote_is_no_trouble() -> None:
    (kept,) = after_a_refusal()
    garbled = KeptBad(kept.cluster, kept.kind, kept.namespace, kept.name, kept.envoy, kept.message, b"\xc1", b"\xc1")
    assert served((garbled,), 2) == 2


def test_routes_that_changed_while_nobody_ran() -> None:
    def kept(name: str, text: bytes) -> Remembered:
        return Remembered("us", "gateway.networking.k8s.io", "HTTPRoute", "default", name, "f.yaml", text, datetime.now(UTC), 1)

    old = SourceMemory((kept("same", b"1"), kept("r", b"1"), kept("gone", b"1"), kept("lost", b"1")))
    new = SourceMemory((kept("same", b"1"), kept("r", b"2"), kept("new", b"2"), kept("lost", b"2")))
    found = routes_before(old, new, lambda each: route(1) if each.name == "r" else None)
    names = {ref.name: one for (_, ref), one in found.items()}
    assert names == {"r": route(1), "new": None, "lost": None}
