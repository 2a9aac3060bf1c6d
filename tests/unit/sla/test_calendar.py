"""Maintenance and service hours against the clock on the wall, minute by minute."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla.calendar import countable_ms, cuts, in_maintenance, maintenance_end_ms
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import DAY_MS, HOUR_MS, MINUTE_MS, parse_instant
from slakeeper.sla.span import total_ms

SUNDAY_MS = parse_instant("2026-11-01T00:00:00Z")


def contract(**keys: Any) -> Sla:
    return Sla.model_validate({"id": "c", "metrics": [{"name": "m", "value": 1}], **keys})


def at(text: str) -> int:
    return parse_instant(text)


def test_a_contract_without_a_calendar_has_no_cuts() -> None:
    assert cuts(contract(), 0, DAY_MS) == ((), ())


def test_a_single_window_is_cut_to_the_millisecond() -> None:
    once = contract(maintenance=[{"start": "2026-11-03T01:00:00.250Z", "duration": "2h"}])
    found = cuts(once, SUNDAY_MS, SUNDAY_MS + 7 * DAY_MS)
    assert found.excluded == ((at("2026-11-03T01:00:00.250Z"), at("2026-11-03T03:00:00.250Z")),)
    assert found.good == ()


def test_a_start_without_an_offset_is_local_and_recurs_on_the_wall_clock() -> None:
    weekly = contract(
        timezone="Europe/Berlin",
        maintenance=[{"start": "2026-10-18T03:30:00", "duration": "30m", "rrule": "FREQ=WEEKLY;BYDAY=SU"}],
    )
    found = cuts(weekly, at("2026-10-18"), at("2026-11-02"))
    assert [start for start, _ in found.excluded] == [
        at("2026-10-18T03:30:00+02:00"),
        at("2026-10-25T03:30:00+01:00"),
        at("2026-11-01T03:30:00+01:00"),
    ]


def test_a_start_that_a_clock_change_skips_is_moved_past_it() -> None:
    skipped = contract(
        timezone="Europe/Berlin", maintenance=[{"start": "2026-03-29T02:30:00", "duration": "1h"}]
    )
    assert cuts(skipped, at("2026-03-29"), at("2026-03-30")).excluded == (
        (at("2026-03-29T03:30:00+02:00"), at("2026-03-29T04:30:00+02:00")),
    )


def test_a_start_that_comes_twice_is_the_first_one_and_lasts_its_duration() -> None:
    twice = contract(
        timezone="Europe/Berlin", maintenance=[{"start": "2026-10-25T02:30:00", "duration": "90m"}]
    )
    assert cuts(twice, at("2026-10-25"), at("2026-10-26")).excluded == (
        (at("2026-10-25T02:30:00+02:00"), at("2026-10-25T03:00:00+01:00")),
    )


def test_an_until_in_utc_and_a_count_end_a_recurrence() -> None:
    until = {"start": "2026-11-01T01:00:00Z", "duration": "1h", "rrule": "FREQ=DAILY;UNTIL=20261103T010000Z"}
    count = {"start": "2026-11-01T05:00:00Z", "duration": "1h", "rrule": "FREQ=DAILY;COUNT=2"}
    found = cuts(contract(maintenance=[until, count]), SUNDAY_MS, SUNDAY_MS + 20 * DAY_MS)
    assert [start - SUNDAY_MS for start, _ in found.excluded] == [
        HOUR_MS, 5 * HOUR_MS, 25 * HOUR_MS, 29 * HOUR_MS, 49 * HOUR_MS,
    ]  # fmt: skip


def test_overlapping_windows_are_united_and_excluded_wins_over_good() -> None:
    both = contract(
        maintenance=[
            {"start": "2026-11-03T01:00:00Z", "duration": "2h"},
            {"start": "2026-11-03T02:00:00Z", "duration": "2h"},
            {"start": "2026-11-03T03:30:00Z", "duration": "2h", "mode": "good"},
        ]
    )
    found = cuts(both, SUNDAY_MS, SUNDAY_MS + 7 * DAY_MS)
    assert found.excluded == ((at("2026-11-03T01:00:00Z"), at("2026-11-03T04:00:00Z")),)
    assert found.good == ((at("2026-11-03T04:00:00Z"), at("2026-11-03T05:30:00Z")),)
    assert countable_ms(both, SUNDAY_MS, SUNDAY_MS + 7 * DAY_MS) == 7 * DAY_MS - 3 * HOUR_MS


def test_an_instant_is_in_maintenance_until_the_last_of_touching_windows_ends() -> None:
    touching = contract(
        maintenance=[
            {"start": "2026-11-03T01:00:00Z", "duration": "2h", "mode": "good"},
            {"start": "2026-11-03T03:00:00Z", "duration": "1h"},
        ]
    )
    assert in_maintenance(touching, at("2026-11-03T01:00:00Z"))
    assert maintenance_end_ms(touching, at("2026-11-03T01:30:00Z")) == at("2026-11-03T04:00:00Z")
    assert not in_maintenance(touching, at("2026-11-03T04:00:00Z"))
    assert maintenance_end_ms(touching, at("2026-11-03T04:00:00Z")) is None


def test_a_recurrence_begun_long_ago_is_found_where_it_is_now() -> None:
    old = contract(
        maintenance=[{"start": "1980-01-01T00:00:10Z", "duration": "1s", "rrule": "FREQ=HOURLY;INTERVAL=7"}]
    )
    found = cuts(old, SUNDAY_MS, SUNDAY_MS + 3 * DAY_MS).excluded
    first_ms = at("1980-01-01T00:00:10Z")
    assert len(found) in {10, 11}
    assert all((start - first_ms) % (7 * HOUR_MS) == 0 for start, _ in found)


def test_a_day_of_service_is_as_long_as_the_wall_says() -> None:
    always = contract(timezone="Europe/Berlin", service_hours={"days": ["sun"], "hours": "00:00-24:00"})
    spring, autumn = at("2026-03-29"), at("2026-10-25")
    assert countable_ms(always, spring - DAY_MS, spring + 2 * DAY_MS) == 23 * HOUR_MS
    assert countable_ms(always, autumn - DAY_MS, autumn + 2 * DAY_MS) == 25 * HOUR_MS


def test_holidays_have_no_service_and_night_hours_belong_to_the_day_they_begin_on() -> None:
    night = contract(
        service_hours={"days": ["thu", "fri"], "hours": "22:00-06:00", "holidays": ["2026-12-25"]}
    )
    christmas_ms = at("2026-12-24T00:00:00Z")
    found = cuts(night, christmas_ms, christmas_ms + 3 * DAY_MS)
    assert 3 * DAY_MS - total_ms(found.excluded) == 8 * HOUR_MS
    assert found.excluded == (
        (christmas_ms, christmas_ms + 22 * HOUR_MS),
        (christmas_ms + 30 * HOUR_MS, christmas_ms + 3 * DAY_MS),
    )


DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@settings(max_examples=40, deadline=None)
@given(
    zone=st.sampled_from(
        ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
    ),
    day=st.dates(datetime(2026, 1, 1).date(), datetime(2026, 12, 31).date()),  # noqa: DTZ001
    days=st.sets(st.sampled_from(DAYS), min_size=1),
    opens=st.integers(0, 1439),
    closes=st.integers(1, 1440),
    changes=st.sampled_from(
        ["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-04-05", "2026-10-04", None]
    ),
)
def test_an_instant_is_within_service_hours_if_the_clock_on_the_wall_is(
    zone: str, day: Any, days: set[str], opens: int, closes: int, changes: str | None
) -> None:
    def clock(minutes: int) -> str:
        return f"{minutes // 60:02d}:{minutes % 60:02d}"

    served = contract(
        timezone=zone, service_hours={"days": sorted(days), "hours": f"{clock(opens)}-{clock(closes)}"}
    )
    start_ms = at(changes or day.isoformat()) - DAY_MS // 2
    closed = cuts(served, start_ms, start_ms + 2 * DAY_MS).excluded
    for at_ms in range(start_ms, start_ms + 2 * DAY_MS, 5 * MINUTE_MS):
        wall = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        minutes = wall.hour * 60 + wall.minute
        today, yesterday = DAYS[wall.weekday()], DAYS[(wall - timedelta(days=1)).weekday()]
        if opens < closes:
            is_open = today in days and opens <= minutes < closes
        else:
            is_open = (today in days and minutes >= opens) or (yesterday in days and minutes < closes)
        assert any(a <= at_ms < b for a, b in closed) != is_open


@settings(max_examples=40, deadline=None)
@given(
    offsets=st.lists(
        st.tuples(st.integers(0, 20 * DAY_MS), st.integers(0, DAY_MS), st.sampled_from(["exclude", "good"])),
        max_size=6,
    ),
    start=st.integers(0, 20 * DAY_MS),
    length=st.integers(0, 20 * DAY_MS),
)
def test_cuts_are_the_union_of_all_windows_to_the_millisecond(
    offsets: list[tuple[int, int, str]], start: int, length: int
) -> None:
    windows = [
        {
            "start": (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=SUNDAY_MS + begin)).isoformat(),
            "duration": duration,
            "mode": mode,
        }
        for begin, duration, mode in offsets
    ]
    start_ms, end_ms = SUNDAY_MS + start, SUNDAY_MS + start + length
    found = cuts(contract(maintenance=windows), start_ms, end_ms)
    edges = {start_ms, end_ms} | {SUNDAY_MS + b + d * k for b, d, _ in offsets for k in (0, 1)}
    for edge in edges:
        for at_ms in (edge - 1, edge):
            if not start_ms <= at_ms < end_ms:
                continue
            modes = {mode for b, d, mode in offsets if SUNDAY_MS + b <= at_ms < SUNDAY_MS + b + d}
            assert any(a <= at_ms < b for a, b in found.excluded) == ("exclude" in modes)
            assert any(a <= at_ms < b for a, b in found.good) == (modes == {"good"})


@pytest.mark.parametrize(
    "rule", ["FREQ=DAILY;INTERVAL=3", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH", "FREQ=MONTHLY;BYDAY=-1FR"]
)
def test_looking_far_ahead_gives_what_walking_there_gives(rule: str) -> None:
    recurring = contract(maintenance=[{"start": "2020-01-06T01:00:00Z", "duration": "1h", "rrule": rule}])
    walked = cuts(recurring, at("2020-01-01"), at("2027-01-01")).excluded
    asked = cuts(recurring, at("2026-06-01"), at("2026-09-01")).excluded
    assert asked == tuple(span for span in walked if at("2026-06-01") <= span[0] < at("2026-09-01"))
    assert asked
