"""The look-backs of burn alerts."""

from fractions import Fraction

from slakeeper.sla.burn import BurnWindow, burn_windows
from slakeeper.sla.duration import DAY_MS, HOUR_MS, MINUTE_MS


def test_thirty_days_have_the_four_windows_of_the_workbook() -> None:
    assert burn_windows(30 * DAY_MS) == (
        BurnWindow(HOUR_MS, 5 * MINUTE_MS, Fraction("14.4")),
        BurnWindow(6 * HOUR_MS, 30 * MINUTE_MS, Fraction(6)),
        BurnWindow(DAY_MS, 2 * HOUR_MS, Fraction(3)),
        BurnWindow(3 * DAY_MS, 6 * HOUR_MS, Fraction(1)),
    )


def test_a_week_has_only_those_that_spend_faster_than_allowed() -> None:
    assert burn_windows(7 * DAY_MS) == (
        BurnWindow(HOUR_MS, 5 * MINUTE_MS, Fraction("3.36")),
        BurnWindow(6 * HOUR_MS, 30 * MINUTE_MS, Fraction("1.4")),
    )
    assert burn_windows(DAY_MS) == ()
