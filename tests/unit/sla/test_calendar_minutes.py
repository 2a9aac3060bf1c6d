"""Holidays, service hours and recurring maintenance against a look at the wall clock at every minute."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import example, given, settings
from hypothesis import strategies as st

from slakeeper.sla.calendar import cuts
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import DAY_MS, MINUTE_MS

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# Where and when clocks change: by an hour, by half of one, twice a year or around Ramadan; and where they never do.
CHANGES = [
    *(("Europe/Berlin", "2026-03-29"), ("Europe/Berlin", "2026-10-25"), ("America/New_York", "2026-03-08")),
    *(("America/New_York", "2026-11-01"), ("Australia/Lord_Howe", "2026-04-05"), ("UTC", "2026-02-28")),
    *(
        ("Australia/Lord_Howe", "2026-10-04"),
        ("Africa/Casablanca", "2026-02-15"),
        ("Asia/Kathmandu", "2026-06-17"),
    ),
    ("Africa/Casablanca", "2026-03-22"),
]
# Clocks change in the small hours, so most times are of those.
MINUTES = st.integers(0, 200) | st.integers(0, 1439)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def contract(**keys: Any) -> Sla:
    return Sla.model_validate({"id": "c", "metrics": [{"name": "m", "value": 1}], **keys})


def around(day: str) -> tuple[int, int]:
    """Two days about a date, from noon before [Unix ms]."""
    start_ms = round(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000) - DAY_MS // 2
    return start_ms, start_ms + 2 * DAY_MS


def wall(at_ms: int, zone: str) -> datetime:
    return (EPOCH + timedelta(milliseconds=at_ms)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


@settings(max_examples=40, deadline=None)
@given(
    where=st.sampled_from(CHANGES),
    days=st.sets(st.sampled_from(DAYS), min_size=4),
    opens=MINUTES,
    closes=st.integers(1, 1440),
    off=st.sets(st.integers(-2, 2), max_size=3),
)
def test_service_hours_with_holidays_are_what_the_wall_clock_says_minute_by_minute(
    where: tuple[str, str], days: set[str], opens: int, closes: int, off: set[int]
) -> None:
    zone, change = where
    holidays = [date.fromisoformat(change) + timedelta(days=each) for each in sorted(off)]
    hours = {"days": sorted(days), "hours": f"{clock(opens)}-{clock(closes)}", "holidays": holidays}
    start_ms, end_ms = around(change)
    closed = cuts(contract(timezone=zone, service_hours=hours), start_ms, end_ms).excluded

    def begins(day: date) -> bool:
        return DAYS[day.weekday()] in days and day not in holidays

    for at_ms in range(start_ms, end_ms, MINUTE_MS):
        now = wall(at_ms, zone)
        minutes, yesterday = now.hour * 60 + now.minute, now.date() - timedelta(days=1)
        if opens < closes:
            is_open = begins(now.date()) and opens <= minutes < closes
        else:
            is_open = (begins(now.date()) and minutes >= opens) or (begins(yesterday) and minutes < closes)
        assert any(a <= at_ms < b for a, b in closed) != is_open, now


@example(where=("Europe/Berlin", "2026-10-25"), days={"SU"}, begins=150, length=30, weeks_ago=1)
@example(where=("Europe/Berlin", "2026-03-29"), days={"SU"}, begins=150, length=30, weeks_ago=1)
@example(where=("Australia/Lord_Howe", "2026-10-04"), days={"SU"}, begins=135, length=5, weeks_ago=1)
@settings(max_examples=40, deadline=None)
@given(
    where=st.sampled_from(CHANGES),
    days=st.sets(st.sampled_from([day[:2].upper() for day in DAYS]), min_size=1),
    begins=MINUTES,
    length=st.integers(1, 1500),
    weeks_ago=st.integers(1, 30),
)
def test_recurring_maintenance_is_what_the_wall_clock_says_minute_by_minute(
    where: tuple[str, str], days: set[str], begins: int, length: int, weeks_ago: int
) -> None:
    """An occurrence starts when the wall first shows its time; a skipped time is moved past the change."""
    zone, change = where
    first = datetime.fromisoformat(change) - timedelta(weeks=weeks_ago)
    window = {
        "start": f"{first.date()}T{clock(begins)}:00",
        "duration": f"{length}m",
        "rrule": f"FREQ=WEEKLY;BYDAY={','.join(sorted(days))}",
    }
    start_ms, end_ms = around(change)
    found = cuts(contract(timezone=zone, maintenance=[window]), start_ms, end_ms).excluded
    minutes = range(start_ms - 2 * DAY_MS, end_ms, MINUTE_MS)
    walls = {at_ms: wall(at_ms, zone) for at_ms in minutes}
    starts = []
    for back in range(-4, 4):
        day = date.fromisoformat(change) + timedelta(days=back)
        if DAYS[day.weekday()][:2].upper() not in days or day < first.date():
            continue
        wanted = datetime(day.year, day.month, day.day) + timedelta(minutes=begins)  # noqa: DTZ001
        shown = [at_ms for at_ms, now in walls.items() if now == wanted]
        if not shown:
            # Skipped: read with the offset before the change.
            earlier = [
                at_ms for at_ms, now in walls.items() if now < wanted and at_ms + 3 * 60 * MINUTE_MS in walls
            ]
            if not earlier:
                continue
            last = max(at_ms for at_ms in earlier if walls[at_ms] < wanted)
            shown = [last + (wanted - walls[last]) // timedelta(minutes=1) * MINUTE_MS]
        starts.append(min(shown))
    for at_ms in range(start_ms, end_ms, MINUTE_MS):
        naive = any(begin <= at_ms < begin + length * MINUTE_MS for begin in starts)
        assert any(a <= at_ms < b for a, b in found) == naive, walls[at_ms]
