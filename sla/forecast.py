"""The probability that a promise will be broken soon, from how its interval aggregates have moved.

The aggregates are taken for a Brownian motion with drift. The probability that it reaches a barrier at distance
``a`` within time ``T`` (first passage, inverse Gaussian distribution) is

    Phi((mu T - a) / (sigma sqrt T)) + exp(2 mu a / sigma^2) Phi((-a - mu T) / (sigma sqrt T)).

Source: Karatzas and Shreve, "Brownian Motion and Stochastic Calculus", section 3.5.C.
"""

from collections.abc import Sequence
from math import erfc, exp, inf, isfinite, log, pi, sqrt

from slakeeper.sla.contract import Condition

HORIZON_INTERVALS = 10
POINTS = 20
"""How many recent aggregates are fitted at most."""
MIN_POINTS = 5
"""With fewer there is no telling drift from chance."""

Point = tuple[int, float]
"""(start of the interval [ms], its aggregate)."""


def slope_per_hour(points: Sequence[Point]) -> float | None:
    """Least-squares slope of the points [unit per hour]; None with fewer than two instants."""
    if len(points) < 2:
        return None
    first_ms = points[0][0]
    hours = [(at_ms - first_ms) / 3_600_000 for at_ms, _ in points]
    mean_x = sum(hours) / len(points)
    # Taking the first value away keeps the digits of a large level with a small slope.
    level = points[0][1]
    values = [value - level for _, value in points]
    mean_y = sum(values) / len(points)
    spread = sum((x - mean_x) ** 2 for x in hours)
    if spread == 0:
        return None
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(hours, values, strict=True)) / spread
    return slope if isfinite(slope) else None


def breach_probability(
    points: Sequence[Point], condition: Condition, value: float, interval_ms: int
) -> float | None:
    """Probability that the aggregate fails ``condition`` against ``value`` within ten intervals.

    Args:
        points: recent interval aggregates in order of time.
        condition: the promise; ``eq`` and ``ne`` have no side to fail on.
        value: the promised value.
        interval_ms: length of an interval [ms].

    Returns:
        0..1, or None when it cannot be said (fewer than five aggregates, or no side).
    """
    points = points[-POINTS:]
    if len(points) < MIN_POINTS or condition in (Condition.EQ, Condition.NE):
        return None
    # Mirrored so that failing always means rising to the barrier.
    sign = 1.0 if condition in (Condition.LT, Condition.LTE) else -1.0
    distance = sign * (value - points[-1][1])
    if not condition.holds(points[-1][1], value) or distance <= 0:
        return 1.0
    times = [at_ms / interval_ms for at_ms, _ in points]
    elapsed = times[-1] - times[0]
    drift = sign * (points[-1][1] - points[0][1]) / elapsed
    variance = sum(
        (sign * (after[1] - before[1]) - drift * (t1 - t0)) ** 2 / (t1 - t0)
        for before, after, t0, t1 in zip(points, points[1:], times, times[1:], strict=False)
    ) / (len(points) - 2)
    if not (isfinite(drift) and isfinite(variance) and isfinite(distance)):
        return None
    return first_passage(distance, drift, sqrt(variance), HORIZON_INTERVALS)


def first_passage(distance: float, drift: float, deviation: float, horizon: float) -> float:
    """Probability that a Brownian motion rises by ``distance`` within ``horizon``.

    Args:
        distance: to the barrier, > 0.
        drift: mean rise per unit of time.
        deviation: standard deviation per square root of a unit of time, >= 0.
        horizon: units of time, > 0.

    Returns:
        0..1.
    """
    reach = drift * horizon
    spread = deviation * sqrt(horizon)
    if spread == 0 or distance / spread == inf:
        return 1.0 if reach >= distance else 0.0
    ahead = _phi((reach - distance) / spread)
    # exp(...) may overflow where Phi(...) vanishes, so they are multiplied as logarithms.
    exponent = 2 * (drift / deviation) * (distance / deviation) + _log_phi((-distance - reach) / spread)
    return min(1.0, max(0.0, ahead + (exp(exponent) if exponent < 0 else 1.0)))


def _phi(z: float) -> float:
    """Standard normal distribution function."""
    return 0.5 * erfc(-z / sqrt(2))


def _log_phi(z: float) -> float:
    """Its logarithm, by the asymptotic series where it is too small for a float."""
    if z > -30:
        return log(_phi(z))
    square = z * z
    return -square / 2 - 0.5 * log(2 * pi) - log(-z) + log(1 - 1 / square + 3 / (square * square))
