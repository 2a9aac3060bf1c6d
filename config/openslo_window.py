"""Time windows of OpenSLO and accounting periods, each as the other."""

from datetime import datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo

from slakeeper.config.openslo import Calendar, TimeWindow, fixed_ms, write_shorthand
from slakeeper.config.openslo_file import Entry, Library
from slakeeper.config.problem import Place
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import format_instant
from slakeeper.sla.period import local_instant, local_time

_NAMED: Final = {"1d": "day", "1w": "week", "7d": "week", "1M": "month", "1Q": "quarter", "3M": "quarter"}
_WINDOWS: Final = {"day": "1d", "week": "1w", "month": "1M", "quarter": "1Q"}

# Of a unit without a length, the days it is taken for where no calendar period has it.
_DAYS: Final = {"M": 30, "Q": 91, "Y": 365}

# The first of January 1970 is a Thursday: calendar weeks begin on the Monday after.
_FIRST_DAY: Final = "1970-01-01 00:00:00"
_FIRST_MONDAY: Final = "1970-01-05 00:00:00"


def accounting_period(library: Library, entry: Entry, windows: tuple[TimeWindow, ...]) -> dict[str, Any]:
    """The keys of a contract that say what its periods are."""
    if not windows:
        library.note(entry, ("spec", "timeWindow"), "there is none: periods are of 24 hours")
        return {}
    window = windows[0]
    place: Place = ("spec", "timeWindow", 0)
    if window.calendar is None:
        library.note(entry, (*place, "isRolling"), "periods follow each other, they do not roll")
        if window.duration[-1] in _DAYS and window.duration in _NAMED:
            return {"calendar": _NAMED[window.duration]}
        return _span(library, entry, window, place)
    zone = {} if window.calendar.time_zone == "UTC" else {"timezone": window.calendar.time_zone}
    named = _NAMED.get(window.duration)
    if named is not None and _is_aligned(named, window.calendar):
        return {"calendar": named, **zone}
    if named is not None and window.duration[-1] in _DAYS:
        library.note(
            entry, (*place, "calendar", "startTime"), f"a {named} begins at midnight of its first day"
        )
        return {"calendar": named, **zone}
    try:
        start_ms = local_instant(ZoneInfo(window.calendar.time_zone), window.calendar.start)
    except (ValueError, OSError, KeyError):  # the contract's own check says that there is no such zone
        return {"calendar": "day", **zone}
    except OverflowError:
        library.note(entry, (*place, "calendar", "startTime"), "it is at the end of all calendars: left out")
        return {**_span(library, entry, window, place), **zone}
    if zone:
        library.note(entry, place, "periods keep their length when clocks are changed")
    return {**_span(library, entry, window, place), **zone, "effective_date": format_instant(start_ms)}


def _span(library: Library, entry: Entry, window: TimeWindow, place: Place) -> dict[str, Any]:
    if fixed_ms(window.duration) is not None:
        return {"time_period": window.duration}
    days = int(window.duration[:-1]) * _DAYS[window.duration[-1]]
    library.note(entry, (*place, "duration"), f"there is no such period: it is taken for {days}d")
    return {"time_period": f"{days}d"}


def _is_aligned(named: str, calendar: Calendar) -> bool:
    """Whether a window begins where calendar periods do."""
    start = calendar.start
    if start.time() != time():
        return False
    match named:
        case "week":
            return start.weekday() == 0
        case "month":
            return start.day == 1
        case "quarter":
            return start.day == 1 and start.month % 3 == 1
    return True


def time_window(contract: Sla) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """A contract's periods as a time window.

    Returns:
        The window, or None when OpenSLO has none of that length; and what does not map, as key and reason.
    """
    if contract.calendar is not None:
        start = _FIRST_MONDAY if contract.calendar == "week" else _FIRST_DAY
        unmapped = (
            {}
            if contract.effective_date is None
            else {"effective_date": "a calendar window has no first day of its own"}
        )
        calendar = {"startTime": start, "timeZone": contract.timezone}
        return {"duration": _WINDOWS[contract.calendar], "isRolling": False, "calendar": calendar}, unmapped
    duration = write_shorthand(contract.time_period_ms)
    if duration is None:
        return None, {"time_period": "a time window is of whole minutes"}
    if contract.effective_date is None:
        reason = "periods follow each other from an instant that is not known here: the window rolls"
        zone = {} if contract.timezone == "UTC" else {"timezone": "a rolling window has none"}
        return {"duration": duration, "isRolling": True}, {"time_period": reason, **zone}
    local: datetime = local_time(ZoneInfo(contract.timezone), contract.effective_date)
    unmapped = {}
    if local.microsecond or local_instant(ZoneInfo(contract.timezone), local) != contract.effective_date:
        unmapped = {"effective_date": "a window begins at a whole second of local time"}
    calendar = {"startTime": f"{local:%Y-%m-%d %H:%M:%S}", "timeZone": contract.timezone}
    return {"duration": duration, "isRolling": False, "calendar": calendar}, unmapped
