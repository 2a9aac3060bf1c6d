"""Who is on call: hand-overs to the millisecond over clock changes, exceptions, hours, and who is next."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from slakeeper.sla.on_call import (
    Duty,
    Reason,
    Responder,
    Rotation,
    hand_over_ms,
    next_change,
    on_call,
    shift_index,
)

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
OFFICE = {"days": ["mon", "tue", "wed", "thu", "fri"], "hours": "08:00-18:00"}


def people(*names: str, **hours: Any) -> dict[str, Responder]:
    return {
        name: Responder.model_validate(
            {"addresses": {"email": f"{name}@x"}, **({"hours": hours[name]} if name in hours else {})}
        )
        for name in names
    }


def rotation(*members: str, **changes: Any) -> Rotation:
    return Rotation.model_validate(
        {"members": members, "start": "2026-11-02", "timezone": "Europe/Berlin", **changes}
    )


def at(text: str, zone: str = "Europe/Berlin") -> int:
    """A local time as Unix ms."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


ALL = people("ann", "bob", "carol", "eve")


def who(turns: Rotation, text: str, responders: dict[str, Responder] | None = None) -> str:
    return on_call(turns, responders or ALL, at(text)).person


def test_a_weekly_rotation_hands_over_on_its_day_at_its_time() -> None:
    turns = rotation("ann", "bob", "carol")
    assert who(turns, "2026-11-02T09:00") == "ann"
    assert who(turns, "2026-11-09T08:59:59.999") == "ann"
    assert who(turns, "2026-11-09T09:00") == "bob"
    assert who(turns, "2026-11-23T09:00") == "ann"
    # The start is within the first one's week, and before it turns are counted backwards.
    assert who(rotation("ann", "bob", "carol", start="2026-11-05"), "2026-11-03T10:00") == "ann"
    assert who(turns, "2026-11-02T08:59") == "carol"


def test_a_shift_over_a_clock_change_is_an_hour_longer_or_shorter_and_keeps_its_local_time() -> None:
    turns = rotation("ann", "bob", start="2026-10-19")
    assert hand_over_ms(turns, 1) - hand_over_ms(turns, 0) == 7 * DAY_MS + HOUR_MS
    assert hand_over_ms(turns, 1) == at("2026-10-26T09:00")
    spring = rotation("ann", "bob", start="2027-03-22")
    assert hand_over_ms(spring, 1) - hand_over_ms(spring, 0) == 7 * DAY_MS - HOUR_MS


def test_a_hand_over_that_a_clock_change_skips_comes_when_the_clock_has_jumped() -> None:
    turns = rotation("ann", "bob", rotation="daily", handover={"time": "02:30"}, start="2027-03-27")
    assert hand_over_ms(turns, 1) == at("2027-03-28T03:30")
    assert who(turns, "2027-03-28T03:29") == "ann"
    assert who(turns, "2027-03-28T03:30") == "bob"


def test_a_hand_over_that_comes_twice_counts_the_first_time() -> None:
    turns = rotation("ann", "bob", rotation="daily", handover={"time": "02:30"}, start="2026-10-24")
    first = at("2026-10-25T02:30")
    assert on_call(turns, ALL, first - 1).person == "ann"
    assert on_call(turns, ALL, first).person == "bob"
    assert on_call(turns, ALL, first + HOUR_MS).person == "bob"


def naive_index(turns: Rotation, at_ms: int) -> int:
    """Day after day on the clock on the wall, from the first turn on."""
    zone = ZoneInfo(turns.timezone)
    day = turns.start
    days = 7 if turns.rotation == "weekly" else turns.rotation.days
    names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    while turns.rotation == "weekly" and names[day.weekday()] != turns.handover.day:
        day -= timedelta(days=1)
    hour, minute = map(int, turns.handover.time.split(":"))

    def begins(each: date) -> int:
        wall = datetime(each.year, each.month, each.day, hour, minute, tzinfo=zone)
        return round(wall.astimezone(UTC).timestamp() * 1000)

    index = 0
    while begins(day) > at_ms:
        day -= timedelta(days=days)
        index -= 1
    while begins(day + timedelta(days=days)) <= at_ms:
        day += timedelta(days=days)
        index += 1
    return index


@settings(max_examples=300, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    shift=st.sampled_from(["weekly", "daily"]) | st.integers(1, 40).map(lambda days: {"days": days}),
    weekday=st.sampled_from(["mon", "wed", "sun"]),
    minutes=st.integers(0, 24 * 60 - 1),
    start=st.dates(date(2024, 1, 1), date(2027, 12, 31)),
    at_ms=st.integers(1_704_067_200_000, 1_830_297_600_000),
    nearby=st.integers(-2, 2),
)
def test_the_turn_is_that_of_who_steps_from_hand_over_to_hand_over(
    zone: str, shift: Any, weekday: str, minutes: int, start: date, at_ms: int, nearby: int
) -> None:
    clock = f"{minutes // 60:02d}:{minutes % 60:02d}"
    turns = rotation(
        "ann", "bob", timezone=zone, rotation=shift, start=start, handover={"day": weekday, "time": clock}
    )
    index = naive_index(turns, at_ms)
    assert shift_index(turns, at_ms) == index
    edge_ms = hand_over_ms(turns, index) + nearby
    assert shift_index(turns, edge_ms) == naive_index(turns, edge_ms)


