"""The forecast, against simulation and closed forms."""

from math import erfc, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.sla.contract import Condition
from slakeeper.sla.forecast import breach_probability, first_passage, slope_per_hour

MINUTE_MS = 60_000


def points(values: list[float]) -> list[tuple[int, float]]:
    return [(number * MINUTE_MS, value) for number, value in enumerate(values)]


def test_without_drift_it_is_the_reflection_principle() -> None:
    assert first_passage(2.0, 0.0, 1.0, 10.0) == pytest.approx(erfc(2 / sqrt(10) / sqrt(2)))


def test_without_chance_only_the_drift_decides() -> None:
    assert first_passage(5.0, 0.5, 0.0, 10.0) == 1
    assert first_passage(5.1, 0.5, 0.0, 10.0) == 0


def test_it_agrees_with_random_walks() -> None:
    random = Random(7)
    steps, walks, drift, deviation, distance = 400, 2_000, 0.3, 0.8, 4.0
    dt = 10 / steps
    hits = 0
    for _ in range(walks):
        level = 0.0
        for _ in range(steps):
            level += drift * dt + deviation * sqrt(dt) * random.gauss(0, 1)
            if level >= distance:
                hits += 1
                break
    assert first_passage(distance, drift, deviation, 10.0) == pytest.approx(hits / walks, abs=0.05)


@given(st.floats(1e-9, 1e9), st.floats(-1e9, 1e9), st.floats(0, 1e9), st.floats(1e-3, 1e3))
def test_it_is_always_a_probability(distance: float, drift: float, deviation: float, horizon: float) -> None:
    assert 0 <= first_passage(distance, drift, deviation, horizon) <= 1


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
