"""The probability that a promise will be broken soon, from how its interval aggregates have moved.

The aggregates ``x`` are taken for an autoregressive process, ``x' = x + c + (phi - 1) * (x - x_0) + sigma * noise``:

- with ``phi`` = 1 a random walk with drift ``c``, which is what sampling a drifted Brownian motion gives;
- with ``phi`` from 0 to 0.95 noise about a level, which has no drift however far it has strayed.

Twenty aggregates do not tell which it is, nor its parameters, so none is chosen: every ``phi`` keeps the probability
that the aggregates give it (Bayes, conjugate normal-inverse-gamma priors), and with it the uncertainty of ``c`` and
``sigma``. The stated probability is the share of 200 continuations, drawn from all of that, that reach the promised
value within the horizon. They are drawn at fixed, evenly spread quantiles (a Latin hypercube), not at random: the same
aggregates give the same probability.

There is an aggregate once an interval, so the barrier is looked at once an interval too. The first passage of the
Brownian motion itself is too likely for that; moving its barrier away by 0.5826 sigma corrects it. The tests compare
the two.

Sources: Gelman et al., "Bayesian Data Analysis", 3rd ed., section 3.3 (conjugate priors); Broadie, Glasserman and Kou,
"A continuity correction for discrete barrier options", Mathematical Finance 7 (1997); McKay, Beckman and Conover,
Technometrics 21 (1979) (Latin hypercubes); Wilson and Hilferty, PNAS 17 (1931) (quantiles of chi squared).
"""

from collections.abc import Sequence
from functools import cache
from itertools import accumulate, pairwise
from math import ceil, erfc, exp, inf, isfinite, log, pi, sqrt
from operator import mul
from typing import NamedTuple

from slakeeper.sla.contract import Condition

HORIZON_INTERVALS = 10
POINTS = 20
"""How many recent aggregates are fitted at most."""
MIN_POINTS = 5
"""With fewer there is no telling drift from chance."""

_OUT_OF_REACH = 300
"""What is farther away than this, divided by the count of steps seen, in largest steps seen, is not reached: 15.8 of
them after 19. Most metrics are farther from the promised value most of the time, and cost nothing more to look at."""

PATHS = 200
"""Continuations that are looked at: the probability has steps of half a percent."""

_LEVELS = (0.0, 0.25, 0.5, 0.7, 0.85, 0.95)
"""The ``phi`` of noise about a level that are told apart; together as likely as a walk before anything is seen."""

_DRIFTS = ((0.09, 0.4), (25.0, 0.1))
"""Walks before anything is seen: (variance of the drift in units of sigma squared, probability). Most hardly drift;
some, such as a disk that fills, do little else."""

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
    points: Sequence[Point], condition: Condition, value: float, interval_ms: int, floor: float = 0.0
) -> float | None:
    """Probability that an aggregate of the next ten intervals fails ``condition`` against ``value``.

    Args:
        points: recent interval aggregates in order of time; taken for evenly spaced, as far apart as on average.
        condition: the promise; ``eq`` and ``ne`` have no side to fail on.
        value: the promised value.
        interval_ms: length of an interval [ms].
        floor: what is less likely than this is of no interest, and may be given as 0; 0..1.

    Returns:
        0..1, or None when it cannot be said (fewer than five aggregates, or no side).
    """
    points = points[-POINTS:]
    if len(points) < MIN_POINTS or condition in (Condition.EQ, Condition.NE):
        return None
    # Mirrored so that failing always means rising to the barrier, and from the first aggregate on, so that a large
    # level does not cost digits.
    sign = 1.0 if condition in (Condition.LT, Condition.LTE) else -1.0
    first_ms, first = points[0]
    path = [sign * (each - first) for _, each in points]
    barrier = sign * (value - first)
    if not condition.holds(points[-1][1], value) or path[-1] >= barrier:
        return 1.0
    scale = max(abs(each) for each in path)
    if scale == 0:
        return 0.0
    if not (isfinite(scale) and isfinite(barrier)):
        return None
    largest = max(abs(after - before) for before, after in pairwise(path))
    if (barrier - path[-1]) * (len(path) - 1) > _OUT_OF_REACH * largest:
        return 0.0
    spacing = (points[-1][0] - first_ms) / (len(points) - 1) / interval_ms
    steps = min(HORIZON_INTERVALS, max(1, round(HORIZON_INTERVALS / spacing)))
    return first_passage([each / scale for each in path], barrier / scale, steps, floor)


