"""The learnt limit of an attempt leaves a far region the time to answer."""

import pytest

from flota.fleet.signals import Signals
from flota.plan import Backend, Endpoints
from flota.routing.asks import Ask, Asks, Found
from flota.routing.keys import BackendKey, RouteKey

SHOP = Backend("shop/x", "shop", "ServiceImport", "default", "shop", 80, "shop", "HTTP1")
ASK = Ask(BackendKey("multicluster.x-k8s.io", "ServiceImport", "default", "shop", 80), RouteKey("HTTPRoute", "default", "shop"), "HTTP")


@pytest.mark.parametrize(("learnt", "rtt", "limit"), [
    (None, 80, 3000),
    (250, 0, 250),
    (250, 80, 250),  # the far region answers long before
    (250, 200, 325),
    (3000, 200, 3000),
])
def test_an_attempt_that_travels_has_time_for_its_answer(learnt: int | None, rtt: int, limit: int) -> None:
    asks = Asks("us")
    asks.refresh(lambda _: Found(SHOP, Endpoints("shop", ()), (), "Idempotent", rtt), None,
                 Signals(per_try={} if learnt is None else {("us", "shop"): learnt}))
    assert asks.answer(ASK).per_try_ms == limit
