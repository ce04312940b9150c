"""The delta protocol against a model of a proxy: any order of changes, answers, refusals and reconnects."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flota.envoy import wire
from flota.envoy.boarding import MAX_RESPONSE_BYTES
from flota.envoy.events import Ack, Overdue, Refusal
from flota.envoy.protos import load
from flota.envoy.session import Request, Session
from flota.envoy.wire import CDS, EDS, LDS, RDS, SRDS, Ref, Resource, Snapshot, TypeUrl

RESPONSE = load().message("envoy.service.discovery.v3.DeltaDiscoveryResponse")
PARENTS = {EDS: (CDS,), RDS: (SRDS, LDS)}
MADE: dict[str, Resource] = {}


def make(type_url: TypeUrl, name: str, content: str = "", *needs: Ref) -> Resource:
    one = wire.resource(type_url, name, f"{name} {content} {sorted(needs)}".encode(), needs)
    return MADE.setdefault(one.version, one)


def snapshot(*resources: tuple[TypeUrl, Resource]) -> Snapshot:
    out: dict[TypeUrl, dict[str, Resource]] = {}
    for type_url, one in resources:
        out.setdefault(type_url, {})[one.name] = one
    return out


class Proxy:
    """Behaves as Envoy does: subscribes by itself to what its clusters, scopes and listeners name."""

    def __init__(self, bad: Callable[[TypeUrl, Resource], bool] = lambda _t, _r: False, *, tells: bool = True) -> None:
        self.bad = bad
        self.tells = tells
        self.why = "no good"
        self.has: dict[TypeUrl, dict[str, Resource]] = {t: {} for t in (CDS, EDS, SRDS, RDS, LDS)}
        self.known: dict[TypeUrl, dict[str, str]] = {t: {} for t in self.has}
        self.names: dict[TypeUrl, set[str]] = {EDS: set(), RDS: set()}
        self.got: list[tuple[TypeUrl, list[str], list[str]]] = []
        self.queue: list[bytes] = []
        self.now = 0.0
        self.session = Session("us", 0.0)
        self.connect(needs_timeout=2.0)

    def connect(self, needs_timeout: float) -> None:
        self.session = Session("us", self.now, needs_timeout, self.session.refused())
        self.queue.clear()
        for type_url in self.has:
            names = tuple(sorted(self.names.get(type_url, ())))
            if type_url in (CDS, LDS, SRDS) or names:
                self.tell(Request(type_url, subscribe=names, initial_versions=dict(self.known[type_url])))

    def tell(self, request: Request) -> None:
        self.session.receive(request, self.now)

    def publish(self, snapshot: Snapshot) -> None:
        self.session.publish(snapshot)
        self.pump()

    def pump(self) -> None:
        self.queue += self.session.pump(self.now)

    def take(self) -> None:
        """Process one response and answer it."""
        message = RESPONSE.FromString(self.queue.pop(0))
        type_url, removed = message.type_url, list(message.removed_resources)
        arrived = [MADE[r.version] for r in message.resources]
        self.got.append((type_url, [r.name for r in arrived], removed))
        bad = [one.name for one in arrived if self.bad(type_url, one)]
        good = [] if bad and type_url == SRDS else [one for one in arrived if one.name not in bad]
        for name in removed:
            self.has[type_url].pop(name, None)
        self.has[type_url].update({one.name: one for one in good if type_url not in self.names or one.name in self.names[type_url]})
        if not bad:
            for name in removed:
                self.known[type_url].pop(name, None)
            self.known[type_url].update({one.name: one.version for one in good})
        self.follow()
        error = None if not bad else f"Error: {', '.join(bad)}: {self.why}" if self.tells else "Proto constraint validation failed"
        self.tell(Request(type_url, nonce=message.nonce, error=error))
        self.pump()

    def follow(self) -> None:
        for type_url, parents in PARENTS.items():
            wants = {n for p in parents for one in self.has[p].values() for t, n in one.needs if t == type_url}
            new, old = wants - self.names[type_url], self.names[type_url] - wants
            self.names[type_url] = wants
            for name in old:
                self.has[type_url].pop(name, None)
                self.known[type_url].pop(name, None)
            if new or old:
                self.tell(Request(type_url, subscribe=tuple(sorted(new)), unsubscribe=tuple(sorted(old))))

    def settle(self) -> None:
        for _ in range(1000):
            self.pump()
            while self.queue:
                self.take()
            if self.session.wake_at is None:
                return
            self.now = max(self.now, self.session.wake_at)
        raise AssertionError(f"does not settle: {self.session.pending()}")

    def broken(self) -> list[tuple[str, Ref]]:
        """Resources in use that refer to something the proxy doesn't have (the moment before it asks is not counted)."""
        return [
            (one.name, (t, n))
            for type_url in (CDS, RDS)
            for one in self.has[type_url].values()
            for t, n in one.needs
            if n not in self.has[t] and (t not in self.names or n in self.session._types[t].held)
        ]


