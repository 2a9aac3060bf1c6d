"""Numbers, times and promises in the words people read."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from slakeeper.sla.condition import Condition
from slakeeper.sla.duration import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

TREND_WORDS = (
    "Violations in the trend are those that began in the period. The list of this period also has those that began "
    "before and lasted into it."
)

_SIGN = {
    Condition.GT: ">",
    Condition.GTE: ">=",
    Condition.LT: "<",
    Condition.LTE: "<=",
    Condition.EQ: "=",
    Condition.NE: "other than",
}
_UNITS = (("d", DAY_MS), ("h", HOUR_MS), ("m", MINUTE_MS), ("s", SECOND_MS), ("ms", 1))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def local_time(at_ms: int, zone: str) -> str:
    """Unix ms as ``2026-11-01 10:00:00 CET`` in the contract's time zone; milliseconds are shown when there are any."""
    moment = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(ZoneInfo(zone))
    fraction = f".{at_ms % 1000:03d}" if at_ms % 1000 else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction} {moment.tzname()}"


def exact_duration(duration_ms: int) -> str:
    """A duration [ms] to the millisecond, in as many units as it takes: ``23h 59m 30s``."""
    if duration_ms < 0:
        return "-" + exact_duration(-duration_ms)
    parts = []
    rest_ms = duration_ms
    for unit, unit_ms in _UNITS:
        count, rest_ms = divmod(rest_ms, unit_ms)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"


def number(value: float | Decimal) -> str:
    """A measured value, to ten digits and without an exponent unless it is far from one."""
    decimal = Decimal(repr(value)) if isinstance(value, (float, int)) else value
    if decimal.is_finite() and (decimal == 0 or -7 <= decimal.adjusted() <= 15):
        digits = max(0, 9 - decimal.adjusted()) if decimal else 0
        text = f"{decimal:f}" if -decimal.as_tuple().exponent <= digits else f"{decimal:.{digits}f}"  # type: ignore[operator]
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{decimal:.9e}"


def with_unit(value: float | Decimal, unit: str) -> str:
    """A value with its unit; percentages get their sign."""
    sign = "%" if unit in ("percent", "percentage", "%") else unit
    return f"{number(value)} {sign}".rstrip()


def promise(condition: Condition, threshold: Decimal, unit: str) -> str:
    """``> 99.999 %``: what was promised."""
    return f"{_SIGN[condition]} {with_unit(threshold, unit)}"


def percent(value: Fraction | None, places: int = 4) -> str:
    """A percentage (0..100) rounded down, so that it never reaches a promise it misses; ``unknown`` for None."""
    if value is None:
        return "unknown"
    scaled = value * 10**places
    whole = scaled.numerator // scaled.denominator
    return f"{Decimal(whole).scaleb(-places):f} %"
