"""Sums of floats without any rounding, so that no order of additions and removals changes a verdict.

A float is a whole multiple of a power of two. Those of ordinary size are multiples of 2**-128 and are summed as
integers at that scale, which costs little more than adding floats; what does not fit becomes a Fraction, and
Python's arithmetic mixes the two. Windows and tallies inline the ordinary case:
``int(x * SCALE) if TINY <= x <= HUGE else scaled(x)``.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import fsum
from sys import float_info

SHIFT = 128
SCALE = 2.0**SHIFT
TINY = 2.0**-75
"""From here on the last bit of a float is worth at least 2**-128, so multiplying by SCALE gives a whole number ..."""
HUGE = 2.0**800
"""... and up to here it does not overflow."""

ORDINARY_TOTAL = 1 << 1000
"""Ints below are divided at once, and rounded once; beyond, that may overflow."""

# With fewer a pass is not worth it.
_WORTH_FSUM = 8

Scaled = int | Fraction
"""A sum times 2**128."""


def scaled(x: float) -> Scaled:
    """``x * 2**128``, exactly, for any finite float."""
    if TINY <= abs(x) <= HUGE or x == 0.0:
        return int(x * SCALE)
    return whole(Fraction(x) * (1 << SHIFT))


def scaled_sum(xs: Sequence[float]) -> Scaled:
    """The sum of finite floats, times 2**128, exactly.

    ``fsum`` rounds the true sum once; summing again with that taken away gives what it rounded off, until nothing is
    left. That takes two or three passes of C instead of an int for each float.
    """
    if len(xs) < _WORTH_FSUM or max(xs) > HUGE or min(xs) < -HUGE:
        total: Scaled = 0
        for x in xs:
            total += int(x * SCALE) if TINY <= x <= HUGE else scaled(x)
        return total
    total = 0
    rest = list(xs)
    while part := fsum(rest):
        total += scaled(part)
        rest.append(-part)
    return total


def whole(total: Scaled) -> Scaled:
    """The same number, as an int if it is one; ints are what the hot path is fast with."""
    return total.numerator if total.denominator == 1 else total


def quotient(total: Scaled, divisor: int | Fraction) -> float:
    """``total / 2**128 / divisor`` rounded once; the largest float there is where none can hold it.

    It is as good as infinite to every promise, and unlike that it can be priced, drawn and written as JSON.
    """
    if type(total) is int and type(divisor) is int and abs(total) < ORDINARY_TOTAL:
        return total / (divisor << SHIFT)
    exact = Fraction(total) / (divisor << SHIFT if isinstance(divisor, int) else divisor * (1 << SHIFT))
    try:
        return float(exact)
    except OverflowError:
        return float_info.max if exact > 0 else -float_info.max
