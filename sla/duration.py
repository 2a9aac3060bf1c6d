"""Durations and instants: the one place where text becomes integer milliseconds.

A duration is a whole number of milliseconds, or text such as ``"30s"``, ``"5m"``, ``"1.5h"``, ``"7d"``,
``"2w"`` or ``"250ms"``. ``m`` always means minutes; there is no letter for months, because a month is not a
fixed span (use ``calendar: month``). An instant is Unix seconds or ISO 8601, and becomes Unix milliseconds.
Fields of models that are given so are in :mod:`~slakeeper.sla.field`: a command that only shows things does not wait
for what models are made of.
"""

import re
from datetime import UTC, date, datetime
from decimal import Decimal

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS

_UNIT_MS = {"ms": 1, "s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": WEEK_MS}
DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*")

# The last instant datetime can show; anything later is a unit mistake (milliseconds given as seconds).
_LAST_INSTANT_S = 253_402_300_799


class TimeError(ValueError):
    """What was given is no duration or no instant.

    Attributes:
        reason: ``invalid_duration`` or ``invalid_instant``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def parse_duration(value: object) -> int:
    """Reads a duration.

    Args:
        value: integer milliseconds, or text of a number and a unit (ms, s, m, h, d, w).

    Returns:
        Milliseconds, >= 0.

    Raises:
        TimeError: ``invalid_duration``.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value >= 0:
            return value
    elif isinstance(value, str) and (match := DURATION.fullmatch(value)):
        milliseconds = Decimal(match[1]) * _UNIT_MS[match[2]]
        if milliseconds == milliseconds.to_integral_value():
            return int(milliseconds)
    raise TimeError(
        "invalid_duration",
        f"{value!r} is not a duration: give whole milliseconds (30000) or a number with a unit (30s, 5m, 24h, 30d)",
    )


def format_duration(duration_ms: int) -> str:
    """Writes a duration for people, at most two units: ``"1d 2h"``, ``"864ms"``, ``"5m"``.

    Args:
        duration_ms: any integer [ms]; a negative one is shown with a leading minus.
    """
    if duration_ms < 0:
        return "-" + format_duration(-duration_ms)
    parts: list[str] = []
    rest = duration_ms
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _UNIT_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
        if len(parts) == 2:
            break
    return " ".join(parts) or "0s"


def parse_instant(value: object) -> int:
    """Reads an instant.

    Args:
        value: Unix seconds (int, float or Decimal), an aware datetime, or ISO 8601 text; text without an offset is UTC.

    Returns:
        Unix milliseconds.

    Raises:
        TimeError: ``invalid_instant``.
    """
    if (
        isinstance(value, (int, float, Decimal))
        and not isinstance(value, bool)
        and 0 <= value <= _LAST_INSTANT_S
    ):
        return round(Decimal(str(value)) * SECOND_MS)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            pass
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        elapsed = aware - datetime(1970, 1, 1, tzinfo=UTC)
        return elapsed.days * DAY_MS + elapsed.seconds * SECOND_MS + elapsed.microseconds // 1000
    raise TimeError(
        "invalid_instant",
        f"{value!r} is not an instant: give Unix seconds or ISO 8601 (2026-11-01T00:00:00Z)",
    )


def format_instant(at_ms: int) -> str:
    """Writes Unix milliseconds as ISO 8601 in UTC, to the millisecond."""
    seconds, milliseconds = divmod(at_ms, SECOND_MS)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"
