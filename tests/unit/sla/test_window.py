"""Sliding windows against looking at every sample again."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from math import ceil
from sys import float_info
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla import extreme_window, percentile_window, sum_window
from slakeeper.sla.metric import Metric
from slakeeper.sla.sample import Sample
from slakeeper.sla.sketch import RELATIVE_ERROR, bucket_of, value_of
from slakeeper.sla.window import Window, open_window

INTERVAL_MS = 20


def exact_mean(xs: list[float]) -> float:
    return float(sum(map(Fraction, xs)) / len(xs))


def exact_sum(xs: list[float], seconds: Fraction = Fraction(1)) -> float:
    total = sum(map(Fraction, xs), start=Fraction(0)) / seconds
    try:
        return float(total)
    except OverflowError:
        return float_info.max if total > 0 else -float_info.max


def nearest_rank(xs: list[float]) -> float:
    return sorted(xs)[max(1, ceil(Fraction(95, 100) * len(xs))) - 1]


NAIVE: dict[str, Callable[[list[float]], float]] = {
    "avg": exact_mean,
    "sum": exact_sum,
    "rate": lambda xs: exact_sum(xs, Fraction(INTERVAL_MS, 1000)),
    "count": len,
    "min": min,
    "max": max,
    "p95": nearest_rank,
}


def window(kind: str, interval_ms: int = INTERVAL_MS) -> Window:
    keys: dict[str, Any] = (
        {"type": "percentile", "percentile": 95} if kind == "p95" else {"aggregation": kind}
    )
    return open_window(Metric.model_validate({"name": "m", "value": 1, "interval": interval_ms, **keys}))


def in_window(samples: list[Sample], interval_ms: int = INTERVAL_MS) -> list[float]:
    newest_ms = max(ts_ms for ts_ms, _ in samples)
    return [x for ts_ms, x in samples if newest_ms - interval_ms < ts_ms <= newest_ms]


values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, 1.0, 99.9, 99.999, 0.1, -0.1, 1e300, 5e-324]),
    st.integers(-5, 5).map(float),
)
many_samples = st.lists(st.tuples(st.integers(0, 100), values), min_size=1, max_size=60)


@pytest.mark.parametrize("kind", NAIVE)
@given(samples=many_samples)
def test_a_window_aggregates_the_last_interval_in_any_order(kind: str, samples: list[Sample]) -> None:
    sliding = window(kind)
    for count, (ts_ms, x) in enumerate(samples, start=1):
        assert sliding.add(ts_ms, x) == NAIVE[kind](in_window(samples[:count]))


@given(samples=many_samples)
def test_the_last_value_is_that_of_the_newest_instant_and_of_two_the_later_arrival(
    samples: list[Sample],
) -> None:
    sliding = window("last")
    for count, (ts_ms, x) in enumerate(samples, start=1):
        newest_ms = max(ts for ts, _ in samples[:count])
        assert sliding.add(ts_ms, x) == [value for ts, value in samples[:count] if ts == newest_ms][-1]


@pytest.mark.parametrize("kind", [*NAIVE, "last"])
@given(samples=many_samples, at=st.integers(0, 60))
def test_a_dumped_window_goes_on_as_if_nothing_had_been(kind: str, samples: list[Sample], at: int) -> None:
    kept, restored = window(kind), window(kind)
    for count, (ts_ms, x) in enumerate(samples):
        if count == at:
            restored = window(kind)
            restored.load(kept.dump())
        expected = kept.add(ts_ms, x)
        if count >= at:
            assert restored.add(ts_ms, x) == expected


@pytest.mark.parametrize("kind", ["avg", "sum", "count", "rate", "min", "max"])
@settings(max_examples=30)
@given(
    samples=st.lists(
        st.tuples(st.integers(0, 60_000), st.integers(-9, 9).map(float)), min_size=60, max_size=200
    ),
    at=st.integers(40, 199),
)
def test_a_crowded_window_slides_by_cells(kind: str, samples: list[Sample], at: int) -> None:
    """Its aggregate is that of a window whose far end lies up to a cell further back."""
    interval_ms = 20_000
    cell_ms = 5  # a 4096th of the interval, rounded up
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sum_window, "EXACT_ENTRIES", 4)
        patch.setattr(extreme_window, "EXACT_ENTRIES", 4)
        sliding = window(kind, interval_ms)
        for count, (ts_ms, x) in enumerate(samples, start=1):
            if count == at:
                restored = window(kind, interval_ms)
                restored.load(sliding.dump())
                sliding = restored
            got = sliding.add(ts_ms, x)
            naive = NAIVE[kind] if kind != "rate" else lambda xs: exact_sum(xs, Fraction(interval_ms, 1000))
            assert got in {
                naive(in_window(samples[:count], interval_ms)),
                naive(in_cells(samples[:count], interval_ms, cell_ms)),
            }


def in_cells(samples: list[Sample], interval_ms: int, cell_ms: int) -> list[float]:
    """What a grid keeps: a sample refused as too old when it came never returns, whole cells leave."""
    kept: list[Sample] = []
    newest_ms = -1
    for ts_ms, x in samples:
        newest_ms = max(newest_ms, ts_ms)
        if ts_ms > newest_ms - interval_ms:
            kept.append((ts_ms, x))
    gone = (newest_ms - interval_ms) // cell_ms
    return [x for ts_ms, x in kept if -(-ts_ms // cell_ms) > gone]


def test_a_crowded_window_is_bounded_and_exact_again_once_it_has_run_empty() -> None:
    sliding = window("avg", 60_000)
    for number in range(100_000):
        sliding.add(number, 1.0)
    assert sum(len(str(part)) for part in sliding.dump()["grid"].values()) < 400_000
    assert sliding.add(200_000, 7.0) == 7.0
    assert "grid" not in sliding.dump()


@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_a_bucket_stands_for_its_values_within_one_percent(x: float) -> None:
    assert value_of(bucket_of(x)) == pytest.approx(x, rel=RELATIVE_ERROR * 1.001)


@given(values, values)
def test_buckets_keep_the_order_of_values(a: float, b: float) -> None:
    assert (bucket_of(a) <= bucket_of(b)) if a <= b else (bucket_of(a) >= bucket_of(b))


@settings(max_examples=50)
@given(
    samples=st.lists(st.tuples(st.integers(0, 3_000), st.floats(-1e6, 1e6)), min_size=10, max_size=120),
    at=st.integers(5, 119),
)
def test_a_crowded_percentile_is_within_one_percent_of_the_samples_it_keeps(
    samples: list[Sample], at: int
) -> None:
    interval_ms = 640
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(percentile_window, "EXACT_ENTRIES", 4)
        sliding = window("p95", interval_ms)
        for count, (ts_ms, x) in enumerate(samples, start=1):
            if count == at:
                restored = window("p95", interval_ms)
                restored.load(sliding.dump())
                sliding = restored
            got = sliding.add(ts_ms, x)
            exact = nearest_rank(in_window(samples[:count], interval_ms))
            coarse = nearest_rank(in_cells(samples[:count], interval_ms, 10))
            assert got == pytest.approx(exact, rel=0.0101, abs=1e-300) or got == pytest.approx(
                coarse, rel=0.0101, abs=1e-300
            )


@given(st.decimals(Decimal("0.1"), Decimal("99.9"), places=1), st.integers(1, 2_000))
def test_the_nearest_rank_has_enough_values_at_or_below_it_and_no_fewer_would_do(
    share: Decimal, count: int
) -> None:
    rank = percentile_window.nearest_rank(share, count)
    assert rank * 100 >= Fraction(share) * count
    assert rank == 1 or (rank - 1) * 100 < Fraction(share) * count
