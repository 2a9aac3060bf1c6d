"""Burn alerts: pairs of look-backs over which an error budget must not be spent too fast.

The long look-back says that it matters, the short one that it still goes on.
Source: Google SRE workbook, "Alerting on SLOs", table 5-8 (for 30 days: 14.4, 6, 3 and 1).
"""

from fractions import Fraction
from typing import NamedTuple

from slakeeper.sla.duration import DAY_MS, HOUR_MS, MINUTE_MS

# (long look-back, short look-back, share of the period's budget spent in the long one)
_TABLE = (
    (HOUR_MS, 5 * MINUTE_MS, Fraction(2, 100)),
    (6 * HOUR_MS, 30 * MINUTE_MS, Fraction(5, 100)),
    (DAY_MS, 2 * HOUR_MS, Fraction(10, 100)),
    (3 * DAY_MS, 6 * HOUR_MS, Fraction(10, 100)),
)


class BurnWindow(NamedTuple):
    """An alert when the burn rate over both look-backs [ms] is above ``factor``."""

    long_ms: int
    short_ms: int
    factor: Fraction


def burn_windows(period_ms: int) -> tuple[BurnWindow, ...]:
    """The burn alerts that make sense for a period.

    Args:
        period_ms: length of the accounting period [ms], > 0.

    Returns:
        With ``factor = share * period / long``. Those with a factor below 1 are left out: spending slower
        than the budget allows is nothing to be alarmed about. A day has none.
    """
    windows = (BurnWindow(long, short, share * period_ms / long) for long, short, share in _TABLE)
    return tuple(window for window in windows if window.factor >= 1)
