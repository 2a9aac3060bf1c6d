"""Sums of floats without any rounding, so that no order of additions and removals changes a verdict.

A float is a whole multiple of a power of two. Those of ordinary size are multiples of 2**-128 and are summed as
integers at that scale, which costs little more than adding floats; what does not fit becomes a Fraction, and
Python's arithmetic mixes the two. Windows and tallies inline the ordinary case:
``int(x * SCALE) if TINY <= x <= HUGE else scaled(x)``.
"""

from fractions import Fraction
from math import inf

SHIFT = 128
SCALE = 2.0**SHIFT
TINY = 2.0**-75
"""From here on the last bit of a float is worth at least 2**-128, so multiplying by SCALE gives a whole number ..."""
HUGE = 2.0**800
"""... and up to here it does not overflow."""

Scaled = int | Fraction
"""A sum times 2**128."""


def scaled(x: float) -> Scaled:
    """``x * 2**128``, exactly, for any finite float."""
    if TINY <= abs(x) <= HUGE or x == 0.0:
        return int(x * SCALE)
    return whole(Fraction(x) * (1 << SHIFT))


def whole(total: Scaled) -> Scaled:
    """The same number, as an int if it is one; ints are what the hot path is fast with."""
    return total.numerator if total.denominator == 1 else total


def quotient(total: Scaled, divisor: int | Fraction) -> float:
    """``total / 2**128 / divisor`` rounded once; infinite where a float cannot hold it."""
    exact = Fraction(total) / (divisor << SHIFT if isinstance(divisor, int) else divisor * (1 << SHIFT))
    try:
        return float(exact)
    except OverflowError:
        return inf if exact > 0 else -inf
