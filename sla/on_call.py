"""Who is on call: a rotation of people with hand-overs by the clock on the wall, exceptions, and hours of work.

Everything follows from the rotation and an instant; nothing is stored. Hand-overs keep their local time over every
clock change, so a shift of a week may last 167 or 169 hours.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    field_validator,
)
from pydantic_core import PydanticCustomError

from slakeeper.sla.calendar import is_within
from slakeeper.sla.duration import DAY_MS, HOUR_MS
from slakeeper.sla.field import InstantMs, Name, Value, Whole
from slakeeper.sla.period import local_date, local_instant
from slakeeper.sla.service_hours import ServiceHours, Weekday

PREFIX: Final = "@oncall:"
"""A recipient that begins with this names a rotation."""

MAX_MEMBERS: Final = 100
MAX_SHIFT_DAYS: Final = 366

# How far ahead the next change of person is looked for.
_AHEAD_MS: Final = 400 * DAY_MS
_AHEAD_HOURS_MS: Final = 14 * DAY_MS

_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def check_zone(zone: str) -> str:
    """``zone`` when it is a time zone."""
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise PydanticCustomError(
            "invalid_timezone", "{zone} is not a time zone", {"zone": repr(zone)}
        ) from error
    return zone


Zone = Annotated[str, AfterValidator(check_zone)]


class Responder(Value):
    """A person who can be told.

    ``addresses`` are by the names of channels. Outside ``hours``, in ``timezone`` (the rotation's by default), somebody
    else is told.
    """

    addresses: dict[str, str] = Field(min_length=1)
    hours: ServiceHours | None = None
    timezone: Zone | None = None


class HandOver(Value):
    """When one hands over to the next: at a local time; a weekly rotation on a weekday."""

    day: Weekday = "mon"
    time: str = Field(default="09:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")


def _with_offset(value: object) -> object:
    """Refuses an instant that leaves its zone open: hand-overs are local, other instants without an offset UTC."""
    moment = value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):  # what is no instant at all is refused as such
            moment = datetime.fromisoformat(value.strip())
    if isinstance(moment, date) and getattr(moment, "tzinfo", None) is None:
        raise PydanticCustomError(
            "no_offset",
            "{value} leaves its time zone open: give an offset, as in 2026-12-24T09:00:00+01:00, or Z for UTC",
            {"value": repr(str(value))},
        )
    return value


class Override(Value):
    """Somebody stands in: ``who``, from ``from`` until ``until``, which is not in it (Unix ms)."""

    since: Annotated[InstantMs, BeforeValidator(_with_offset)] = Field(
        validation_alias=AliasChoices("from", "since")
    )
    until: Annotated[InstantMs, BeforeValidator(_with_offset)]
    who: Name

    @field_validator("until")
    @classmethod
    def _until(cls, until_ms: int, info: Any) -> int:
        if until_ms <= info.data.get("since", until_ms - 1):
            raise PydanticCustomError("invalid_override", "'until' must be later than 'from'")
        return until_ms


class EveryDays(Value):
    """A shift of so many days."""

    days: Whole = Field(ge=1, le=MAX_SHIFT_DAYS)


def _shift(value: object) -> object:
    return {"days": 1} if value == "daily" else value


class Rotation(Value):
    """Names in the order in which they take turns.

    The first one's turn is that which ``start`` falls into; before it the turns are counted backwards.
    ``rotation`` is ``weekly``, ``daily`` or ``{days: n}``, of which the first begins on ``start``.
    Outside a person's hours ``fallback`` is told, or without one the next whose hours it is within.
    Of overrides that overlap the later in the list counts.
    """

    members: tuple[Name, ...] = Field(min_length=1, max_length=MAX_MEMBERS)
    rotation: Literal["weekly"] | Annotated[EveryDays, BeforeValidator(_shift)] = "weekly"
    handover: HandOver = Field(default_factory=HandOver)
    timezone: Zone = "UTC"
    start: date
    overrides: tuple[Override, ...] = ()
    fallback: Name | None = None


class Reason(StrEnum):
    """Why it is this person."""

    TURN = "turn"
    OVERRIDE = "override"
    OUT_OF_HOURS = "out_of_hours"


@dataclass(frozen=True, slots=True)
class Duty:
    """Who is on call.

    Attributes:
        instead_of: whose turn it is, when it is somebody else's.
    """

    person: str
    reason: Reason
    instead_of: str | None = None


class Change(NamedTuple):
    """The next change of person: when [Unix ms], and to whom."""

    at_ms: int
    duty: Duty


def on_call(rotation: Rotation, responders: Mapping[str, Responder], at_ms: int) -> Duty:
    """Who is on call at an instant [Unix ms]. There is always somebody: hours that nobody keeps are no reason for
    nobody to be told, then it is the one whose turn it is."""
    turn = shift_index(rotation, at_ms)
    member = rotation.members[turn % len(rotation.members)]
    standing_in = next(
        (each.who for each in reversed(rotation.overrides) if each.since <= at_ms < each.until), None
    )
    wanted, reason = (standing_in, Reason.OVERRIDE) if standing_in is not None else (member, Reason.TURN)
    replaced = member if wanted != member else None
    if _is_at_work(rotation, responders, wanted, at_ms):
        return Duty(wanted, reason, replaced)
    if rotation.fallback is not None:
        others: tuple[str, ...] = (rotation.fallback,)
    else:
        count = len(rotation.members)
        following = (rotation.members[(turn + step) % count] for step in range(1, count))
        others = tuple(each for each in following if _is_at_work(rotation, responders, each, at_ms))
    other = next((each for each in others if each != wanted), None)
    return Duty(wanted, reason, replaced) if other is None else Duty(other, Reason.OUT_OF_HOURS, wanted)


def shift_index(rotation: Rotation, at_ms: int) -> int:
    """Which turn it is: 0 is the first member's first, before that it is negative."""
    zone, days = ZoneInfo(rotation.timezone), _days(rotation)
    index = (local_date(zone, at_ms) - _anchor(rotation)).days // days
    # The date is the calendar's; the turn changes at its hour of it.
    while hand_over_ms(rotation, index) > at_ms:
        index -= 1
    while hand_over_ms(rotation, index + 1) <= at_ms:
        index += 1
    return index


def hand_over_ms(rotation: Rotation, index: int) -> int:
    """When a turn begins [Unix ms]."""
    day = _anchor(rotation) + timedelta(days=_days(rotation) * index)
    hour, minute = rotation.handover.time.split(":")
    return local_instant(ZoneInfo(rotation.timezone), datetime.combine(day, time(int(hour), int(minute))))


def next_change(rotation: Rotation, responders: Mapping[str, Responder], at_ms: int) -> Change | None:
    """When somebody else is on call next, and who; None when that is not within sight."""
    now = on_call(rotation, responders, at_ms).person
    for instant_ms in _edges(rotation, responders, at_ms):
        duty = on_call(rotation, responders, instant_ms)
        if duty.person != now:
            return Change(instant_ms, duty)
    return None


def _edges(rotation: Rotation, responders: Mapping[str, Responder], at_ms: int) -> list[int]:
    """Instants after ``at_ms`` at which the person may change, in order."""
    edges = {each for override in rotation.overrides for each in (override.since, override.until)}
    index, end_ms = shift_index(rotation, at_ms) + 1, at_ms + _AHEAD_MS
    # All members have their turn within as many turns; further there is nothing new.
    for turn in range(index, index + len(rotation.members) + 1):
        edges.add(hand_over_ms(rotation, turn))
    people = {*rotation.members, *(override.who for override in rotation.overrides)}
    for responder in (responders[name] for name in people if name in responders):
        if responder.hours is not None:
            zone = ZoneInfo(responder.timezone or rotation.timezone)
            edges |= set(_hours_edges(responder.hours, zone, at_ms))
    return sorted(each for each in edges if at_ms < each <= end_ms)


def _hours_edges(hours: ServiceHours, zone: ZoneInfo, at_ms: int) -> Iterator[int]:
    today = local_date(zone, at_ms)
    for ahead in range(_AHEAD_HOURS_MS // DAY_MS):
        day = today + timedelta(days=ahead - 1)
        for text in hours.hours.split("-"):
            hour, minute = (int(each) for each in text.split(":"))
            wall = datetime.combine(day, time()) + timedelta(hours=hour, minutes=minute)
            instant_ms = local_instant(zone, wall)
            # By the clock on the wall: where a change repeats an hour, an edge may come twice.
            yield from (instant_ms, instant_ms + HOUR_MS, instant_ms - HOUR_MS)


def _is_at_work(rotation: Rotation, responders: Mapping[str, Responder], name: str, at_ms: int) -> bool:
    responder = responders.get(name)
    if responder is None or responder.hours is None:
        return True
    return is_within(responder.hours, responder.timezone or rotation.timezone, at_ms)


def _days(rotation: Rotation) -> int:
    return 7 if rotation.rotation == "weekly" else rotation.rotation.days


def _anchor(rotation: Rotation) -> date:
    """The day on which the first member's first turn begins."""
    if rotation.rotation != "weekly":
        return rotation.start
    back = (rotation.start.weekday() - _WEEKDAYS.index(rotation.handover.day)) % 7
    return rotation.start - timedelta(days=back)
