"""Terms and periods, calendar ones against a walk over days."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import DAY_MS, HOUR_MS, parse_instant
from slakeeper.sla.period import Period, Term, local_date, period_at, period_from, term_at

START_MS = parse_instant("2026-01-01T00:00:00Z")


def contract(**keys: Any) -> Sla:
    return Sla.model_validate({"id": "c", "metrics": [{"name": "m", "value": 1}], **keys})


def test_without_an_effective_date_the_first_load_is_the_anchor() -> None:
    assert period_at(contract(), 5, DAY_MS + 4) == (5, DAY_MS + 5)
    assert period_at(contract(), 5, DAY_MS + 5) == (DAY_MS + 5, 2 * DAY_MS + 5)


def test_before_the_effective_date_there_is_no_period_but_a_first_one_to_come() -> None:
    pending = contract(effective_date="2026-01-01")
    assert period_at(pending, 0, START_MS - 1) is None
    assert period_from(pending, 0, START_MS - 1) == (START_MS, START_MS + DAY_MS)


def test_the_last_period_ends_with_the_term() -> None:
    ending = contract(effective_date="2026-01-01", term="36h")
    assert period_at(ending, 0, START_MS + 30 * HOUR_MS) == (START_MS + DAY_MS, START_MS + 36 * HOUR_MS)
    assert period_at(ending, 0, START_MS + 36 * HOUR_MS) is None
    assert period_from(ending, 0, START_MS + 36 * HOUR_MS) is None


def test_a_renewed_term_begins_where_the_old_one_ended_with_a_period_of_its_own() -> None:
    renewed = contract(effective_date="2026-01-01", expiry_date="2026-01-02T12:00:00Z", renew=True)
    second_ms = START_MS + 36 * HOUR_MS
    assert term_at(renewed, 0, second_ms) == Term(second_ms, second_ms + 36 * HOUR_MS, 1)
    assert period_at(renewed, 0, second_ms) == (second_ms, second_ms + DAY_MS)


def test_a_contract_that_expired_before_it_was_loaded_has_no_term() -> None:
    assert term_at(contract(expiry_date="2026-01-01"), START_MS, START_MS) is None


@pytest.mark.parametrize(
    ("calendar", "start", "end"),
    [
        ("day", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
        ("week", "2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
        ("month", "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"),
        ("quarter", "2026-01-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"),
    ],
)
def test_calendar_periods_follow_the_clock_change(calendar: str, start: str, end: str) -> None:
    local = contract(calendar=calendar, timezone="Europe/Berlin", effective_date="2020-01-01")
    assert period_at(local, 0, parse_instant("2026-03-29T12:00:00Z")) == (
        parse_instant(start),
        parse_instant(end),
    )


def test_a_day_whose_midnight_is_skipped_begins_with_the_clock_change() -> None:
    beirut = contract(calendar="day", timezone="Asia/Beirut", effective_date="2020-01-01")
    noon_ms = parse_instant("2026-03-29T12:00:00+03:00")
    assert period_at(beirut, 0, noon_ms) == (
        parse_instant("2026-03-28T22:00:00Z"),
        parse_instant("2026-03-29T21:00:00Z"),
    )


@given(
    st.sampled_from(["day", "week", "month", "quarter"]),
    st.sampled_from(
        ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Apia"]
    ),
    st.integers(parse_instant("2009-01-01"), parse_instant("2027-01-01")),
)
def test_a_calendar_period_is_the_days_of_one_name_and_touches_its_neighbours(
    calendar: str, timezone: str, at_ms: int
) -> None:
    local = contract(calendar=calendar, timezone=timezone, effective_date="2000-01-01")
    period = period_at(local, 0, at_ms)
    assert period is not None
    assert period.start_ms <= at_ms < period.end_ms

    def name(instant_ms: int) -> tuple[int, ...]:
        day = local_date(ZoneInfo(timezone), instant_ms)
        return {
            "day": (day.toordinal(),),
            "week": day.isocalendar()[:2],
            "month": (day.year, day.month),
            "quarter": (day.year, (day.month - 1) // 3),
        }[calendar]

    assert name(period.start_ms) == name(period.end_ms - 1) == name(at_ms)
    assert name(period.start_ms - 1) != name(at_ms) != name(period.end_ms)
    following = period_at(local, 0, period.end_ms)
    assert following is not None
    assert following.start_ms == period.end_ms


@given(st.integers(1, 10**7), st.integers(1, 10**7), st.booleans(), st.integers(-(10**7), 10**8))
def test_fixed_periods_tile_every_term(length_ms: int, term_ms: int, renew: bool, after_ms: int) -> None:
    fixed = contract(effective_date="2026-01-01", time_period=length_ms, term=term_ms, renew=renew)
    at_ms = START_MS + after_ms
    period = period_at(fixed, 0, at_ms)
    in_force = after_ms >= 0 and (renew or after_ms < term_ms)
    assert (period is not None) == in_force
    if period is not None:
        # Counted along from the term's start, one period at a time, the naive way.
        number, offset = divmod(after_ms, term_ms)
        first = offset - offset % length_ms
        base = START_MS + number * term_ms
        assert period == Period(base + first, base + min(first + length_ms, term_ms))


def test_the_days_of_a_local_date_are_those_of_the_wall() -> None:
    zone = ZoneInfo("Europe/Berlin")
    wall = datetime(2026, 10, 25, 23, 59, tzinfo=zone)
    assert local_date(zone, int(wall.timestamp() * 1000)) == wall.date()
    assert local_date(zone, int((wall + timedelta(minutes=1)).timestamp() * 1000)) == wall.date() + timedelta(
        days=1
    )
