"""Burn: how fast a contract spends its error budget, when that is an alarm, and when the budget will be gone.

The burn rate over a look-back is the share of bad time in it, a weighted mean over the metrics as in
:mod:`slakeeper.sla.compliance`, divided by the share that the service level allows:

    burn = (sum(weight_m * bad_m / known_m) / sum(weight_m)) / (1 - service_level / 100)

over the metrics with known time in it. A look-back ends where the accounts end: with the last window that was judged.

A burn alert pairs two look-backs: the long one says that it matters, the short one that it still goes on.
Source: Google SRE workbook, "Alerting on SLOs", table 5-8 (for 30 days: 14.4, 6, 3 and 1).
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cache
from math import floor
from typing import NamedTuple

from slakeeper.sla import calendar
from slakeeper.sla.compliance import ContractError, burn_rate
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import DAY_MS, HOUR_MS, MINUTE_MS
from slakeeper.sla.policy import Severity
from slakeeper.sla.span import subtract, union
from slakeeper.sla.spending import Spending

# (long look-back, short look-back, share of the period's budget spent in the long one, severity)
_TABLE = (
    (HOUR_MS, 5 * MINUTE_MS, Fraction(2, 100), Severity.WARNING),
    (6 * HOUR_MS, 30 * MINUTE_MS, Fraction(5, 100), Severity.WARNING),
    (DAY_MS, 2 * HOUR_MS, Fraction(10, 100), Severity.INFO),
    (3 * DAY_MS, 6 * HOUR_MS, Fraction(10, 100), Severity.INFO),
)

LOOK_BACKS_A_PERIOD = 24
"""A projection looks back a 24th of the period: an hour of a day, seven hours of a week, thirty of 30 days."""


class BurnWindow(NamedTuple):
    """An alert when the burn rate over both look-backs [ms] is above ``factor``.

    ``severity``: what the workbook wakes people for is a warning, what it opens a ticket for is an info.
    """

    long_ms: int
    short_ms: int
    factor: Fraction
    severity: Severity


def burn_windows(period_ms: int) -> tuple[BurnWindow, ...]:
    """The burn alerts that make sense for a period.

    Args:
        period_ms: length of the accounting period [ms], > 0.

    Returns:
        With ``factor = share * period / long``. Those with a factor below 1 are left out: spending slower
        than the budget allows is nothing to be alarmed about. A day has none.
    """
    windows = (
        BurnWindow(long, short, share * period_ms / long, severity) for long, short, share, severity in _TABLE
    )
    return tuple(window for window in windows if window.factor >= 1)


def look_back_ms(period_ms: int) -> int:
    """Over how long a projection looks back [ms]."""
    return period_ms // LOOK_BACKS_A_PERIOD


@cache
def kept_ms(period_ms: int) -> int:
    """How far back :class:`~slakeeper.sla.spending.Spending` has to reach for a period [ms]."""
    return max(look_back_ms(period_ms), *(window.long_ms for window in burn_windows(period_ms)), 0)


class Burn(NamedTuple):
    """What a contract's metrics spent lately, and the length of its period [ms]."""

    contract: Sla
    spendings: Mapping[str, Spending]
    period_ms: int

    def bad_share(self, look_back: int) -> Fraction | None:
        """Share of bad time in the last ``look_back`` [ms], a weighted mean; None when nothing of it is known."""
        parts = [
            (self.spendings[metric.name], metric.weight)
            for metric in self.contract.metrics
            if metric.name in self.spendings
        ]
        end_ms = max((spending.end_ms for spending, _ in parts), default=0)
        # Most metrics of a contract weigh the same and are known as long: those are added as integers.
        sums: dict[tuple[Decimal, int], list[int]] = {}
        for spending, weight in parts:
            bad_ms, known_ms = spending.within(end_ms - look_back, end_ms)
            if known_ms:
                sums.setdefault((weight, known_ms), []).append(bad_ms)
        total = weights = Fraction(0)
        for (weight, known_ms), bad in sums.items():
            total += Fraction(weight) * Fraction(sum(bad), known_ms)
            weights += Fraction(weight) * len(bad)
        return total / weights if weights else None

    def rate(self, look_back: int) -> Fraction | None:
        """The burn rate over the last ``look_back`` [ms]; None when nothing of it is known, or without a budget."""
        share = self.bad_share(look_back)
        if share is None:
            return None
        try:
            return burn_rate(share, 1, self.contract.service_level)
        except ContractError:
            return None

    def alerts(self) -> tuple[BurnWindow, ...]:
        """The burn alerts that hold now: the rate is above the factor over both look-backs."""

        def is_above(window: BurnWindow, look_back: int) -> bool:
            rate = self.rate(look_back)
            return rate is not None and rate > window.factor

        return tuple(
            window
            for window in burn_windows(self.period_ms)
            if is_above(window, window.long_ms) and is_above(window, window.short_ms)
        )

    def budget_ends_at_ms(self, budget_left_ms: Fraction, now_ms: int, period_end_ms: int) -> int | None:
        """When the error budget will be gone if the promise is broken as often as in the last 24th of the period.

        Args:
            budget_left_ms: what is left of it [ms].
            now_ms: the present [Unix ms].
            period_end_ms: where the period ends [Unix ms].

        Returns:
            The first whole millisecond [Unix ms] at which ``budget_left_ms`` has been spent at that rate, counting
            only time that no maintenance or service hours take; None when it lasts to the period's end, has been
            spent already, or nothing is known of the look-back.
        """
        share = self.bad_share(look_back_ms(self.period_ms))
        if not share or budget_left_ms <= 0:
            return None
        needed_ms = -floor(-budget_left_ms / share)
        cuts = calendar.cuts(self.contract, now_ms, period_end_ms)
        for start_ms, end_ms in subtract([(now_ms, period_end_ms)], union([*cuts.excluded, *cuts.good])):
            if needed_ms <= end_ms - start_ms:
                ends_at_ms = start_ms + needed_ms
                return ends_at_ms if ends_at_ms < period_end_ms else None
            needed_ms -= end_ms - start_ms
        return None


def worst(windows: Iterable[BurnWindow]) -> Severity:
    """The highest severity among alerts; info without any."""
    return max((window.severity for window in windows), key=lambda each: each.rank, default=Severity.INFO)
