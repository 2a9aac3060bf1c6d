"""What a monitor signals: opening, worsening, recovering, risk, silence."""

from typing import Any

import pytest

from slakeeper.sla.policy import Severity
from slakeeper.sla.signal import MonitorState, Opened, Recovered, StateChanged, Updated
from tests.unit.sla.watching import T0_MS, feed, only, sla, watch

LAST = {"aggregation": "last"}
GOOD, BAD = 50.0, 150.0


def test_a_metric_begins_without_data() -> None:
    monitor = watch(sla())
    assert (monitor.state, monitor.value, monitor.breach_probability) == (MonitorState.NO_DATA, None, None)
    assert monitor.last_sample_ms is None


def test_the_first_failing_evaluation_opens_at_its_instant() -> None:
    monitor = watch(sla())
    assert feed(monitor, (0, GOOD)) == [StateChanged(MonitorState.NO_DATA, MonitorState.OK, T0_MS)]
    assert feed(monitor, (300, 190.0)) == [
        Opened(T0_MS + 300, 120.0, Severity.INFO),
        StateChanged(MonitorState.OK, MonitorState.VIOLATING, T0_MS + 300),
    ]


def test_a_broken_promise_shows_with_the_sample_that_breaks_it_not_at_the_end_of_a_window() -> None:
    monitor = watch(sla({"interval": 600_000}))
    assert only(Opened, monitor.observe([(T0_MS, GOOD), (T0_MS + 1, 200.0)], T0_MS + 1))


def test_a_sample_out_of_order_is_inserted_at_its_place() -> None:
    monitor = watch(sla())
    feed(monitor, (500, GOOD))
    assert only(Opened, monitor.observe([(T0_MS + 100, 190.0)], T0_MS + 600)) == [
        Opened(T0_MS + 500, 120.0, Severity.INFO)
    ]


def test_for_opens_when_the_promise_has_failed_that_long() -> None:
    monitor = watch(sla({**LAST, "for": 700}))
    feed(monitor, (0, BAD), (400, BAD))
    assert monitor.state == "pending"
    assert only(Opened, feed(monitor, (1_000, 300.0))) == [Opened(T0_MS + 700, BAD, Severity.WARNING)]


def test_a_word_to_the_contrary_starts_for_again() -> None:
    monitor = watch(sla({**LAST, "for": 700}))
    assert not only(Opened, feed(monitor, (0, BAD), (400, GOOD), (500, BAD), (1_199, BAD)))
    assert only(Opened, feed(monitor, (1_200, BAD)))


def test_for_runs_out_by_the_clock_too() -> None:
    monitor = watch(sla({**LAST, "for": 700}))
    feed(monitor, (0, BAD))
    assert monitor.next_deadline_ms() == T0_MS + 700
    assert not only(Opened, monitor.tick(T0_MS + 699))
    assert only(Opened, monitor.tick(T0_MS + 5_000)) == [Opened(T0_MS + 700, BAD, Severity.WARNING)]


def test_silence_before_for_has_run_out_opens_nothing() -> None:
    monitor = watch(sla({**LAST, "for": 5_000}))
    feed(monitor, (0, BAD))
    assert not only(Opened, monitor.tick(T0_MS + 60_000))
    assert monitor.state == "no_data"
    assert not only(Opened, feed(monitor, (61_000, BAD)))


def test_an_open_violation_is_updated_not_opened_again() -> None:
    monitor = watch(sla({**LAST, "interval": 100_000}))
    signals = feed(
        monitor, (0, 110.0), (1, 110.0), (2, 130.0), (3, 120.0), (4, 200.0), (900, 190.0), (1_004, 105.0)
    )
    assert len(only(Opened, signals)) == 1
    assert only(Updated, signals) == [
        Updated(T0_MS + 2, 130.0, Severity.WARNING),  # worse
        Updated(T0_MS + 4, 200.0, Severity.CRITICAL),  # worse and more severe
        Updated(T0_MS + 1_004, 105.0, Severity.CRITICAL),  # a second later; severity does not fall
    ]


def test_it_closes_when_the_promise_has_held_for_keep_for() -> None:
    monitor = watch(sla({**LAST, "keep_for": 500}))
    signals = feed(monitor, (0, BAD), (100, GOOD), (300, BAD), (400, GOOD), (899, GOOD), (900, GOOD))
    assert only(Recovered, signals) == [Recovered(T0_MS + 900, GOOD)]
    assert monitor.state == "ok"


