"""The wall clock is set by hours, forward and back: drains last as asked, times that were told stay."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from report_views import view

from flota.app.drains import Drains
from flota.fleet.drain import Drain
from flota.plan import ObjectRef
from flota.report.conditions import advance

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class FakeClock:
    """A wall clock that can be set, and one that only runs."""

    def __init__(self) -> None:
        self.wall = NOON
        self.ran = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.ran

    def run(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.ran += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def drained(clock: FakeClock, minutes: int = 30) -> Drains:
    drains = Drains((), clock)
    drains.latest.set((Drain("us", drains.now() + timedelta(minutes=minutes)),))
    return drains


@pytest.mark.parametrize("jump", [5 * HOUR, -5 * HOUR, timedelta(days=400), -timedelta(days=400)])
def test_a_drain_lasts_as_long_as_was_asked(clock: FakeClock, jump: timedelta) -> None:
    drains = drained(clock)
    clock.run(600)
    clock.wall += jump
    assert drains.now() == clock.wall
    (drain,) = drains.latest.get()
    assert drain.until == NOON + jump + timedelta(minutes=30), "what is told is true by the new clock"
    clock.run(1199)
    drains.now()
    assert drains.latest.get()
    clock.run(1)
    drains.now()
    assert drains.latest.get() == ()


def test_it_jumps_back_and_forth(clock: FakeClock) -> None:
    drains = drained(clock)
    for jump in (3 * HOUR, -HOUR, -9 * HOUR, 7 * HOUR):
        clock.wall += jump
        clock.run(60)
        drains.now()
    (drain,) = drains.latest.get()
    assert drain.until == NOON + timedelta(minutes=30)


def test_a_clock_that_is_kept_right_changes_nothing_that_was_told(clock: FakeClock) -> None:
    drains = drained(clock)
    told = drains.latest.get()
    for _ in range(20):
        clock.run(60)
        clock.wall += timedelta(milliseconds=50)
        drains.now()
    assert drains.latest.get() is told


def test_a_drain_of_the_last_flota_is_over_at_the_time_that_was_told(clock: FakeClock) -> None:
    kept = (Drain("us", NOON + HOUR), Drain("eu", NOON - HOUR))
    drains = Drains(kept, clock)
    drains.now()
    assert [drain.target for drain in drains.latest.get()] == ["us"]


async def test_it_is_handed_on_when_it_begins_and_ends(clock: FakeClock) -> None:
    drains, told = Drains((), clock), asyncio.Queue[tuple[Drain, ...]]()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(10):
        giving = tasks.create_task(drains.give(told.put_nowait), name="give")
        assert await told.get() == ()
        drain = Drain("us", drains.now() + timedelta(milliseconds=30))
        drains.latest.set((drain,))
        assert await told.get() == (drain,)
        clock.run(1)  # the wait itself is on the event loop's clock
        assert await told.get() == ()
        giving.cancel()


def test_times_that_were_told_of_conditions_stay() -> None:
    """A clock that is set back makes no condition change, so its time is what the clock said then."""
    first = view(now=NOON)
    first = replace(first, since=advance(None, first))
    again = advance(first, view(now=NOON - 5 * HOUR))
    assert set(again[ObjectRef("us", "Gateway", "default", "gw")].values()) == {NOON}
