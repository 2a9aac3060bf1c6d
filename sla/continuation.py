"""The ways in which a forecast goes on: 200 of them, drawn once and for all at fixed, evenly spread quantiles.

A Latin hypercube: each step's noise, and each parameter that is in doubt, is spread evenly over the continuations, and
in another order than the others.

Sources: McKay, Beckman and Conover, Technometrics 21 (1979) (Latin hypercubes); Wilson and Hilferty, PNAS 17 (1931)
(quantiles of chi squared).
"""

from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from math import erfc, exp, pi, sqrt
from typing import NamedTuple

HORIZON_INTERVALS = 10

PATHS = 200
"""Continuations that are looked at: the probability has steps of half a percent."""


class Continuation(NamedTuple):
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


def _continuations() -> list[Continuation]:
    """Each column evenly spread, in its own order."""
    quantiles = [_normal_quantile((index + 0.5) / PATHS) for index in range(PATHS)]
    columns = [_shuffled(quantiles, 1_000 + column) for column in range(HORIZON_INTERVALS + 2)]
    return [
        Continuation(tuple(draws), chi, rank, max(draws), max(0.0, *accumulate(draws)))
        for chi, rank, *draws in zip(*columns, strict=True)
    ]


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


CONTINUATIONS = _continuations()


@cache
def ratios(count: int) -> list[float]:
    """For each continuation the root of its quantile of chi squared over its ``count`` degrees of freedom."""
    return [sqrt(_chi_square_ratio(each.chi, count)) for each in CONTINUATIONS]


def _chi_square_ratio(z: float, count: int) -> float:
    """A quantile of chi squared with ``count`` degrees of freedom over ``count``; ``z`` is that of the normal."""
    spread = 2 / (9 * count)
    return float(max(0.05, 1 - spread + z * sqrt(spread)) ** 3)