def test_silence_closes_nothing() -> None:
    monitor = watch(sla({**LAST, "keep_for": 500}))
    feed(monitor, (0, BAD), (100, GOOD))
    assert not only(Recovered, monitor.tick(T0_MS + 60_000))
    assert monitor.state == "violating"
    # Nor does it count towards keep_for.
    assert not only(Recovered, feed(monitor, (61_000, GOOD), (61_499, GOOD)))
    assert only(Recovered, feed(monitor, (61_500, GOOD)))


def test_silence_shows_as_no_data() -> None:
    monitor = watch(sla())
    feed(monitor, (0, GOOD))
    assert not only(StateChanged, monitor.tick(T0_MS + 1_999))
    assert only(StateChanged, monitor.tick(T0_MS + 3_000)) == [
        StateChanged(MonitorState.OK, MonitorState.NO_DATA, T0_MS + 2_000)
    ]
    assert monitor.value == GOOD


def test_an_error_of_the_source_shows_until_the_next_sample() -> None:
    monitor = watch(sla())
    feed(monitor, (0, GOOD))
    monitor.source_error("connection refused", T0_MS + 500)
    monitor.tick(T0_MS + 60_000)
    assert (monitor.state, monitor.error) == ("source_error", "connection refused")
    feed(monitor, (61_000, GOOD))
    assert (monitor.state, monitor.error) == ("ok", None)


def test_an_open_violation_survives_an_error_of_the_source() -> None:
    monitor = watch(sla())
    feed(monitor, (0, BAD))
    monitor.source_error("connection refused", T0_MS + 500)
    assert monitor.state == "violating"


def test_an_operator_closes_and_only_a_later_failure_opens_again() -> None:
    monitor = watch(sla(LAST))
    feed(monitor, (500, BAD))
    assert monitor.force_close(T0_MS + 600) == [
        StateChanged(MonitorState.VIOLATING, MonitorState.PENDING, T0_MS + 600)
    ]
    assert not only(Opened, monitor.observe([(T0_MS + 400, BAD)], T0_MS + 600))
    assert only(Opened, feed(monitor, (700, BAD)))


@pytest.mark.parametrize(
    ("metric", "value", "state"),
    [
        ({"condition": "lt", "value": 100}, 94.9, "ok"),
        ({"condition": "lt", "value": 100}, 95.0, "at_risk"),
        ({"condition": "lte", "value": 100}, 100.0, "at_risk"),
        ({"condition": "lt", "value": 100}, 100.0, "violating"),
        ({"condition": "gt", "value": 95}, 100.1, "ok"),
        ({"condition": "gt", "value": 95}, 100.0, "at_risk"),
        ({"condition": "eq", "value": 100}, 100.0, "ok"),
        ({"condition": "ne", "value": 100}, 99.0, "ok"),
        ({"condition": "ne", "value": 100}, 100.0, "violating"),
        # Of a percentage of goodness, 95 % of the failure that is allowed.
        ({"condition": "gt", "value": 99, "unit": "percent"}, 100.0, "ok"),
        ({"condition": "gt", "value": 99, "unit": "percent"}, 99.06, "ok"),
        ({"condition": "gt", "value": 99, "unit": "percent"}, 99.04, "at_risk"),
        ({"condition": "gte", "value": 100, "unit": "percent"}, 100.0, "ok"),
    ],
)
def test_near_the_promised_value_is_at_risk(metric: dict[str, Any], value: float, state: str) -> None:
    monitor = watch(sla(metric))
    feed(monitor, (0, value))
    assert monitor.state == state


def test_a_steady_approach_is_at_risk_before_it_is_near() -> None:
    monitor = watch(sla({"value": 1_000}))
    feed(monitor, *[(number * 1_000, 500.0 + 45 * number) for number in range(7)])
    assert monitor.breach_probability == 1.0
    assert monitor.state == "at_risk"


def test_an_outage_that_is_over_does_not_haunt_the_forecast() -> None:
    monitor = watch(sla({"keep_for": 0}))
    feed(monitor, *[(number * 1_000, BAD if number in {6, 7} else 10.0) for number in range(12)])
    assert monitor.state == "ok"


