"""The calendar of a contract: maintenance and service hours as spans that cut accounting time.

Service hours are read off the clock on the wall: an instant is within them if its local time is, whatever a
clock change does. A maintenance window starts at a local time and lasts exactly its duration.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import DAY_MS, HOUR_MS
from slakeeper.sla.maintenance import Maintenance, MaintenanceMode
from slakeeper.sla.period import local_date, local_instant
from slakeeper.sla.service_hours import ServiceHours
from slakeeper.sla.span import Span, clip, subtract, total_ms, union

# Cuts are worked out a chunk at a time and remembered: every metric of a contract asks for the same ones.
_CHUNK_MS = 7 * DAY_MS
_MAX_OCCURRENCES = 100_000

# Wall-clock times are naive throughout this file, as recurrence rules want them.
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_UNTIL_UTC = re.compile(r"UNTIL=(\d{8}T\d{6})Z", re.IGNORECASE)
_STEP = {
    "WEEKLY": timedelta(weeks=1),
    "DAILY": timedelta(days=1),
    "HOURLY": timedelta(hours=1),
    "MINUTELY": timedelta(minutes=1),
    "SECONDLY": timedelta(seconds=1),
}


class Cuts(NamedTuple):
    """Sorted, disjoint spans: ``excluded`` time counts for nothing, ``good`` time (none of it excluded) as good."""

    excluded: tuple[Span, ...]
    good: tuple[Span, ...]


NO_CUTS = Cuts((), ())


def cuts(contract: Sla, start_ms: int, end_ms: int) -> Cuts:
    """What maintenance and service hours cut out of ``[start_ms, end_ms)``; where both say so, excluded wins."""
    if end_ms <= start_ms or not (contract.maintenance or contract.service_hours):
        return NO_CUTS
    excluded: list[Span] = []
    good: list[Span] = []
    for chunk in range(start_ms // _CHUNK_MS, (end_ms - 1) // _CHUNK_MS + 1):
        found = _chunk_cuts(contract.maintenance, contract.service_hours, contract.timezone, chunk)
        excluded += found.excluded
        good += found.good
    return Cuts(tuple(clip(union(excluded), start_ms, end_ms)), tuple(clip(union(good), start_ms, end_ms)))


def countable_ms(contract: Sla, start_ms: int, end_ms: int) -> int:
    """How much of ``[start_ms, end_ms)`` can still be won or lost: what no cut takes, and what counts as good [ms]."""
    return max(0, end_ms - start_ms) - total_ms(cuts(contract, start_ms, end_ms).excluded)


def in_maintenance(contract: Sla, at_ms: int) -> bool:
    """Whether a maintenance window of either mode covers an instant; notifications are held meanwhile."""
    zone = ZoneInfo(contract.timezone)
    return any(_maintenance_spans(window, zone, at_ms) for window in contract.maintenance)


def maintenance_end_ms(contract: Sla, at_ms: int) -> int | None:
    """When the maintenance that covers an instant is over [Unix ms]; None when none covers it.

    Maintenance without an end is looked at a week ahead: whoever waits then asks again.
    """
    zone = ZoneInfo(contract.timezone)
    end_ms = at_ms
    # Windows may overlap or touch, so the end of one is looked at again.
    while end_ms - at_ms < 7 * DAY_MS and (
        spans := [
            span for window in contract.maintenance for span in _maintenance_spans(window, zone, end_ms)
        ]
    ):
        end_ms = max(end for _, end in spans)
    return end_ms if end_ms > at_ms else None


def is_within(hours: ServiceHours, timezone: str, at_ms: int) -> bool:
    """Whether an instant is within weekly hours, by the clock on the wall of a time zone."""
    return bool(_service_spans(hours, ZoneInfo(timezone), at_ms, at_ms + 1))


@lru_cache(maxsize=4096)
def _chunk_cuts(
    maintenance: tuple[Maintenance, ...], service_hours: ServiceHours | None, timezone: str, chunk: int
) -> Cuts:
    zone = ZoneInfo(timezone)
    start_ms, end_ms = chunk * _CHUNK_MS, (chunk + 1) * _CHUNK_MS
    excluded: list[Span] = []
    good: list[Span] = []
    for window in maintenance:
        target = good if window.mode is MaintenanceMode.GOOD else excluded
        target += _maintenance_spans(window, zone, start_ms, end_ms)
    if service_hours is not None:
        open_spans = _service_spans(service_hours, zone, start_ms, end_ms)
        excluded += subtract([(start_ms, end_ms)], open_spans)
    united = union(clip(excluded, start_ms, end_ms))
    return Cuts(tuple(united), tuple(subtract(union(clip(good, start_ms, end_ms)), united)))


# --- maintenance -----------------------------------------------------------------------------------------


def _maintenance_spans(
    window: Maintenance, zone: ZoneInfo, start_ms: int, until_ms: int | None = None
) -> list[Span]:
    """Occurrences of a window that touch ``[start_ms, until_ms)`` or cover ``start_ms``, whole."""
    end_ms = start_ms + 1 if until_ms is None else until_ms
    first = _wall_start(window.start, zone)
    spans: list[Span] = []
    for wall in _occurrences(window.rrule, first, zone, start_ms - window.duration, end_ms):
        begin_ms = local_instant(zone, wall)
        if begin_ms < end_ms and begin_ms + window.duration > start_ms:
            spans.append((begin_ms, begin_ms + window.duration))
    return spans


def _wall_start(start: str | int, zone: ZoneInfo) -> datetime:
    """The naive local time of a window's start: Unix seconds, ISO 8601 with an offset, or local without one."""
    if isinstance(start, int):
        moment = datetime.fromtimestamp(start, UTC)
    else:
        moment = datetime.fromisoformat(start.strip())
        if moment.tzinfo is None:
            return moment
    return moment.astimezone(zone).replace(tzinfo=None)


