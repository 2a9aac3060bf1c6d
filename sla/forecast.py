"""The probability that a promise will be broken soon, from how its interval aggregates have moved.

The aggregates ``x`` are taken for an autoregressive process, ``x' = x + c + (phi - 1) * (x - x_0) + sigma * noise``:

- with ``phi`` = 1 a random walk with drift ``c``, which is what sampling a drifted Brownian motion gives;
- with ``phi`` from 0 to 0.95 noise about a level, which has no drift however far it has strayed.

Twenty aggregates do not tell which it is, nor its parameters, so none is chosen: every ``phi`` keeps the probability
that the aggregates give it (Bayes, conjugate normal-inverse-gamma priors), and with it the uncertainty of ``c`` and
``sigma``. The stated probability is the share of 200 continuations, drawn from all of that, that reach the promised
value within the horizon. They are drawn at fixed, evenly spread quantiles (:mod:`slakeeper.sla.continuation`), not at
random: the same aggregates give the same probability.

There is an aggregate once an interval, so the barrier is looked at once an interval too. The first passage of the
Brownian motion itself is too likely for that; moving its barrier away by 0.5826 sigma corrects it. The tests compare
the two.

Nearly always the promised value is far away, and all that matters is that a breach is not likely. That much follows
from four figures of the aggregates (:func:`is_surely_below`), so a :class:`Forecast` is worked out only as far as it
is asked. Let ``u`` be what each is above any one level, ``U`` the sum of their squares and ``M`` the greatest of the
``count + 1`` aggregates. Then, whatever ``phi``:

- ``squares`` is the least over ``c`` of ``sum((x' - phi * x - c) ** 2) + c ** 2 / ratio``. With the ``c`` that belongs
  to the level, ``(u' - phi * u) ** 2 <= (1 + phi) * (u' ** 2 + phi * u ** 2)`` makes it at most ``(1 + phi) ** 2 * U``.
- About a level, the level that ``c`` stands for is an average of the aggregates, so without noise nothing gets above
  ``M``. A walk gets above ``M`` by at most ``steps`` times its mean drift, ``(x_last - x_0) / (count + 1 / ratio)``.
- Noise adds ``sigma`` times what the continuation climbs by its own draws, which is known beforehand.

Sources: Gelman et al., "Bayesian Data Analysis", 3rd ed., section 3.3 (conjugate priors); Broadie, Glasserman and Kou,
"A continuity correction for discrete barrier options", Mathematical Finance 7 (1997).
"""

from array import array
from collections.abc import Sequence
from functools import cache
from math import ceil, exp, isfinite, log, sqrt
from operator import mul, sub
from typing import NamedTuple

from slakeeper.sla.condition import Condition
from slakeeper.sla.continuation import CONTINUATIONS, HORIZON_INTERVALS, PATHS, ratios

POINTS = 20
"""How many recent aggregates are fitted at most."""
MIN_POINTS = 5
"""With fewer there is no telling drift from chance."""

_OUT_OF_REACH = 300
"""What is farther away than this, divided by the count of steps seen, in largest steps seen, is not reached: 15.8 of
them after 19. Most metrics are farther from the promised value most of the time, and cost nothing more to look at."""

_LEVELS = (0.0, 0.25, 0.5, 0.7, 0.85, 0.95)
"""The ``phi`` of noise about a level that are told apart; together as likely as a walk before anything is seen."""

_DRIFTS = ((0.09, 0.4), (25.0, 0.1))
"""Walks before anything is seen: (variance of the drift in units of sigma squared, probability). Most hardly drift;
some, such as a disk that fills, do little else."""

_STRONGEST_DRIFT = max(ratio for ratio, _ in _DRIFTS)

# Far more than the squares lose by rounding, and than those of tiny numbers lose by being none, in deviations.
_SLACK = 1e-5
_TINY = 1e-150

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


class _Course(NamedTuple):
    """What :func:`first_passage` goes by."""

    path: Sequence[float]
    barrier: float
    steps: int


class Forecast:
    """The probability that an aggregate of the next ten intervals fails its promise, worked out as far as it is asked.

    Args:
        probability: when it is known, 0..1; None: it cannot be said.
    """

    __slots__ = ("_course", "_probability")

    def __init__(self, probability: float | None) -> None:
        self._probability = probability
        self._course: _Course | None = None

    @classmethod
    def of(cls, path: Sequence[float], barrier: float, steps: int) -> "Forecast":
        """One that is still to be worked out; see :func:`first_passage`."""
        self = cls(None)
        self._course = _Course(array("d", path), barrier, steps)
        return self

    @property
    def probability(self) -> float | None:
        """0..1, or None when it cannot be said."""
        if self._course is not None:
            self._know(first_passage(*self._course))
        return self._probability

    def exceeds(self, probability: float) -> bool:
        """Whether a breach is more likely than this, 0..1; without working out how likely it is when it is not."""
        if self._course is None:
            return (self._probability or 0.0) > probability
        path, barrier, steps = self._course
        count = len(path) - 1
        squares = sum(map(mul, path, path)) - sum(path) ** 2 / (count + 1)
        if is_surely_below(probability, barrier - max(path), path[-1], sqrt(squares / count), count):
            return False
        stated = first_passage(path, barrier, steps, floor=probability)
        if stated <= probability:
            return False  # it may be anything up to it
        self._know(stated)
        return True

    def _know(self, probability: float) -> None:
        self._probability = probability
        self._course = None


