"""What the demo's figures say of its clients' counts."""

from hypothesis import given
from hypothesis import strategies as st

from flota.cli.demo.figures import figures, quantile, shift
from flota.cli.demo.load import Sample

HOME, AWAY = "us-east", "eu-west"


def requests(
    seconds: float, served_by: str, start: float = 0.0, took: float = 0.002, status: int = 200, client: str = HOME
) -> list[Sample]:
    """200 a second."""
    return [Sample(start + number / 200, took, client, status, served_by) for number in range(int(seconds * 200))]


def test_counts() -> None:
    found = figures([*requests(1, HOME), *requests(1, AWAY, start=1), *requests(0.5, "", start=2, status=503, took=1.0)])
    assert (found.total, found.failed, found.served_by) == (500, 100, {AWAY: 200, HOME: 200})
    assert (found.median, found.worst) == (0.002, 1.0)


def test_nothing_counted() -> None:
    found = figures([])
    assert (found.total, found.failed, found.median, found.worst) == (0, 0, 0.0, 0.0)


def test_no_answer_is_a_failure() -> None:
    assert Sample(0, 1, HOME, 0, "").failed
    assert Sample(0, 1, HOME, 503, "").failed
    assert not Sample(0, 1, HOME, 200, HOME).failed


def test_shift_ends_with_the_last_answer_that_was_not_normal() -> None:
    slow = requests(0.4, AWAY, start=10.0, took=0.5)
    found = shift([*slow, *requests(3, AWAY, start=10.4)], HOME, 10.0, 20.0, away=True)
    assert found is not None
    assert abs(found - (slow[-1].sent + 0.5 - 10.0)) < 1e-6


def test_shift_is_zero_when_it_was_at_once() -> None:
    assert shift(requests(3, AWAY, start=10.0), HOME, 10.0, 20.0, away=True) == 0.0


def test_one_slow_answer_later_is_no_shift() -> None:
    late = Sample(12.0, 0.9, HOME, 200, AWAY)
    assert shift([*requests(3, AWAY, start=10.0), late], HOME, 10.0, 20.0, away=True) == 0.0


def test_no_shift() -> None:
    assert shift(requests(3, HOME, start=10.0), HOME, 10.0, 20.0, away=True) is None
    assert shift(requests(3, AWAY, start=10.0, status=503), HOME, 10.0, 20.0, away=True) is None
    assert shift(requests(3, AWAY, start=10.0, took=0.4), HOME, 10.0, 20.0, away=True) is None
    assert shift(requests(0.2, AWAY, start=10.0), HOME, 10.0, 20.0, away=True) is None
    assert shift([], HOME, 10.0, 20.0, away=True) is None


def test_back_home() -> None:
    found = shift([*requests(2, AWAY, start=10.0), *requests(3, HOME, start=12.0)], HOME, 10.0, 20.0, away=False)
    assert found is not None
    assert 1.99 < found < 2.01


def test_only_its_own_clients_and_time_count() -> None:
    others = requests(5, HOME, start=10.0, client=AWAY)
    before = requests(2, HOME, start=8.0)
    assert shift([*before, *others, *requests(3, AWAY, start=10.0)], HOME, 10.0, 20.0, away=True) == 0.0


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0, 1))
def test_quantile_is_a_value_of_the_list_and_grows(values: list[float], share: float) -> None:
    ordered = sorted(values)
    assert quantile(ordered, share) in ordered
    assert quantile(ordered, 0) == ordered[0]
    assert quantile(ordered, 1) == ordered[-1]
