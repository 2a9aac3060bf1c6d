"""Flapping: a metric that breaks and keeps its promise by turns, faster than anybody can act on the news.

Icinga 2's measure (its documentation, "Advanced Topics", "Check Flapping", and lib/icinga/checkable-flapping.cpp): of
the last 20 checks each that changed the state counts with a weight that rises linearly with its newness, the i-th
(0 is the oldest) with 0.8 + 0.02 · i; the value is 100 · sum / 20. It flaps once the value is above 30 and until it is
25 or less. The documentation says that the weights end at 1.2; by the formula the newest has 1.18, which counts here.

Where Icinga has a check, a metric has an interval: one in which a violation of it opened or ended is one that changed.
The weights are kept in hundredths, so all of this is exact.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

CHECKS = 20
ENTER_ABOVE_PCT = 30
LEAVE_AT_PCT = 25

_OLDEST_WEIGHT, _WEIGHT_STEP = 80, 2  # hundredths


@dataclass(frozen=True, slots=True)
class Flap:
    """How a metric changes.

    Attributes:
        changes: instants at which a violation opened or ended [Unix ms], one for each interval, the newest last.
        is_flapping: between the two thresholds this depends on which of them was passed.
    """

    changes: tuple[int, ...] = ()
    is_flapping: bool = False


def percent(flap: Flap, interval_ms: int, now_ms: int) -> Fraction:
    """The weighted share of the last 20 intervals, the one of ``now_ms`` included, in which it changed [%]."""
    newest = now_ms // interval_ms
    ages = {newest - at_ms // interval_ms for at_ms in flap.changes}
    weights = (_OLDEST_WEIGHT + _WEIGHT_STEP * (CHECKS - 1 - age) for age in ages if 0 <= age < CHECKS)
    return Fraction(sum(weights), CHECKS)


def change(flap: Flap, at_ms: int, interval_ms: int) -> Flap:
    """A violation opened or ended at ``at_ms``, which is now."""
    return settle(replace(flap, changes=_newest((*flap.changes, at_ms), interval_ms)), interval_ms, at_ms)


def settle(flap: Flap, interval_ms: int, now_ms: int) -> Flap:
    """As it stands at ``now_ms`` when nothing has changed since."""
    limit = LEAVE_AT_PCT if flap.is_flapping else ENTER_ABOVE_PCT
    return replace(flap, is_flapping=percent(flap, interval_ms, now_ms) > limit)


def ends_at_ms(flap: Flap, interval_ms: int) -> int | None:
    """When it will have calmed down if nothing changes any more [Unix ms]; None: it does not flap."""
    if not flap.is_flapping:
        return None
    newest = flap.changes[-1] // interval_ms if flap.changes else 0
    for number in range(newest, newest + CHECKS):
        if percent(flap, interval_ms, number * interval_ms) <= LEAVE_AT_PCT:
            return number * interval_ms
    return (newest + CHECKS) * interval_ms


def _newest(changes: tuple[int, ...], interval_ms: int) -> tuple[int, ...]:
    """One for each interval, and none older than the checks that count."""
    last = {at_ms // interval_ms: at_ms for at_ms in sorted(changes)}
    newest = max(last)
    return tuple(at_ms for number, at_ms in sorted(last.items()) if number > newest - CHECKS)