# What is known does not change: monitors share it.
_UNKNOWN, _IMPOSSIBLE, _CERTAIN = Forecast(None), Forecast(0.0), Forecast(1.0)


def foresee(points: Sequence[Point], condition: Condition, value: float, interval_ms: int) -> Forecast:
    """How likely it is that an aggregate of the next ten intervals fails ``condition`` against ``value``.

    It cannot be said from fewer than five aggregates, nor without a side to fail on.

    Args:
        points: recent interval aggregates in order of time; taken for evenly spaced, as far apart as on average.
        condition: the promise; ``eq`` and ``ne`` have no side to fail on.
        value: the promised value.
        interval_ms: length of an interval [ms].
    """
    points = points[-POINTS:]
    if len(points) < MIN_POINTS or condition in (Condition.EQ, Condition.NE):
        return _UNKNOWN
    # Mirrored so that failing always means rising to the barrier, and from the first aggregate on, so that a large
    # level does not cost digits.
    sign = 1.0 if condition in (Condition.LT, Condition.LTE) else -1.0
    first_ms, first = points[0]
    path = [sign * (each - first) for _, each in points]
    barrier = sign * (value - first)
    if not condition.holds(points[-1][1], value) or path[-1] >= barrier:
        return _CERTAIN
    scale = max(map(abs, path))
    if scale == 0:
        return _IMPOSSIBLE
    if not (isfinite(scale) and isfinite(barrier)):
        return _UNKNOWN
    largest = max(map(abs, map(sub, path[1:], path)))
    if (barrier - path[-1]) * (len(path) - 1) > _OUT_OF_REACH * largest:
        return _IMPOSSIBLE
    spacing = (points[-1][0] - first_ms) / (len(points) - 1) / interval_ms
    steps = min(HORIZON_INTERVALS, max(1, round(HORIZON_INTERVALS / spacing)))
    return Forecast.of([each / scale for each in path], barrier / scale, steps)


def breach_probability(
    points: Sequence[Point], condition: Condition, value: float, interval_ms: int
) -> float | None:
    """The probability of :func:`foresee`: 0..1, or None when it cannot be said."""
    return foresee(points, condition, value, interval_ms).probability


def is_surely_below(probability: float, room: float, rise: float, deviation: float, count: int) -> bool:
    """Whether a breach is less likely than this for certain; see the head of this module.

    Args:
        probability: 0..1.
        room: how far the promised value is from the nearest of the aggregates, on the good side of it if positive.
        rise: how much nearer the last of them is than the first, or any upper bound.
        deviation: root of their mean square about any one level, over ``count``, or any upper bound.
        count: of steps, one less than of aggregates.
    """
    missing = PATHS - ceil(probability * PATHS) + 1
    if missing > PATHS:
        return False
    drift = max(rise, 0.0) / (count + 1 / _STRONGEST_DRIFT)
    climb = (_climbs(count)[missing - 1] + _SLACK) * deviation
    return room > HORIZON_INTERVALS * drift + climb + _TINY


@cache
def _climbs(count: int) -> list[float]:
    """How high each continuation gets by its own draws at most, in deviations of ``count + 1`` aggregates; in order."""
    climbs: list[float] = []
    for each, ratio in zip(CONTINUATIONS, ratios(count), strict=True):
        highest = 0.0
        for phi, precision, _ in _kinds(count):
            drift = each.rank / sqrt(precision)
            x = top = 0.0
            for draw in each.draws:
                x = drift + phi * x + draw
                if x > top:
                    top = x
            highest = max(highest, (1 + phi) * top)
        climbs.append(highest / ratio)
    return sorted(climbs)


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
        floor: what is less likely than this is of no interest, and may be given as 0; 0..1.
    """
    beliefs = _beliefs(path)
    count = len(path) - 1
    last = path[-1]
    hits = index = 0
    so_far = beliefs[0].probability
    phi, mean, spread, doubt = _parameters(beliefs[0], count)
    may_miss = PATHS - ceil(floor * PATHS)
    for number, (each, ratio) in enumerate(zip(CONTINUATIONS, ratios(count), strict=True)):
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