class _Belief(NamedTuple):
    """One kind of process: its ``phi``, the mean of ``c``, and ``precision`` and ``squares`` of the rest."""

    phi: float
    mean: float
    precision: float
    squares: float
    probability: float


def first_passage(path: Sequence[float], barrier: float, steps: int, floor: float = 0.0) -> float:
    """Probability that a path, continued as it went so far, is at or above ``barrier`` at one of the next ``steps``.

    Args:
        path: from 0 on, evenly spaced, not all 0.
        barrier: above its last value.
        steps: 1 to ``HORIZON_INTERVALS``.
        floor: as in :func:`breach_probability`.
    """
    beliefs = _beliefs(path)
    count = len(path) - 1
    last = path[-1]
    hits = index = 0
    so_far = beliefs[0].probability
    phi, mean, spread, doubt = _parameters(beliefs[0], count)
    may_miss = PATHS - ceil(floor * PATHS)
    for number, (each, ratio) in enumerate(zip(_CONTINUATIONS, _ratios(count), strict=True)):
        if number - hits > may_miss:
            return 0.0
        while index + 1 < len(beliefs) and so_far < (number + 0.5) / PATHS:
            index += 1
            so_far += beliefs[index].probability
            phi, mean, spread, doubt = _parameters(beliefs[index], count)
        sigma = spread / ratio
        drift = mean + sigma * each.rank * doubt
        # Most stay below for certain: a walk rises by its drift and the noise's highest climb, and about a level
        # nothing gets above where the strongest noise, for ever, would hold it.
        if phi < 1:
            if drift + sigma * each.strongest < barrier * (1 - phi):
                continue
        elif last + max(drift, 0.0) * steps + sigma * each.climb < barrier:
            continue
        x = last
        for draw in each.draws[:steps]:
            x = drift + phi * x + sigma * draw
            if x >= barrier:
                hits += 1
                break
    return hits / PATHS


def _parameters(belief: _Belief, count: int) -> tuple[float, float, float, float]:
    """``phi``, the mean of ``c``, the root mean square of the rest, and by how many sigma ``c`` is in doubt."""
    return belief.phi, belief.mean, sqrt(belief.squares / count), 1 / sqrt(belief.precision)


def _beliefs(path: Sequence[float]) -> list[_Belief]:
    """Every kind of process with the probability that the path gives it.

    ``z = x' - phi * x`` is normal about ``c`` with variance ``sigma ** 2``; ``c`` is normal about 0 with ``ratio``
    times that; every magnitude of ``sigma`` is as likely. About a level the first value is one of the process too, so
    the level is normal about it with the variance of the process, ``sigma ** 2 / (1 - phi ** 2)``: hence the ratio.
    """
    before, after = path[:-1], path[1:]
    count = len(after)
    sum_before, sum_after = sum(before), sum(after)
    before_2, after_2 = sum([x * x for x in before]), sum([x * x for x in after])
    product = sum(map(mul, before, after))
    least = 1e-18 * after_2  # rounding may leave nothing, or less, of a path without any chance in it
    seen: list[tuple[float, float]] = []
    weights: list[float] = []
    for phi, precision, prior in _kinds(count):
        total = sum_after - phi * sum_before
        squares = after_2 - 2 * phi * product + phi * phi * before_2 - total * total / precision
        squares = max(squares, least)
        seen.append((total / precision, squares))
        weights.append(prior - count / 2 * log(squares))
    top = max(weights)
    shares = [exp(weight - top) for weight in weights]
    whole = sum(shares)
    return [
        _Belief(phi, mean, precision, squares, share / whole)
        for (phi, precision, _), (mean, squares), share in zip(_kinds(count), seen, shares, strict=True)
    ]