def world(clusters: dict[int, int], tables: dict[int, tuple[int, list[int]]], keys: dict[int, int], listeners: dict[int, int]) -> Snapshot:
    """A consistent snapshot: tables use those clusters that exist; each table has a scope that preloads it."""
    out = []
    for c, version in clusters.items():
        out += [(CDS, make(CDS, f"c{c}", str(version), (EDS, f"c{c}"))), (EDS, make(EDS, f"c{c}", str(version)))]
    for r, (version, used) in tables.items():
        needs = [(CDS, f"c{c}") for c in used if c in clusters]
        out += [(RDS, make(RDS, f"r{r}", str(version), *needs)), (SRDS, make(SRDS, f"pre/r{r}", "", (RDS, f"r{r}")))]
    out += [(SRDS, make(SRDS, f"s{k}", "", (RDS, f"r{r}"))) for k, r in keys.items() if r in tables]
    scopes = [(SRDS, one.name) for type_url, one in out if type_url == SRDS]
    out += [(LDS, make(LDS, f"l{i}", str(version), *scopes)) for i, version in listeners.items()]
    return snapshot(*out)


SMALL = st.integers(0, 3)
WORLDS = st.builds(
    world,
    st.dictionaries(SMALL, SMALL, max_size=4),
    st.dictionaries(SMALL, st.tuples(SMALL, st.lists(SMALL, max_size=3)), max_size=3),
    st.dictionaries(SMALL, SMALL, max_size=3),
    st.dictionaries(st.integers(0, 1), SMALL, max_size=2),
)
STEPS = st.lists(st.one_of(WORLDS, st.sampled_from(["take", "take", "take", "wait", "reconnect"])), max_size=25)


def expected(proxy: Proxy, wanted: Snapshot) -> dict[TypeUrl, dict[str, Resource]]:
    return {t: {n: one for n, one in wanted.get(t, {}).items() if t not in proxy.names or n in proxy.names[t]} for t in proxy.has}


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, last=WORLDS)
def test_make_before_break_and_it_converges(steps: list[Snapshot | str], last: Snapshot) -> None:
    proxy = Proxy()
    proxy.connect(needs_timeout=1e9)
    for step in [*steps, last]:
        if step == "take" and proxy.queue:
            proxy.take()
        elif step == "wait":
            proxy.now += 0.06
            proxy.pump()
        elif step == "reconnect":
            proxy.connect(needs_timeout=1e9)
        elif not isinstance(step, str):
            proxy.publish(step)
        assert not proxy.broken()
    while proxy.queue:
        proxy.take()
        assert not proxy.broken()
    proxy.settle()
    assert proxy.has == expected(proxy, last)
    assert proxy.session.pending() == set()
    sent = len(proxy.got)
    proxy.publish({t: dict(those) for t, those in last.items()})
    assert (proxy.queue, len(proxy.got), proxy.session.wake_at) == ([], sent, None)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, last=WORLDS, spoilt=st.sets(st.tuples(st.sampled_from([CDS, EDS, RDS, LDS, SRDS]), SMALL)), tells=st.booleans())
