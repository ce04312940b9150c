"""Whatever listeners a Gateway and its ListenerSets have: those that are left can be told apart, and nobody loses without a reason."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from flota.fleet.gateway import Listener
from flota.routing.conflicts import Places
from flota.routing.listeners import hostname

FAMILY = {"HTTP": "HTTP", "HTTPS": "TLS", "TLS": "TLS", "TCP": "TCP", "UDP": "UDP"}
ONE = st.tuples(st.sampled_from([80, 81]), st.sampled_from(sorted(FAMILY)), st.sampled_from([None, "a.org", "*.org"]))
Spot = tuple[int, str, str | None]
OWNERS = st.lists(st.lists(ONE, min_size=1, max_size=4, unique=True), min_size=1, max_size=4)


def made(owner: list[Spot]) -> list[Listener]:
    """Listeners of one object, named by their place in it."""
    return [Listener(name=str(at), port=port, protocol=protocol, hostname=host) for at, (port, protocol, host) in enumerate(owner)]


def collide(one: Listener, other: Listener) -> bool:
    """Whether a connection or request could be meant for either."""
    if one.port != other.port or (one.protocol == "UDP") != (other.protocol == "UDP"):
        return False
    same = FAMILY[one.protocol] == FAMILY[other.protocol]
    return not same or one.protocol in ("TCP", "UDP") or hostname(one) == hostname(other)


@given(OWNERS)
def test_those_that_are_left_can_be_told_apart_and_nobody_loses_without_a_reason(given_owners: list[list[Spot]]) -> None:
    places, owners = Places(), [made(each) for each in given_owners]
    faults = [places.take(each) for each in owners]
    left = [each for owner, found in zip(owners, faults, strict=True) for each in owner if each.name not in found]
    assert not any(collide(one, other) for one, other in combinations(left, 2))
    for at, (owner, found) in enumerate(zip(owners, faults, strict=True)):
        before = [each for earlier in owners[:at] for each in earlier]
        for each in owner:
            rivals = [other for other in (*before, *owner) if other is not each and collide(each, other)]
            assert each.name not in found or rivals
            assert found.get(each.name) is None or found[each.name].reason.endswith("Conflict")