def test_somebody_stands_in_and_the_later_of_two_counts() -> None:
    turns = rotation(
        "ann", "bob",
        overrides=[
            {"from": "2026-11-03T00:00:00+01:00", "until": "2026-11-05T00:00:00+01:00", "who": "carol"},
            {"from": "2026-11-04T00:00:00+01:00", "until": "2026-11-04T12:00:00+01:00", "who": "bob"},
        ],
    )  # fmt: skip
    assert on_call(turns, ALL, at("2026-11-03T00:00")) == Duty("carol", Reason.OVERRIDE, "ann")
    assert who(turns, "2026-11-02T23:59:59.999") == "ann"
    assert who(turns, "2026-11-04T10:00") == "bob"
    assert who(turns, "2026-11-04T12:00") == "carol"
    assert who(turns, "2026-11-05T00:00") == "ann"


@pytest.mark.parametrize(
    "naive",
    [
        "2026-12-24T09:00:00",
        "2026-12-24 09:00",
        "2026-12-24",
        date(2026, 12, 24),
        datetime.fromisoformat("2026-12-24T09:00:00"),
    ],
)
@pytest.mark.parametrize("key", ["from", "since", "until"])
def test_an_exception_that_leaves_its_time_zone_open_is_refused(naive: Any, key: str) -> None:
    override = {"from": 1_700_000_000, "until": 1_900_000_000, "who": "bob", key: naive}
    if key == "since":
        del override["from"]
    with pytest.raises(ValidationError, match="give an offset"):
        rotation("ann", "bob", overrides=[override])


@pytest.mark.parametrize("begin", ["2026-12-24T09:00:00+01:00", "2026-12-24T08:00:00Z", 1_798_099_200])
def test_an_exception_begins_at_the_instant_it_says(begin: Any) -> None:
    override = {"from": begin, "until": datetime(2026, 12, 25, tzinfo=UTC), "who": "bob"}
    turns = rotation("ann", "carol", overrides=[override])
    assert who(turns, "2026-12-24T08:59:59.999") != "bob"
    assert who(turns, "2026-12-24T09:00") == "bob"


def test_outside_hours_the_next_one_is_told_whose_hours_it_is_within() -> None:
    turns = rotation("ann", "bob", "carol")
    some = people("ann", "bob", "carol", ann=OFFICE, bob=OFFICE)
    assert who(turns, "2026-11-03T10:00", some) == "ann"
    assert on_call(turns, some, at("2026-11-03T20:00")) == Duty("carol", Reason.OUT_OF_HOURS, "ann")
    # Nobody keeps such hours: that is no reason to tell nobody.
    none = people("ann", "bob", "carol", ann=OFFICE, bob=OFFICE, carol=OFFICE)
    assert on_call(turns, none, at("2026-11-07T10:00")) == Duty("ann", Reason.TURN)


def test_a_fallback_is_told_rather_than_the_next() -> None:
    turns = rotation("ann", "bob", fallback="eve")
    some = people("ann", "bob", "eve", ann=OFFICE)
    assert who(turns, "2026-11-03T20:00", some) == "eve"


def test_hours_are_read_in_the_persons_own_time_zone() -> None:
    turns = rotation("ann", "bob")
    some = people("ann", "bob", ann=OFFICE)
    some["ann"] = some["ann"].model_copy(update={"timezone": "America/New_York"})
    assert who(turns, "2026-11-03T10:00", some) == "bob"
    assert who(turns, "2026-11-03T14:00", some) == "ann"


@settings(max_examples=150, deadline=None)
@given(
    at_ms=st.integers(1_790_000_000_000, 1_800_000_000_000),
    hours=st.sampled_from([None, OFFICE, {"days": ["sat", "sun"], "hours": "22:00-06:00"}]),
    stands_in=st.integers(-5, 5),
    shift=st.sampled_from(["weekly", "daily"]),
)
def test_until_the_next_change_it_is_the_same_person_and_then_another(
    at_ms: int, hours: Any, stands_in: int, shift: str
) -> None:
    begin_s = at_ms // 1000 + stands_in * 40_000
    turns = rotation(
        "ann", "bob", rotation=shift, overrides=[{"from": begin_s, "until": begin_s + 50_000, "who": "carol"}]
    )  # fmt: skip
    some = people("ann", "bob", "carol", **({"ann": hours} if hours else {}))
    change = next_change(turns, some, at_ms)
    assert change is not None
    before = on_call(turns, some, at_ms).person
    assert on_call(turns, some, change.at_ms).person == change.duty.person != before
    for each_ms in range(at_ms, change.at_ms, 17 * MINUTE_MS):
        assert on_call(turns, some, each_ms).person == before
    assert on_call(turns, some, change.at_ms - 1).person == before


def test_of_one_alone_there_is_no_next() -> None:
    assert next_change(rotation("ann"), ALL, at("2026-11-03T10:00")) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"members": []}, {"rotation": "monthly"}, {"rotation": {"days": 0}}, {"timezone": "Mars"},
        {"handover": {"time": "24:00"}}, {"handover": {"day": "monday"}}, {"start": "soon"}, {"surprise": 1},
        {"overrides": [{"from": 20, "until": 20, "who": "ann"}]},
    ],
)  # fmt: skip
def test_nonsense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Rotation.model_validate({"members": ["ann"], "start": "2026-11-02", **changes})