def test_a_refused_resource_harms_no_other(
    steps: list[Snapshot | str], last: Snapshot, spoilt: set[tuple[TypeUrl, int]], tells: bool
) -> None:
    def bad(type_url: TypeUrl, one: Resource) -> bool:
        return (type_url, int(one.version, 16) % 7) in spoilt

    proxy = Proxy(bad, tells=tells)
    for step in [*steps, last]:
        if step == "take" and proxy.queue:
            proxy.take()
        elif not isinstance(step, str):
            proxy.publish(step)
    proxy.settle()
    should = expected(proxy, last)
    for type_url, those in should.items():
        good = {n: one for n, one in those.items() if not bad(type_url, one)}
        assert {n: one for n, one in proxy.has[type_url].items() if n in good} == good
    reported = {(e.type_url, e.name, e.version) for e in proxy.session.take_events() if isinstance(e, Refusal)}
    standing = {(t, n, one.version) for t, those in should.items() for n, one in those.items() if bad(t, one)}
    assert standing <= reported
    assert all(bad(t, MADE[version]) for t, _, version in reported)
    assert proxy.session.pending() == set()


C1, E1 = make(CDS, "c1", "", (EDS, "c1")), make(EDS, "c1")
C2, E2 = make(CDS, "c2", "", (EDS, "c2")), make(EDS, "c2")
R1, R1B = make(RDS, "r1", "", (CDS, "c1")), make(RDS, "r1", "", (CDS, "c2"))
L1 = make(LDS, "l1", "", (RDS, "r1"))
FIRST = snapshot((CDS, C1), (EDS, E1), (RDS, R1), (LDS, L1))
SECOND = snapshot((CDS, C2), (EDS, E2), (RDS, R1B), (LDS, L1))


def settled(first: Snapshot = FIRST) -> Proxy:
    proxy = Proxy()
    proxy.publish(first)
    proxy.settle()
    proxy.got.clear()
    return proxy


def test_nothing_is_answered_before_the_first_snapshot() -> None:
    proxy = settled()
    proxy.connect(2.0)
    proxy.now += 60
    proxy.pump()
    assert (proxy.queue, proxy.session.wake_at) == ([], None)


def test_a_route_moves_only_when_its_cluster_is_acknowledged_and_the_old_one_goes_last() -> None:
    proxy = settled()
    proxy.publish(SECOND)
    proxy.settle()
    assert proxy.got == [
        (CDS, ["c2"], []),
        (EDS, ["c2"], []),
        (RDS, ["r1"], []),
        (CDS, [], ["c1"]),
    ]


def test_an_unacknowledged_need_is_not_waited_for_forever() -> None:
    proxy = settled()
    proxy.session.publish(SECOND)
    assert len(proxy.session.pump(proxy.now)) == 1  # the cluster; nobody answers
    assert proxy.session.pump(proxy.now + 1.9) == []
    assert proxy.session.wake_at == pytest.approx(proxy.now + 2.0)
    (late,) = proxy.session.pump(proxy.now + 2.0)
    assert RESPONSE.FromString(late).type_url == RDS
    assert [e for e in proxy.session.take_events() if isinstance(e, Overdue)] == [Overdue("us", RDS, "r1", ((CDS, "c2"),))]


def test_a_late_answer_slows_its_type_down_but_does_not_stop_it() -> None:
    proxy = settled()
    proxy.session.publish(snapshot((CDS, C1), (EDS, E1), (RDS, R1), (LDS, L1), (CDS, C2)))
    assert len(proxy.session.pump(0.0)) == 1
    c3 = make(CDS, "c3")
    proxy.session.publish(snapshot((CDS, C1), (EDS, E1), (RDS, R1), (LDS, L1), (CDS, C2), (CDS, c3)))
    assert proxy.session.pump(0.01) == []
    at = proxy.session.wake_at
    assert at is not None
    (second,) = proxy.session.pump(at)
    assert [r.name for r in RESPONSE.FromString(second).resources] == ["c3"]


def test_reconnecting_gets_the_difference_only() -> None:
    proxy = settled()
    proxy.connect(2.0)
    proxy.publish(FIRST)
    proxy.settle()
    assert proxy.got == []
    assert {t for e in proxy.session.take_events() if isinstance(e, Ack) for t in [e.type_url]} == {CDS, EDS, RDS, LDS}
    proxy.connect(2.0)
    proxy.publish(SECOND)
    proxy.settle()
    assert proxy.got == [(CDS, ["c2"], []), (EDS, ["c2"], []), (RDS, ["r1"], []), (CDS, [], ["c1"])]