def _occurrences(
    rule: str | None, first: datetime, zone: ZoneInfo, from_ms: int, to_ms: int
) -> Iterator[datetime]:
    """Naive local starts around ``[from_ms, to_ms)``; a day more at each side covers every offset from UTC."""
    if rule is None:
        yield first
        return
    begin = max(_EPOCH, _EPOCH + timedelta(milliseconds=from_ms - DAY_MS))
    end = _EPOCH + timedelta(milliseconds=to_ms + DAY_MS)
    local_rule = _UNTIL_UTC.sub(lambda match: f"UNTIL={_local_until(match[1], zone)}", rule)
    if "\n" not in local_rule.strip():
        first = _skip_ahead(local_rule.strip(), first, begin)
    for count, wall in enumerate(rrulestr(local_rule, dtstart=first)):
        if wall >= end or count >= _MAX_OCCURRENCES:
            return
        if wall >= begin:
            yield wall


def _local_until(text: str, zone: ZoneInfo) -> str:
    """An UNTIL in UTC as local time, for the recurrence is walked on the wall clock."""
    moment = datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return moment.astimezone(zone).strftime("%Y%m%dT%H%M%S")


def _skip_ahead(rule: str, first: datetime, begin: datetime) -> datetime:
    """A later start close before ``begin`` with the same recurrence: walking there from years ago takes seconds.

    Moving the start by whole intervals keeps the phase; a COUNT must be counted from the true start, and
    months and years are too few to matter.
    """
    parts = dict(part.split("=", 1) for part in rule.upper().removeprefix("RRULE:").split(";") if "=" in part)
    step = _STEP.get(parts.get("FREQ", ""))
    if step is None or "COUNT" in parts or begin <= first:
        return first
    step *= int(parts.get("INTERVAL", "1"))
    return first + (begin - first) // step * step


# --- service hours ---------------------------------------------------------------------------------------


def _service_spans(hours: ServiceHours, zone: ZoneInfo, start_ms: int, end_ms: int) -> list[Span]:
    """When service is promised within ``[start_ms, end_ms)``."""
    opens, closes = (_minutes(text) for text in hours.hours.split("-"))
    if closes <= opens:
        closes += 24 * 60  # over midnight; the hours belong to the day they begin on
    segments = _offset_segments(zone, start_ms, end_ms)
    day = local_date(zone, start_ms) - timedelta(days=2)
    last = local_date(zone, end_ms) + timedelta(days=1)
    spans: list[Span] = []
    while day <= last:
        if _WEEKDAYS[day.weekday()] in hours.days and day not in hours.holidays:
            midnight_ms = (day - _EPOCH.date()).days * DAY_MS
            for a, b, offset_ms in segments:
                wall_ms = midnight_ms - offset_ms
                spans += clip([(wall_ms + opens * 60_000, wall_ms + closes * 60_000)], a, b)
        day += timedelta(days=1)
    return union(spans)


def _minutes(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


def _offset_segments(zone: ZoneInfo, start_ms: int, end_ms: int) -> Sequence[tuple[int, int, int]]:
    """``[start_ms, end_ms)`` in pieces ``(from, to, offset_ms)`` with one offset from UTC each."""
    edges = [start_ms]
    step_ms = 6 * HOUR_MS
    for at_ms in range(start_ms, end_ms, step_ms):
        low, high = at_ms, min(at_ms + step_ms, end_ms)
        if _offset(zone, low) != _offset(zone, high):
            old = _offset(zone, low)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(zone, middle) == old else (low, middle)
            edges.append(high)
    edges.append(end_ms)
    return [(a, b, _offset(zone, a)) for a, b in pairwise(edges) if a < b]


def _offset(zone: ZoneInfo, at_ms: int) -> int:
    moment = _EPOCH.replace(tzinfo=UTC) + timedelta(milliseconds=at_ms)
    offset = moment.astimezone(zone).utcoffset()
    return 0 if offset is None else offset // timedelta(milliseconds=1)
