"""Which windows go by between two questions to a source, against a look at each window."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.sla.monitor import Monitor
from tests.unit.sla.watching import T0_MS, sla, watch

INTERVAL_MS, DAY_MS, HOUR_MS = 10_000, 86_400_000, 3_600_000


def waiting(lateness: int = DAY_MS, **keys: Any) -> Monitor:
    """One with windows of ten seconds that are judged late, if at all."""
    return watch(sla({"interval": INTERVAL_MS, "lateness": lateness}, time_period="30d", **keys))


def missed(monitor: Monitor, since_ms: int, until_ms: int | None, now_ms: int = HOUR_MS) -> bool:
    until_ms = None if until_ms is None else T0_MS + until_ms
    return monitor.misses_window(T0_MS + since_ms, until_ms, now_ms=T0_MS + now_ms)


instants = st.integers(0, 60_000) | st.integers(0, 6).map(lambda count: count * INTERVAL_MS)


@given(since_ms=instants, until_ms=instants, newest_ms=st.none() | instants)
def test_a_window_is_missed_that_begins_after_all_that_is_known_and_has_ended(
    since_ms: int, until_ms: int, newest_ms: int | None
) -> None:
    monitor = waiting()
    if newest_ms is not None:
        monitor.observe([(T0_MS + newest_ms, 1.0)], T0_MS + newest_ms)
    known_ms = max(since_ms, -1 if newest_ms is None else newest_ms)
    naive = any(
        known_ms < start_ms and start_ms + INTERVAL_MS <= until_ms
        for start_ms in range(0, 70_000, INTERVAL_MS)
    )
    assert missed(monitor, since_ms, until_ms) == naive


@given(since_ms=instants, now_ms=instants, lateness=st.sampled_from([0, 5_000, INTERVAL_MS]))
def test_while_nothing_is_answered_only_what_would_be_judged_now_is_missed(
    since_ms: int, now_ms: int, lateness: int
) -> None:
    naive = any(
        since_ms < start_ms and start_ms + INTERVAL_MS + lateness <= now_ms
        for start_ms in range(0, 70_000, INTERVAL_MS)
    )
    assert missed(waiting(lateness), since_ms, None, now_ms) == naive


def test_a_window_whose_sample_would_come_too_late_is_missed_though_it_was_asked_for() -> None:
    monitor = waiting(INTERVAL_MS)
    assert not missed(monitor, -1, 5_000, now_ms=19_999)
    assert missed(monitor, -1, 5_000, now_ms=20_000)


def test_what_is_judged_already_and_what_counts_for_nothing_is_not_missed() -> None:
    monitor = waiting(0)
    monitor.tick(T0_MS + 40_000)
    assert not missed(monitor, 0, 40_000, now_ms=40_000)
    closed = waiting(maintenance=[{"start": T0_MS // 1000, "duration": "1m"}])
    assert not missed(closed, 0, 60_000)
    assert missed(closed, 0, 80_000)


@pytest.mark.parametrize("after_ms", [INTERVAL_MS - 1, INTERVAL_MS])
def test_a_hold_is_of_no_use_any_more_when_an_interval_of_samples_has_come(after_ms: int) -> None:
    monitor = waiting()
    monitor.observe([(T0_MS, 1.0)], T0_MS)
    assert not monitor.holds_needlessly
    monitor.hold(DAY_MS)
    monitor.observe([(T0_MS + after_ms, 1.0)], T0_MS + after_ms)
    assert monitor.holds_needlessly == (after_ms == INTERVAL_MS)
    monitor.hold(DAY_MS)
    assert not monitor.holds_needlessly