def test_after_reconnecting_nothing_goes_while_unknown_versions_may_need_it() -> None:
    proxy = settled()
    proxy.bad = lambda _t, one: one is R1B
    proxy.connect(2.0)
    proxy.publish(SECOND)
    proxy.settle()
    assert proxy.has[RDS] == {"r1": R1}
    assert proxy.has[CDS] == {"c1": C1, "c2": C2}


def test_a_refused_version_is_not_sent_again_even_after_reconnecting_until_it_changes() -> None:
    bad = make(LDS, "l2", "bad")
    proxy = Proxy(lambda _t, one: one is bad)
    proxy.publish({**FIRST, LDS: {"l1": L1, "l2": bad}})
    proxy.settle()
    assert proxy.session.refused() == {(LDS, "l2"): bad.version}
    proxy.got.clear()
    proxy.connect(2.0)
    proxy.publish({**FIRST, LDS: {"l1": L1, "l2": bad}})
    proxy.settle()
    assert proxy.got == []
    better = make(LDS, "l2", "better")
    proxy.publish({**FIRST, LDS: {"l1": L1, "l2": better}})
    proxy.settle()
    assert proxy.has[LDS]["l2"] is better
    assert proxy.session.refused() == {}


def test_a_port_that_is_taken_is_asked_for_again_until_it_is_free() -> None:
    wanted, taken = make(LDS, "l2", "on a port"), True
    proxy = Proxy(lambda _t, one: one is wanted and taken)
    proxy.why = "cannot bind '127.0.0.1:80': Address already in use"
    proxy.publish({**FIRST, LDS: {"l1": L1, "l2": wanted}})
    tries: list[float] = []
    while len(tries) < 6:
        proxy.pump()
        while proxy.queue:
            proxy.take()
            if proxy.got[-1] == (LDS, ["l2"], []):
                tries.append(proxy.now)
        assert proxy.session.wake_at is not None
        proxy.now = max(proxy.now, proxy.session.wake_at)
    waits = [round(after - before) for before, after in pairwise(tries)]
    assert waits == [1, 2, 4, 8, 15], "it must not become a flood"
    assert proxy.session.refused() == {(LDS, "l2"): wanted.version}
    taken = False
    proxy.settle()
    assert proxy.has[LDS]["l2"] is wanted
    assert proxy.session.refused() == {}


def test_what_was_refused_is_judged_again_when_it_had_gone_in_between() -> None:
    wanted, bad = make(LDS, "l2", "odd"), True
    proxy = Proxy(lambda _t, one: one is wanted and bad)
    proxy.publish({**FIRST, LDS: {"l1": L1, "l2": wanted}})
    proxy.settle()
    proxy.publish(FIRST)
    proxy.settle()
    bad = False
    proxy.publish({**FIRST, LDS: {"l1": L1, "l2": wanted}})
    proxy.settle()
    assert proxy.has[LDS]["l2"] is wanted


def test_the_first_listener_gets_its_scopes_again() -> None:
    """Envoy acknowledged them when no listener took them: the one before was refused."""
    scope = make(SRDS, "s", "")
    first, second = (make(LDS, name, "", (SRDS, "s")) for name in ("l1", "l2"))
    proxy = Proxy(lambda _t, one: one is first)
    proxy.publish(snapshot((SRDS, scope), (LDS, first)))
    proxy.settle()
    proxy.got.clear()
    proxy.publish(snapshot((SRDS, scope), (LDS, second)))
    proxy.settle()
    assert proxy.got.index((LDS, ["l2"], [])) < proxy.got.index((SRDS, ["s"], []))
    proxy.got.clear()
    proxy.publish(snapshot((SRDS, scope), (LDS, second), (LDS, make(LDS, "l3", "", (SRDS, "s")))))
    proxy.settle()
    assert [type_url for type_url, _, _ in proxy.got] == [LDS], "the second shares what the first has"


def test_a_name_that_does_not_exist_is_answered_at_once_and_once() -> None:
    proxy = settled({**FIRST, EDS: {}})
    assert proxy.has[EDS] == {}
    proxy.publish({**FIRST, EDS: {}, CDS: {"c1": C1, "c2": C2}})
    proxy.settle()
    assert (EDS, [], ["c2"]) in proxy.got
    proxy.publish({**FIRST, EDS: {"c2": E2}, CDS: {"c1": C1, "c2": C2}})
    proxy.settle()
    assert proxy.got[-1] == (EDS, ["c2"], [])


