"""The forecast, against simulation and closed forms."""

from itertools import accumulate
from math import erfc, exp, sqrt
from random import Random
from statistics import fmean, pstdev

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slakeeper.sla.condition import Condition
from slakeeper.sla.forecast import breach_probability, first_passage, foresee, is_surely_below, slope_per_hour
from tools.calibration import deciles, either, table

MINUTE_MS = 60_000


def points(values: list[float]) -> list[tuple[int, float]]:
    return [(number * MINUTE_MS, value) for number, value in enumerate(values)]


def continuous_passage(distance: float, drift: float, horizon: float) -> float:
    """Of a Brownian motion with deviation 1 in closed form; Karatzas and Shreve, section 3.5.C."""

    def phi(z: float) -> float:
        return erfc(-z / sqrt(2)) / 2

    spread = sqrt(horizon)
    back = exp(2 * drift * distance) * phi((-distance - drift * horizon) / spread)
    return phi((drift * horizon - distance) / spread) + back


@pytest.mark.parametrize(("drift", "distance"), [(0.0, 2.0), (0.0, 5.0), (0.3, 4.0), (0.5, 6.0), (-0.2, 2.0)])
def test_with_a_long_past_it_is_the_first_passage_of_a_brownian_motion_looked_at_ten_times(
    drift: float, distance: float
) -> None:
    random = Random(7)
    steps = [random.gauss(0, 1) for _ in range(2_000)]
    mean, deviation = fmean(steps), pstdev(steps)
    path = [0.0]
    for step in steps:
        path.append(path[-1] + drift + (step - mean) / deviation)
    stated = first_passage(path, path[-1] + distance, 10)
    assert stated == pytest.approx(continuous_passage(distance + 0.5826, drift, 10), abs=0.03)
    assert stated < continuous_passage(distance, drift, 10)


def test_what_it_says_comes_true_as_often_as_it_says() -> None:
    found = deciles(either, 2_000, seed=11)
    for index in range(5):
        pair = found[2 * index : 2 * index + 2]
        count = sum(each.count for each in pair)
        off = sum(each.came_true - each.stated for each in pair) / count
        # Three points, and twice what chance allows so few forecasts.
        assert abs(off) < 0.03 + 1 / sqrt(count), (index, off, count)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_in_every_decile_it_is_off_by_less_than_three_points() -> None:
    found = deciles(either, 40_000, seed=3)
    assert all(each.count > 1_000 for each in found)
    assert max(abs(each.off_points) for each in found) < 3, table(found)


def walk(steps: list[float]) -> list[float]:
    return list(accumulate(steps))


PATHS = st.one_of(
    st.lists(st.floats(-1, 1), min_size=5, max_size=20),
    st.lists(st.floats(-1, 1), min_size=5, max_size=20).map(walk),
    st.lists(st.floats(-0.1, 1), min_size=5, max_size=20).map(walk),
    st.lists(st.sampled_from([0.0, 1.0]), min_size=5, max_size=20),
    st.lists(st.floats(0, 5e-324 * 9), min_size=5, max_size=20),
    st.lists(st.floats(1e9, 1e9 + 1e-3), min_size=5, max_size=20),
)
PROBABILITIES = st.sampled_from([0.005, 0.05, 0.5, 0.9, 0.95, 0.999, 1.0])


@settings(max_examples=200)
@given(PATHS, PROBABILITIES, st.floats(0, 1e-3), st.integers(1, 200))
@example([float(number) for number in range(20)], 0.95, 0.0, 100)
def test_the_bound_is_never_below_the_forecast(
    values: list[float], probability: float, more: float, spacing_pct: int
) -> None:
    """As near as the bound allows, and from any level."""
    count = len(values) - 1
    level = fmean(values) + more
    deviation = sqrt(sum((x - level) ** 2 for x in values) / count)

    def is_below(room: float) -> bool:
        return is_surely_below(probability, room, values[-1] - values[0], deviation, count)

    high = max(deviation, 1e-140)
    while not is_below(high):
        high *= 2
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if is_below(middle) else (middle, high)
    value = max(values) + high
    if value - max(values) >= high:  # it is not where it would round to, nearer
        interval_ms = MINUTE_MS * spacing_pct // 100
        stated = breach_probability(points(values), Condition.LT, value, interval_ms)
        assert stated is not None
        assert stated < probability


