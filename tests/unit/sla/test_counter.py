"""Rates of counters: a drop is a reset, nothing is extrapolated, and what a cut hides is in no rate."""

import itertools
from fractions import Fraction
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from slakeeper.sla.contract import Sla
from slakeeper.sla.counter import CounterTally, CounterWindow, Readings
from slakeeper.sla.grid import EXACT_ENTRIES
from slakeeper.sla.monitor import Monitor
from slakeeper.sla.signal import MonitorState
from tests.unit.sla.watching import T0_MS, feed, sla, watch

COUNTER = {"aggregation": "rate", "counter": True, "value": 10, "interval": 10_000}
INTERVAL_MS = 20

readings = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 50).map(float)), min_size=1, max_size=40)


def naive_rate(samples: list[tuple[int, float]]) -> float | None:
    """Per second, from all readings; of two at one instant the later arrival counts."""
    by_time = sorted(dict(samples).items())
    rise = Fraction(0)
    for (_, before), (_, after) in itertools.pairwise(by_time):
        rise += Fraction(after) - Fraction(before) if after >= before else Fraction(after)
    span_ms = by_time[-1][0] - by_time[0][0]
    return float(rise / Fraction(span_ms, 1000)) if span_ms else None


@given(readings)
def test_the_sliding_rate_is_what_a_look_at_all_readings_says(samples: list[tuple[int, float]]) -> None:
    window = CounterWindow(INTERVAL_MS)
    kept: list[tuple[int, float]] = []
    for ts_ms, x in samples:
        stated = window.add(ts_ms, x)
        newest_ms = max(window.newest_ms, ts_ms)
        kept = [(ts, each) for ts, each in [*kept, (ts_ms, x)] if newest_ms - INTERVAL_MS < ts]
        assert stated == naive_rate(kept) or (isnan(stated) and naive_rate(kept) is None)
        again = CounterWindow(INTERVAL_MS)
        again.load(window.dump())
        window = again


@given(readings, st.integers(0, 60))
def test_a_window_is_judged_on_its_stretches_apart(samples: list[tuple[int, float]], cut_ms: int) -> None:
    tally = CounterTally()
    for ts_ms, x in samples:
        tally.at(0 if ts_ms < cut_ms else cut_ms).extend([ts_ms], [x])
    rise, span_ms = Fraction(0), 0
    for part in ([s for s in samples if s[0] < cut_ms], [s for s in samples if s[0] >= cut_ms]):
        if part:
            times = [ts_ms for ts_ms, _ in part]
            length_ms = max(times) - min(times)
            span_ms += length_ms
            rise += Fraction(naive_rate(part) or 0).limit_denominator(10**6) * Fraction(length_ms, 1000)
    again = CounterTally()
    again.load(tally.dump())
    assert again.count == tally.count == len(samples)
    if span_ms:
        assert again.value(1) == tally.value(1) == pytest.approx(float(rise / Fraction(span_ms, 1000)))
    else:
        assert isnan(tally.value(1))


def test_a_drop_is_a_reset() -> None:
    monitor = watch(sla({**COUNTER, "lateness": 0}))
    # 0 to 30, restart, 0 to 20: 50 in 4 s.
    feed(monitor, (1_000, 100.0), (2_000, 130.0), (4_000, 5.0), (5_000, 20.0))
    assert monitor.value == 12.5
    assert monitor.state is MonitorState.VIOLATING


def test_one_reading_says_nothing() -> None:
    monitor = watch(sla({**COUNTER, "lateness": 0}))
    feed(monitor, (1_000, 1e9))
    assert (monitor.value, monitor.state) == (None, MonitorState.NO_DATA)
    monitor.tick(T0_MS + 10_000)
    assert monitor.account().unknown_ms == 10_000


def test_a_counter_is_not_too_little_while_its_window_fills() -> None:
    monitor = watch(sla({**COUNTER, "condition": "gt", "value": 1}))
    feed(monitor, (1_000, 0.0), (2_000, 0.5))
    assert monitor.state is MonitorState.VIOLATING


def test_what_it_did_in_maintenance_is_in_no_rate() -> None:
    maintenance = [{"start": (T0_MS + 3_000) // 1000, "duration": "2s"}]
    monitor = watch(sla({**COUNTER, "lateness": 0}, maintenance=maintenance))
    feed(monitor, (1_000, 0.0), (2_000, 1.0), (4_000, 500.0), (6_000, 1_000.0), (7_000, 1_001.0))
    assert (monitor.value, monitor.state) == (1.0, MonitorState.OK)
    monitor.tick(T0_MS + 10_000)
    account = monitor.account()
    assert (account.good_ms, account.bad_ms, account.excluded_ms) == (8_000, 0, 2_000)


def test_what_it_did_while_suspended_is_in_no_rate() -> None:
    monitor = watch(sla(COUNTER))
    feed(monitor, (1_000, 0.0), (2_000, 1.0))
    monitor.suspend(T0_MS + 2_500)
    monitor.resume(T0_MS + 3_500)
    feed(monitor, (4_000, 1_000.0), (5_000, 1_001.0))
    assert monitor.value == 1.0


def test_a_dumped_monitor_goes_on() -> None:
    contract = sla(COUNTER)
    monitor = watch(contract)
    feed(monitor, (1_000, 0.0), (2_000, 1.0))
    again = Monitor.restore(contract, contract.metrics[0], monitor.dump())
    for each in (monitor, again):
        feed(each, (3_000, 9.0), (12_000, 300.0))
        each.tick(T0_MS + 30_000)
    assert again.dump() == monitor.dump()


def test_a_crowded_window_keeps_what_it_rose_by() -> None:
    many = Readings()
    for index in range(3 * EXACT_ENTRIES):
        many.add(index, float(index % 30_000))
    times, values = many.dump()
    assert len(times) == len(values) <= 8 * (EXACT_ENTRIES + 1)
    exact = 29_999 + (3 * EXACT_ENTRIES - 1 - 30_000)
    assert many.rise >> 128 == exact  # type: ignore[operator]  # an int at this size
    hopeless = Readings()
    for index in range(2 * EXACT_ENTRIES):
        hopeless.add(index, float(-index))
    assert len(hopeless.dump()[0]) <= 8 * (EXACT_ENTRIES + 1)


@pytest.mark.parametrize("metric", [{"aggregation": "avg"}, {"type": "percentile", "percentile": 95}])
def test_only_a_rate_is_of_a_counter(metric: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="counter needs aggregation: rate"):
        Sla.model_validate({"id": "c", "metrics": [{"name": "m", "value": 1, "counter": True, **metric}]})
