"""Calm stretches, against every window and every forecast looked at by itself."""

import random
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla import calm, forecast
from slakeeper.sla.forecast import POINTS, Point, breach_probability
from slakeeper.sla.metric import Metric
from tests.unit.sla.watching import T0_MS

MINUTE_MS = 60_000

METRICS: dict[str, dict[str, Any]] = {
    "avg": {},
    "min": {"aggregation": "min", "condition": "gt", "value": 40},
    "max": {"aggregation": "max", "condition": "lte", "value": 200},
    "last": {"aggregation": "last", "condition": "gte", "value": 20},
    "easily alarmed": {"alert_threshold": "0.05"},
}


def promised(keys: dict[str, Any]) -> Metric:
    document = {"name": "m0", "value": 160, "condition": "lt", "interval": MINUTE_MS, **keys}
    return Metric.model_validate(document)


def zone(metric: Metric) -> tuple[float, float]:
    value = float(metric.value)
    return (float("-inf"), value) if metric.condition.holds(0, value) else (value, float("inf"))


def instants(dice: random.Random, windows: int, jitter_ms: int, missing_ratio: float) -> list[int]:
    """Two samples a window, more or less."""
    at_ms = [T0_MS + 30_000 * number + dice.randrange(jitter_ms + 1) for number in range(2 * windows)]
    return sorted(each for each in at_ms if dice.random() >= missing_ratio)


def history(dice: random.Random, count: int, spread: float, drift: float, memory: float) -> list[float]:
    """An autoregression about 100, in part on its way up."""
    values: list[float] = []
    off = 0.0
    for number in range(count):
        off = memory * off + dice.gauss(0, spread)
        values.append(100 + off + drift * (number % 400))
    return values


@pytest.mark.parametrize("keys", METRICS.values(), ids=METRICS)
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    windows=st.integers(1, 300),
    spread=st.sampled_from([0.0, 1.0, 3.0, 8.0, 15.0]),
    drift=st.sampled_from([0.0, 0.0, 0.1]),
    memory=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    jitter_ms=st.sampled_from([0, 0, 29_999, 40_000]),
    missing_ratio=st.sampled_from([0.0, 0.0, 0.0, 0.01]),
)
def test_no_window_of_a_calm_stretch_has_anything_to_say(
    keys: dict[str, Any],
    seed: int,
    windows: int,
    spread: float,
    drift: float,
    memory: float,
    jitter_ms: int,
    missing_ratio: float,
) -> None:
    metric, dice = promised(keys), random.Random(seed)
    ts_ms = instants(dice, windows + 30, jitter_ms, missing_ratio)
    values = history(dice, len(ts_ms), spread, drift, memory)
    start_ms = T0_MS + 25 * MINUTE_MS
    limit_ms = start_ms + windows * MINUTE_MS
    before = range(start_ms - POINTS * MINUTE_MS, start_ms, MINUTE_MS)
    seen: list[Point] = []
    for at_ms in before:
        begin, end = bisect_left(ts_ms, at_ms), bisect_left(ts_ms, at_ms + MINUTE_MS)
        if begin < end:
            seen.append((at_ms, calm.aggregate(metric, ts_ms, values, begin, end)))
    stretch = calm.find(metric, zone(metric), seen, ts_ms, values, start_ms, limit_ms)
    assert stretch.start_ms == start_ms
    for number in range(stretch.windows + 1):
        at_ms = start_ms + number * MINUTE_MS
        assert stretch.places[number] == bisect_left(ts_ms, at_ms)
        stated = breach_probability(seen, metric.condition, float(metric.value), MINUTE_MS)
        assert stretch.windows == 0 or (stated or 0.0) <= float(metric.alert_threshold)
        if number < stretch.windows:
            begin, end = stretch.places[number : number + 2]
            assert begin < end
            low, high = zone(metric)
            aggregate = calm.aggregate(metric, ts_ms, values, begin, end)
            assert low < aggregate < high
            seen.append((at_ms, aggregate))


@pytest.mark.parametrize("jitter_ms", [0, 40_000])
def test_where_the_promised_value_is_far_away_no_forecast_is_worked_out(
    jitter_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(path: Sequence[float], barrier: float, steps: int, floor: float = 0.0) -> float:
        raise AssertionError("worked out")

    monkeypatch.setattr(forecast, "first_passage", never)
    dice = random.Random(5)
    ts_ms = instants(dice, 5_000, jitter_ms, 0.0)
    values = [dice.gauss(100, 10) for _ in ts_ms]
    metric, start_ms = promised({"value": 250}), T0_MS + POINTS * MINUTE_MS
    seen = [(start_ms - number * MINUTE_MS, 100.0) for number in range(POINTS, 0, -1)]
    stretch = calm.find(metric, zone(metric), seen, ts_ms, values, start_ms, T0_MS + 4_000 * MINUTE_MS)
    assert stretch.windows == 4_000 - POINTS