@settings(max_examples=200)
@given(PATHS, PROBABILITIES, st.floats(0, 30), st.sampled_from([Condition.LT, Condition.GTE]))
def test_what_a_forecast_exceeds_is_what_its_probability_does_whichever_is_asked_first(
    values: list[float], probability: float, distance: float, condition: Condition
) -> None:
    sign = 1 if condition is Condition.LT else -1
    value = sign * (max(values) + distance * pstdev(values))
    seen = points([sign * x for x in values])
    stated = breach_probability(seen, condition, value, MINUTE_MS)
    forecast = foresee(seen, condition, value, MINUTE_MS)
    assert forecast.exceeds(probability) == (stated is not None and stated > probability)
    assert forecast.probability == stated
    assert forecast.exceeds(probability) == (stated is not None and stated > probability)


def test_the_bound_is_of_use() -> None:
    """Of noise about a level nothing has to be worked out when the promised value is seven deviations from it."""
    random = Random(3)
    for _ in range(1_000):
        values = [random.gauss(0, 1) for _ in range(20)]
        deviation = sqrt(sum(x * x for x in values) / 19)
        assert is_surely_below(0.95, 7 - max(values), values[-1] - values[0], deviation, 19)


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=5, max_size=25),
    st.floats(-1e9, 1e9),
    st.integers(1, 10**9),
    st.sampled_from([Condition.LT, Condition.GTE]),
)
def test_it_is_always_a_probability(
    values: list[float], value: float, interval_ms: int, condition: Condition
) -> None:
    stated = breach_probability(points(values), condition, value, interval_ms)
    assert stated is not None
    assert 0 <= stated <= 1


def test_extremes_of_size_are_no_error() -> None:
    for values in ([1e308, -1e308, 1e308, -1e308, 0.0], [5e-324 * k for k in range(6)], [1e300, 1, 1, 1, 1]):
        assert breach_probability(points(values), Condition.LT, 1.5e308, MINUTE_MS) in (None, 0.0, 1.0)


def test_the_same_aggregates_have_the_same_forecast_whatever_their_unit() -> None:
    random = Random(5)
    values = [random.gauss(100, 3) for _ in range(20)]
    value = max(values) + 2
    stated = breach_probability(points(values), Condition.LT, value, MINUTE_MS)
    assert stated is not None
    assert 0 < stated < 1
    upside_down = breach_probability(points([-x for x in values]), Condition.GT, -value, MINUTE_MS)
    seconds = breach_probability(points([x * 1024 for x in values]), Condition.LT, value * 1024, MINUTE_MS)
    assert stated == upside_down == seconds


def test_an_aggregate_of_every_second_interval_looks_half_as_many_steps_ahead() -> None:
    values = [50.0, 55, 60, 65, 70, 75]
    sparse = [(2 * number * MINUTE_MS, value) for number, value in enumerate(values)]
    assert breach_probability(points(values), Condition.LT, 110, MINUTE_MS) == 1
    assert breach_probability(sparse, Condition.LT, 110, MINUTE_MS) == 0


def test_a_steady_approach_is_a_certain_breach() -> None:
    approach = points([50, 55, 60, 65, 70, 75])
    assert breach_probability(approach, Condition.LT, 100, MINUTE_MS) == 1
    assert breach_probability(approach, Condition.GT, 40, MINUTE_MS) == 0
    assert breach_probability(approach, Condition.LT, 1000, MINUTE_MS) == 0


def test_a_level_that_stands_still_breaks_nothing() -> None:
    assert breach_probability(points([100.0] * 8), Condition.GT, 99.999, MINUTE_MS) == 0


def test_too_few_points_and_promises_without_sides_have_no_forecast() -> None:
    assert breach_probability(points([1, 2, 3, 4]), Condition.LT, 100, MINUTE_MS) is None
    assert breach_probability(points([1] * 9), Condition.EQ, 1, MINUTE_MS) is None


def test_a_slope_is_in_units_an_hour() -> None:
    assert slope_per_hour(points([1e9, 1e9 + 1, 1e9 + 2])) == pytest.approx(60)
    assert slope_per_hour([(0, 1.0)]) is None
    assert slope_per_hour([(0, 1.0), (0, 2.0)]) is None