def test_a_sum_is_not_too_little_before_its_window_is_full() -> None:
    monitor = watch(sla({"aggregation": "sum", "condition": "gt", "value": 5, "interval": 1_000}))
    feed(monitor, *[(number * 100, 1.0) for number in range(5)])
    assert monitor.state == "ok"
    assert not only(Opened, feed(monitor, (700, 1.0), (800, 1.0)))
    assert only(Opened, feed(monitor, (1_600, 1.0)))


def test_a_sum_is_too_much_at_once() -> None:
    monitor = watch(sla({"aggregation": "sum", "condition": "lt", "value": 5}))
    assert only(Opened, feed(monitor, (0, 3.0), (1, 3.0)))


def test_a_trend_opens_when_its_slope_fails() -> None:
    monitor = watch(sla({"type": "trend", "trend_points": 3, "value": 3_600, "condition": "lt"}))
    feed(monitor, (0, 0.0), (1_000, 0.5))
    assert (monitor.state, monitor.value) == ("no_data", None)
    feed(monitor, (2_000, 1.0))
    assert monitor.state == "ok"
    assert monitor.value == pytest.approx(1_800)
    assert only(Opened, feed(monitor, (3_000, 9.0)))


def test_a_percentile_opens_with_the_sample_that_breaks_it() -> None:
    monitor = watch(sla({"name": "m_p50", "type": "percentile", "value": 100, "interval": 60_000}))
    assert not only(Opened, feed(monitor, (0, GOOD), (1, GOOD), (2, BAD), (3, BAD)))
    assert only(Opened, feed(monitor, (4, BAD)))
    assert monitor.value == BAD


def test_maintenance_is_not_watched_and_its_samples_do_not_count_afterwards() -> None:
    contract = sla({"interval": 10_000}, maintenance=[{"start": "2026-01-01T00:00:20Z", "duration": "60s"}])
    monitor = watch(contract)
    signals = feed(
        monitor, (10_000, GOOD), *[(at, BAD) for at in range(20_000, 80_000, 1_000)], (80_000, GOOD)
    )
    assert not only(Opened, signals)
    assert monitor.counters.accepted == 62
    assert only(Opened, feed(monitor, (81_000, 500.0)))


def test_cut_time_is_no_silence() -> None:
    contract = sla({"interval": 10_000}, maintenance=[{"start": "2026-01-01T00:00:20Z", "duration": "60s"}])
    monitor = watch(contract)
    feed(monitor, (10_000, GOOD))
    assert not only(StateChanged, monitor.tick(T0_MS + 30_000))
    deadline_ms = monitor.next_deadline_ms()
    assert deadline_ms is not None
    assert only(StateChanged, monitor.tick(T0_MS + 89_999)) == []
    assert only(StateChanged, monitor.tick(T0_MS + 90_000)) == [
        StateChanged(MonitorState.OK, MonitorState.NO_DATA, T0_MS + 90_000)
    ]


def test_a_suspended_metric_is_not_judged_and_goes_on_afterwards() -> None:
    monitor = watch(sla({**LAST, "for": 100}))
    feed(monitor, (0, BAD))
    monitor.suspend(T0_MS + 50)
    assert not only(Opened, feed(monitor, (500, BAD), (900, BAD)))
    assert not only(StateChanged, monitor.tick(T0_MS + 60_000))
    monitor.resume(T0_MS + 61_000)
    assert not only(Opened, feed(monitor, (61_050, BAD)))
    assert only(Opened, feed(monitor, (61_200, BAD)))


def test_a_new_version_leaves_an_open_violation_open_and_judges_by_itself() -> None:
    lenient = sla({"value": 1_000, "keep_for": 0})
    monitor = watch(sla())
    feed(monitor, (0, BAD))
    monitor.rebase(lenient, lenient.metrics[0], T0_MS + 100)
    assert monitor.state == "violating"
    assert only(Recovered, feed(monitor, (200, BAD)))


def test_quiet_ticks_say_nothing() -> None:
    monitor = watch(sla())
    assert monitor.tick(T0_MS) == []
    assert monitor.observe([], T0_MS) == []


def test_a_new_version_in_the_middle_of_a_window_does_not_trouble_the_forecast() -> None:
    contract = sla({"lateness": 10_000})
    monitor = watch(contract)
    feed(monitor, *((500 * i, GOOD + i % 3) for i in range(20)))
    monitor.rebase(contract, contract.metrics[0], T0_MS + 9_700)
    feed(monitor, (9_800, GOOD), (10_100, GOOD), (11_100, GOOD + 1))
    assert monitor.breach_probability is not None
