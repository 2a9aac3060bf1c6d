"""Accounting: what windows, cuts, lateness and versions do to the account."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla.account import Account, Verdict
from slakeeper.sla.duration import DAY_MS
from slakeeper.sla.monitor import Monitor
from slakeeper.sla.signal import PeriodClosed, WindowClosed
from tests.unit.sla.watching import T0_MS, feed, naive_account, only, sla, watch

GOOD, BAD = 50.0, 150.0


def numbers(account: Account) -> tuple[int, int, int, int]:
    assert account.known_ms == account.good_ms + account.bad_ms
    return account.good_ms, account.bad_ms, account.unknown_ms, account.excluded_ms


def instant(after_ms: int) -> str:
    return (datetime.fromtimestamp(T0_MS / 1000, UTC) + timedelta(milliseconds=after_ms)).isoformat()


def test_a_window_is_judged_when_its_lateness_has_passed() -> None:
    monitor = watch(sla())
    feed(monitor, (0, BAD), (500, GOOD))
    assert monitor.tick(T0_MS + 1_999) == []
    assert only(WindowClosed, monitor.tick(T0_MS + 2_000)) == [
        WindowClosed(T0_MS, T0_MS + 1_000, Verdict.BAD)
    ]
    assert numbers(monitor.account()) == (0, 1_000, 0, 0)


def test_a_sample_is_late_exactly_when_its_window_has_been_settled() -> None:
    monitor = watch(sla({"lateness": 300}))
    monitor.observe([(T0_MS + 900, GOOD)], T0_MS + 1_299)
    monitor.observe([(T0_MS + 901, GOOD)], T0_MS + 1_300)
    assert monitor.counters == (1, 1, 0)


def test_duplicates_are_counted_where_batches_are_known() -> None:
    monitor = watch(sla())
    monitor.count_duplicates(3)
    assert monitor.counters == (0, 0, 3)


@pytest.mark.parametrize(
    ("no_data", "expected"),
    [("unknown", (0, 0, 5_000, 0)), ("good", (5_000, 0, 0, 0)), ("bad", (0, 5_000, 0, 0))],
)
def test_silence_is_what_no_data_says(no_data: str, expected: tuple[int, ...]) -> None:
    monitor = watch(sla({"no_data": no_data}))
    monitor.tick(T0_MS + 6_000)
    assert numbers(monitor.account()) == expected


def test_an_error_of_the_source_is_unknown_whatever_no_data_says() -> None:
    monitor = watch(sla({"no_data": "bad"}))
    monitor.source_error("refused", T0_MS + 1_500)
    monitor.observe([(T0_MS + 4_200, GOOD)], T0_MS + 4_200)
    monitor.tick(T0_MS + 7_000)
    # Before the error one silent window, then three with it, one with a sample, one silent again.
    assert numbers(monitor.account()) == (1_000, 2_000, 3_000, 0)


def test_what_lay_before_the_watch_began_is_unknown_even_if_silence_is_bad() -> None:
    monitor = watch(sla({"no_data": "bad"}), T0_MS + 2_500)
    monitor.tick(T0_MS + 5_000)
    assert numbers(monitor.account()) == (0, 1_500, 2_500, 0)


def test_a_period_closes_with_all_of_its_time_accounted_for_and_the_next_begins() -> None:
    monitor = watch(sla(time_period=2_500))
    feed(monitor, (0, GOOD), (1_000, BAD), (2_000, BAD), (2_600, GOOD))
    closed = only(PeriodClosed, monitor.tick(T0_MS + 3_500))
    assert closed == [PeriodClosed(Account(T0_MS, T0_MS + 2_500, 2_500, 1_000, 1_500))]
    assert monitor.account().start_ms == T0_MS + 2_500
    # Windows are counted from the start of each period, so the sample at 2 600 is in its first one.
    assert only(WindowClosed, monitor.tick(T0_MS + 4_500)) == [
        WindowClosed(T0_MS + 2_500, T0_MS + 3_500, Verdict.GOOD)
    ]


def test_after_the_term_nothing_counts_and_the_last_account_stays() -> None:
    monitor = watch(sla(time_period=2_000, term=2_000))
    feed(monitor, (0, GOOD), (2_500, BAD))
    monitor.tick(T0_MS + DAY_MS)
    assert monitor.account() == Account(T0_MS, T0_MS + 2_000, 1_000, 1_000, 0, 1_000)
    assert monitor.next_deadline_ms() is None


def test_before_the_effective_date_nothing_counts() -> None:
    monitor = watch(sla(), T0_MS - 10_000)
    monitor.observe([(T0_MS - 5_000, BAD)], T0_MS - 5_000)
    assert monitor.state == "no_data"
    assert monitor.counters == (1, 0, 0)
    assert monitor.account() == Account(T0_MS, T0_MS + DAY_MS)


def test_a_suspension_is_cut_out_and_the_rest_of_its_windows_counts() -> None:
    monitor = watch(sla())
    feed(monitor, (0, GOOD), (1_000, GOOD))
    monitor.suspend(T0_MS + 1_400)
    feed(monitor, (1_500, BAD), (2_500, BAD))
    monitor.resume(T0_MS + 3_700)
    feed(monitor, (3_800, BAD))
    monitor.tick(T0_MS + 5_000)
    assert numbers(monitor.account()) == (1_400, 300, 0, 2_300)


def test_a_long_silence_is_settled_as_one() -> None:
    monitor = watch(sla(time_period="30d"))
    signals = monitor.tick(T0_MS + 20 * DAY_MS)
    assert len(only(WindowClosed, signals)) == 1
    assert numbers(monitor.account()) == (0, 0, 20 * DAY_MS - 1_000, 0)


def test_the_account_can_be_asked_for_as_of_now_without_changing_anything() -> None:
    monitor = watch(sla())
    feed(monitor, (0, GOOD))
    before = monitor.dump()
    assert numbers(monitor.account(T0_MS + 9_000)) == (1_000, 0, 7_000, 0)
    assert monitor.dump() == before


def test_a_percentile_is_judged_exactly() -> None:
    monitor = watch(sla({"name": "latency_p95", "type": "percentile", "value": 100, "interval": 10_000}))
    samples = [(T0_MS + number, 99.0) for number in range(95)] + [
        (T0_MS + 100 + number, 1e9) for number in range(5)
    ]
    monitor.observe(samples, T0_MS + 200)
    assert numbers(monitor.account(T0_MS + 20_000)) == (10_000, 0, 0, 0)
    monitor.observe([(T0_MS + 300, 1e9)], T0_MS + 300)
    assert numbers(monitor.account(T0_MS + 20_000)) == (0, 10_000, 0, 0)


def test_a_trend_is_unknown_until_it_has_its_points() -> None:
    trend = {"type": "trend", "trend_points": 3, "value": 3_600, "condition": "lt"}  # one a second
    monitor = watch(sla(trend))
    feed(monitor, (0, 0.0), (1_000, 0.5), (2_000, 1.0), (3_000, 9.0))
    monitor.tick(T0_MS + 5_000)
    assert numbers(monitor.account()) == (1_000, 1_000, 2_000, 0)


@pytest.mark.parametrize(("aggregation", "value"), [("count", 6), ("sum", 60), ("rate", 15), ("last", 10)])
def test_a_window_is_judged_on_the_samples_outside_the_cut_a_rate_on_the_time_too(
    aggregation: str, value: int
) -> None:
    maintenance = [{"start": instant(4_000), "duration": 6_000}]
    metric = {"aggregation": aggregation, "interval": 10_000, "value": value, "condition": "eq"}
    monitor = watch(sla(metric, maintenance=maintenance))
    feed(monitor, *[(number * 700, 10.0) for number in range(9)])
    assert numbers(monitor.account(T0_MS + 20_000)) == (4_000, 0, 0, 6_000)


def test_a_new_version_settles_what_was_before_under_the_old_one() -> None:
    strict = sla({"value": 40})
    monitor = watch(sla())
    feed(monitor, (0, GOOD), (1_000, GOOD))
    signals = monitor.rebase(strict, strict.metrics[0], T0_MS + 1_600)
    assert only(WindowClosed, signals)[-1] == WindowClosed(T0_MS + 1_000, T0_MS + 1_600, Verdict.GOOD)
    feed(monitor, (1_700, GOOD))
    monitor.tick(T0_MS + 3_000)
    assert numbers(monitor.account()) == (1_600, 400, 0, 0)
    assert monitor.account().start_ms == T0_MS


def test_a_new_version_may_change_the_aggregate_and_the_interval() -> None:
    other = sla({"aggregation": "max", "interval": 400})
    monitor = watch(sla())
    feed(monitor, (0, GOOD), (100, GOOD))
    monitor.observe([(T0_MS + 5_000, GOOD)], T0_MS + 300)  # from a clock that runs ahead
    monitor.rebase(other, other.metrics[0], T0_MS + 500)
    assert monitor.counters == (3, 1, 0)
    feed(monitor, (600, BAD))
    monitor.tick(T0_MS + 1_200)
    assert numbers(monitor.account()) == (500, 300, 0, 0)


def test_a_version_that_is_no_longer_in_force_ends_the_account() -> None:
    ended = sla(term=2_000)
    monitor = watch(sla())
    feed(monitor, (0, GOOD))
    signals = monitor.rebase(ended, ended.metrics[0], T0_MS + 3_000)
    assert only(PeriodClosed, signals) == [
        PeriodClosed(Account(T0_MS, T0_MS + 3_000, 1_000, 1_000, 0, 2_000))
    ]


cut_spans = st.lists(
    st.tuples(st.integers(0, 4_000), st.integers(0, 1_500), st.sampled_from(["exclude", "good"])), max_size=3
)
sample_lists = st.lists(
    st.tuples(st.integers(0, 4_999), st.sampled_from([0.0, 90.0, 99.0, 101.0, 500.0])), max_size=25
)


@settings(max_examples=60, deadline=None)
@given(
    samples=sample_lists,
    maintenance=cut_spans,
    suspension=st.tuples(st.integers(0, 4_999), st.integers(1, 2_000)),
    interval=st.sampled_from([300, 700, 1_000]),
    no_data=st.sampled_from(["unknown", "good", "bad"]),
    period=st.integers(3_000, 5_000),
)
def test_every_millisecond_of_a_period_is_in_the_right_column(
    samples: list[tuple[int, float]],
    maintenance: list[tuple[int, int, str]],
    suspension: tuple[int, int],
    interval: int,
    no_data: str,
    period: int,
) -> None:
    windows = [
        {"start": instant(begin), "duration": length, "mode": mode} for begin, length, mode in maintenance
    ]
    contract = sla(
        {"interval": interval, "no_data": no_data, "lateness": 0}, maintenance=windows, time_period=period
    )
    monitor = watch(contract)
    suspended = (T0_MS + suspension[0], T0_MS + sum(suspension))
    acts: list[tuple[int, int, Any]] = [(suspended[0], 0, Monitor.suspend), (suspended[1], 0, Monitor.resume)]
    acts += [(T0_MS + after, 1, x) for after, x in samples]
    closed: list[Any] = []
    for now_ms, is_sample, what in sorted(acts, key=lambda act: act[:2]):
        if is_sample:
            closed += only(PeriodClosed, monitor.observe([(now_ms, what)], now_ms))
        else:
            what(monitor, now_ms)
    closed += only(PeriodClosed, monitor.tick(T0_MS + 2 * period))
    first = closed[0].account
    assert (first.start_ms, first.end_ms) == (T0_MS, T0_MS + period)
    assert numbers(first) == naive_account(
        contract,
        contract.metrics[0],
        [(T0_MS + after, x) for after, x in samples],
        T0_MS,
        T0_MS + period,
        [suspended],
    )


def test_what_remains_of_a_period_is_what_is_not_settled_and_not_excluded() -> None:
    maintenance = [
        {"start": instant(60_000), "duration": 10_000},
        {"start": instant(80_000), "duration": 5_000, "mode": "good"},
    ]
    monitor = watch(sla(time_period=100_000, maintenance=maintenance))
    feed(monitor, (0, GOOD))
    assert monitor.remaining_ms() == 90_000
    assert monitor.remaining_ms(T0_MS + 20_500) == 71_000
    monitor.tick(T0_MS + 64_000)
    assert monitor.remaining_ms() == 30_000
    assert monitor.account().settled_ms == 63_000