@cache
def _kinds(count: int) -> list[tuple[float, float, float]]:
    """Of each kind of process ``phi``, the precision of ``c`` after ``count`` steps, and the log of what it weighs."""
    kinds = [(phi, (1 - phi) / (1 + phi), 0.5 / len(_LEVELS)) for phi in _LEVELS]
    kinds += [(1.0, ratio, prior) for ratio, prior in _DRIFTS]
    return [
        (phi, count + 1 / ratio, log(prior) - 0.5 * log(ratio * (count + 1 / ratio)))
        for phi, ratio, prior in kinds
    ]


@cache
def _ratios(count: int) -> list[float]:
    """For each continuation the root of its quantile of chi squared over its ``count`` degrees of freedom."""
    return [sqrt(_chi_square_ratio(each.chi, count)) for each in _CONTINUATIONS]


def _chi_square_ratio(z: float, count: int) -> float:
    """A quantile of chi squared with ``count`` degrees of freedom over ``count``; ``z`` is that of the normal."""
    spread = 2 / (9 * count)
    return float(max(0.05, 1 - spread + z * sqrt(spread)) ** 3)


# --- the continuations -----------------------------------------------------------------------------------


def _normal_quantile(probability: float) -> float:
    """By Newton's method on the distribution function."""
    z = 0.0
    for _ in range(50):
        density = exp(-z * z / 2) / sqrt(2 * pi)
        step = (0.5 * erfc(-z / sqrt(2)) - probability) / density
        z -= max(-1.0, min(1.0, step))
    return z


def _shuffled(items: Sequence[float], seed: int) -> list[float]:
    """A fixed order, by the minimal standard generator of Park and Miller."""
    order = list(items)
    for index in range(len(order) - 1, 0, -1):
        seed = seed * 48_271 % 0x7FFF_FFFF
        other = seed % (index + 1)
        order[index], order[other] = order[other], order[index]
    return order


class _Continuation(NamedTuple):
    """One way to go on.

    Attributes:
        draws: the noise of each step.
        chi: quantile for sigma, as that of the normal.
        rank: quantile for c.
        strongest: the largest of the draws.
        climb: the largest sum of the first of them, 0 for none.
    """

    draws: tuple[float, ...]
    chi: float
    rank: float
    strongest: float
    climb: float


def _continuations() -> list[_Continuation]:
    """Each column evenly spread, in its own order."""
    quantiles = [_normal_quantile((index + 0.5) / PATHS) for index in range(PATHS)]
    columns = [_shuffled(quantiles, 1_000 + column) for column in range(HORIZON_INTERVALS + 2)]
    return [
        _Continuation(tuple(draws), chi, rank, max(draws), max(0.0, *accumulate(draws)))
        for chi, rank, *draws in zip(*columns, strict=True)
    ]


_CONTINUATIONS = _continuations()


def _excess(draws: Sequence[float], chi: float, rank: float) -> float:
    count = POINTS - 1
    sigma = 1 / sqrt(_chi_square_ratio(chi, count))
    step = max(rank, 0.0) / sqrt(count)
    return HORIZON_INTERVALS / count + sigma * sum(max(0.0, step + draw) for draw in draws)


_EXCESSES = sorted(_excess(each.draws, each.chi, each.rank) for each in _CONTINUATIONS)


def excess_below(probability: float) -> float:
    """How far the promised value has to be so that :func:`breach_probability` is below a probability for certain.

    Args:
        probability: 0..1.

    Returns:
        In units of the range of the last 20 aggregates, from the nearest of them; see :mod:`slakeeper.sla.calm`.
    """
    missing = int(PATHS * (1 - probability)) + 1
    return _EXCESSES[missing] if missing < PATHS else inf