def test_endpoints_follow_a_changed_cluster_even_if_unchanged() -> None:
    proxy = settled()
    proxy.publish({**FIRST, CDS: {"c1": make(CDS, "c1", "other", (EDS, "c1"))}})
    proxy.settle()
    assert proxy.got == [(CDS, ["c1"], []), (EDS, ["c1"], [])]


def test_a_listener_takes_over_the_address_of_one_that_goes_in_the_same_response() -> None:
    proxy = settled()
    proxy.publish({**FIRST, CDS: {"c1": C1, "c2": C2}, EDS: {"c1": E1, "c2": E2}, LDS: {"l2": make(LDS, "l2", "", (CDS, "c2"))}})
    proxy.settle()
    assert proxy.got == [(CDS, ["c2"], []), (EDS, ["c2"], []), (LDS, ["l2"], ["l1"])]


def test_a_scope_in_use_moves_only_to_a_table_that_is_there() -> None:
    listener = make(LDS, "l1", "", (SRDS, "s"))
    r2 = make(RDS, "r2", "", (CDS, "c1"))
    base = {**FIRST, LDS: {"l1": listener}, SRDS: {"s": make(SRDS, "s", "", (RDS, "r1"))}}
    proxy = settled(base)
    moved = {"s": make(SRDS, "s", "", (RDS, "r2")), "pre/r2": make(SRDS, "pre/r2", "", (RDS, "r2"))}
    proxy.publish({**base, RDS: {"r1": R1, "r2": r2}, SRDS: moved})
    proxy.settle()
    assert proxy.got == [(SRDS, ["pre/r2"], []), (RDS, ["r2"], []), (SRDS, ["s"], [])]


def test_a_big_sync_comes_in_pieces() -> None:
    big = {f"c{i}": make(CDS, f"c{i}", "x" * 75_000) for i in range(10)}
    proxy = Proxy()
    proxy.publish({CDS: big})
    proxy.settle()
    assert proxy.has[CDS] == big
    assert [len(names) for type_url, names, _ in proxy.got if type_url == CDS] == [3, 3, 3, 1]
    assert (LDS, [], []) in proxy.got  # that there are no listeners is an answer, too: Envoy waits for one
    assert MAX_RESPONSE_BYTES < 4 * 75_000


def test_of_a_long_queue_what_changed_last_and_what_changed_first_take_turns() -> None:
    names = [f"c{i:02}" for i in range(12)]
    proxy = Proxy()
    proxy.publish({CDS: {name: make(CDS, name, "x" * 75_000) for name in names}})
    proxy.settle()
    sent = [went for type_url, went, _ in proxy.got if type_url == CDS]
    assert [sorted(each) for each in sent] == [names[:3], names[9:], names[3:6], names[6:9]]


def test_newer_content_gathers_while_a_response_is_in_flight() -> None:
    proxy = settled()
    for i in range(50):
        proxy.publish({**FIRST, EDS: {"c1": make(EDS, "c1", str(i))}})
    proxy.settle()
    assert proxy.got == [(EDS, ["c1"], [])] * 2
    assert proxy.has[EDS]["c1"] is make(EDS, "c1", "49")


def test_an_outdated_nonce_acknowledges_nothing() -> None:
    proxy = settled()
    proxy.publish({**FIRST, EDS: {"c1": make(EDS, "c1", "new")}})
    proxy.tell(Request(EDS, nonce="999"))
    assert proxy.session.held(EDS, "c1") == E1.version
    assert proxy.session.pending() == {(EDS, "c1")}


def test_unsubscribing_ends_it() -> None:
    proxy = settled()
    proxy.tell(Request(RDS, unsubscribe=("r1",)))
    proxy.publish({**FIRST, RDS: {"r1": R1B}})
    assert proxy.queue == []
    assert proxy.session.held(RDS, "r1") is None
    proxy.tell(Request(RDS, subscribe=("r1",)))
    proxy.pump()
    assert len(proxy.queue) == 1
