"""Burn: its alerts, its rate over a look-back, and when the budget will be gone."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from slakeeper.sla.burn import Burn, BurnWindow, burn_windows, kept_ms
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import DAY_MS, HOUR_MS, MINUTE_MS
from slakeeper.sla.metric import Metric
from slakeeper.sla.policy import Severity
from slakeeper.sla.spending import MAX_SPANS, Spending

INFO, WARNING = Severity.INFO, Severity.WARNING


def sla(service_level: str = "99", **changes: object) -> Sla:
    metrics = [
        Metric.model_validate({"name": "a", "value": 1, "condition": "lt", "weight": "0.75"}),
        Metric.model_validate({"name": "b", "value": 1, "condition": "lt", "weight": "0.25"}),
    ]
    document = {
        "id": "s",
        "service_level": service_level,
        "metrics": metrics,
        "time_period": "30d",
        **changes,
    }
    return Sla.model_validate(document)


def spent(verdicts: str, window_ms: int = MINUTE_MS, keep_ms: int = 3 * DAY_MS) -> Spending:
    """Windows from 0 on: ``g`` good, ``b`` bad, anything else unknown."""
    spending = Spending(keep_ms)
    for index, verdict in enumerate(verdicts):
        span = (index * window_ms, (index + 1) * window_ms)
        spending.add(span[1], good=[span] if verdict == "g" else [], bad=[span] if verdict == "b" else [])
    return spending


def test_thirty_days_have_the_four_windows_of_the_workbook() -> None:
    assert burn_windows(30 * DAY_MS) == (
        BurnWindow(HOUR_MS, 5 * MINUTE_MS, Fraction("14.4"), WARNING),
        BurnWindow(6 * HOUR_MS, 30 * MINUTE_MS, Fraction(6), WARNING),
        BurnWindow(DAY_MS, 2 * HOUR_MS, Fraction(3), INFO),
        BurnWindow(3 * DAY_MS, 6 * HOUR_MS, Fraction(1), INFO),
    )


def test_a_week_has_only_those_that_spend_faster_than_allowed() -> None:
    assert burn_windows(7 * DAY_MS) == (
        BurnWindow(HOUR_MS, 5 * MINUTE_MS, Fraction("3.36"), WARNING),
        BurnWindow(6 * HOUR_MS, 30 * MINUTE_MS, Fraction("1.4"), WARNING),
    )
    assert burn_windows(DAY_MS) == ()
    assert kept_ms(DAY_MS) == HOUR_MS


@given(
    st.text("gbu", max_size=60),
    st.integers(1, 70 * MINUTE_MS),
    st.integers(0, 70 * MINUTE_MS),
)
def test_a_look_back_is_what_a_look_at_every_window_says(verdicts: str, look_back: int, keep: int) -> None:
    spending = spent(verdicts, keep_ms=max(keep, look_back))
    end_ms = len(verdicts) * MINUTE_MS
    naive = {"b": 0, "g": 0, "u": 0}
    for index, verdict in enumerate(verdicts):
        start_ms = max(index * MINUTE_MS, end_ms - look_back)
        naive[verdict] += max(0, (index + 1) * MINUTE_MS - start_ms)
    assert spending.within(end_ms - look_back, end_ms) == (naive["b"], naive["b"] + naive["g"])
    again = Spending(0)
    again.load(spending.dump())
    assert again.dump() == spending.dump()


@given(st.text("gbu", min_size=1, max_size=40), st.text("gbu", min_size=1, max_size=40), st.integers(1, 40))
def test_the_rate_is_the_weighted_share_of_bad_windows_over_the_allowed_one(
    a: str, b: str, windows: int
) -> None:
    burn = Burn(sla(), {"a": spent(a), "b": spent(b)}, 30 * DAY_MS)
    end = max(len(a), len(b))
    parts = []
    for verdicts, weight in ((a, Fraction(3, 4)), (b, Fraction(1, 4))):
        seen = verdicts[max(0, end - windows) :]
        known = seen.count("b") + seen.count("g")
        if known:
            parts.append((Fraction(seen.count("b"), known), weight))
    expected = None
    if parts:
        expected = 100 * sum(share * weight for share, weight in parts) / sum(weight for _, weight in parts)
    assert burn.rate(windows * MINUTE_MS) == expected


def test_an_alert_takes_both_look_backs() -> None:
    fast = BurnWindow(HOUR_MS, 5 * MINUTE_MS, Fraction("14.4"), WARNING)
    on = Burn(sla(), {"a": spent("g" * 45 + "b" * 15)}, 30 * DAY_MS)
    assert fast in on.alerts()
    over = Burn(sla(), {"a": spent("g" * 40 + "b" * 15 + "g" * 5)}, 30 * DAY_MS)
    assert over.rate(HOUR_MS) == 25
    assert fast not in over.alerts()
    short = Burn(sla(), {"a": spent("g" * 55 + "b" * 5)}, 30 * DAY_MS)
    assert short.rate(5 * MINUTE_MS) == 100
    assert fast not in short.alerts()


def test_exactly_the_factor_is_no_alert() -> None:
    exactly = Burn(sla("90"), {"a": spent("b" * 60)}, HOUR_MS * 500)  # a rate of 10, a factor of 10
    assert burn_windows(HOUR_MS * 500)[0].factor == exactly.rate(HOUR_MS) == 10
    assert all(window.long_ms != HOUR_MS for window in exactly.alerts())


def test_without_a_budget_there_is_no_rate_and_no_alert() -> None:
    burn = Burn(sla("100"), {"a": spent("b" * 60)}, 30 * DAY_MS)
    assert (burn.rate(HOUR_MS), burn.alerts()) == (None, ())


def test_the_budget_ends_where_what_is_left_of_it_has_been_spent_at_the_rate() -> None:
    # Half of the hour is bad; 10 minutes that are left last 20.
    burn = Burn(sla(), {"a": spent("gb" * 30)}, DAY_MS)
    left_ms, now_ms = Fraction(10 * MINUTE_MS), HOUR_MS
    assert burn.budget_ends_at_ms(left_ms, now_ms, DAY_MS) == now_ms + 20 * MINUTE_MS
    assert burn.budget_ends_at_ms(left_ms, now_ms, now_ms + 20 * MINUTE_MS) is None
    assert burn.budget_ends_at_ms(left_ms, now_ms, now_ms + 20 * MINUTE_MS + 1) == now_ms + 20 * MINUTE_MS
    assert burn.budget_ends_at_ms(Fraction(0), now_ms, DAY_MS) is None
    assert burn.budget_ends_at_ms(Fraction(1, 3), now_ms, DAY_MS) == now_ms + 1  # the first whole millisecond


def test_time_that_maintenance_takes_spends_nothing() -> None:
    maintenance = [{"start": 3600 + 600, "duration": "1h"}]
    burn = Burn(sla(maintenance=maintenance), {"a": spent("gb" * 30)}, DAY_MS)
    assert burn.budget_ends_at_ms(Fraction(10 * MINUTE_MS), HOUR_MS, DAY_MS) == HOUR_MS + 80 * MINUTE_MS


def test_what_never_broke_and_what_is_unknown_has_no_projection() -> None:
    left_ms = Fraction(10 * MINUTE_MS)
    for verdicts in ("", "g" * 60, "u" * 60):
        burn = Burn(sla(), {"a": spent(verdicts)}, DAY_MS)
        assert burn.budget_ends_at_ms(left_ms, HOUR_MS, DAY_MS) is None


def test_the_memory_is_bounded() -> None:
    spending = spent("gb" * (MAX_SPANS + 50), keep_ms=1 << 40)
    known, bad = spending.dump()[2:]
    assert (len(known), len(bad)) == (1, MAX_SPANS)
    assert known[0][0] == bad[0][0] - MINUTE_MS  # what is forgotten of one kind is forgotten of the other
    assert len(spent("gu" * 500, keep_ms=10 * MINUTE_MS).dump()[2]) <= 6
