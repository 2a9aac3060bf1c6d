"""Exact arithmetic that remembers how decimals are written.

A value is a rational, so a third times three is one. Beside it stand the decimal places that decimal arithmetic would
show, so that ``10 * (99.999 - 99.5)`` is ``4.990``, as an invoice says it. Size is bounded: a value that would fill
the memory is refused before it is made.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

MAX_BITS = 4096
"""Largest numerator or denominator of any value [bits]."""

_MAX_DECIMAL_EXPONENT = 400

# Of quotients that no decimal can hold this many digits are given.
_DIGITS = Context(prec=28, rounding=ROUND_HALF_EVEN)
_ALL = Context(prec=4 * MAX_BITS, Emin=-99_999, Emax=99_999)


class InexactError(ValueError):
    """A value is not finite, too large, or the result of a division by zero."""


@dataclass(frozen=True, slots=True)
class Exact:
    """A rational and the decimal places it would be written with."""

    value: Fraction
    places: int = 0

    @property
    def bits(self) -> int:
        """Size of the larger of numerator and denominator."""
        return max(self.value.numerator.bit_length(), self.value.denominator.bit_length())


Operation = Callable[[Exact, Exact], Exact]


def exact(value: Decimal | Fraction | float) -> Exact:
    """Takes a number in; a float counts as its shortest text.

    Raises:
        InexactError: it is not finite, or beyond 1e±400.
    """
    if isinstance(value, Fraction):
        return within(Exact(value))
    decimal = Decimal(repr(float(value))) if isinstance(value, float) else Decimal(value)
    exponent = decimal.as_tuple().exponent
    if not isinstance(exponent, int):
        raise InexactError(f"{decimal} is not a finite number")
    # Looked at before the fraction is made: 1e999999999 would fill the memory.
    if abs(exponent) > _MAX_DECIMAL_EXPONENT:
        raise InexactError(f"{decimal} is out of range")
    return within(Exact(Fraction(decimal), max(0, -exponent)))


def within(number: Exact) -> Exact:
    """The same number.

    Raises:
        InexactError: it is larger than :data:`MAX_BITS`.
    """
    if number.bits > MAX_BITS:
        raise InexactError("a value grows too large")
    return number


def exact_decimal(value: Fraction, places: int = 0) -> Decimal:
    """The decimal of a rational: exact with at least ``places`` places if there is one, else 28 digits."""
    rest = value.denominator
    twos = (rest & -rest).bit_length() - 1
    rest >>= twos
    fives = 0
    while rest % 5 == 0:
        rest //= 5
        fives += 1
    if rest != 1:
        return _DIGITS.divide(Decimal(value.numerator), Decimal(value.denominator))
    shown = max(twos, fives, places)
    return Decimal(value.numerator * 10**shown // value.denominator).scaleb(-shown, _ALL)


def round_half_away(value: Fraction, places: int = 0) -> Exact:
    """Rounded to ``places`` decimal places (before the point when negative), halves away from zero.

    That is how Erlang and merchants round.
    """
    scale = Fraction(10) ** places
    rounded = Fraction(math.floor(abs(value) * scale + Fraction(1, 2))) / scale
    return Exact(rounded if value >= 0 else -rounded, max(0, places))


def power(base: Exact, exponent: int) -> Exact:
    """``base`` to a whole power.

    Raises:
        InexactError: a negative power of zero, or larger than :data:`MAX_BITS`.
    """
    if base.value == 0 and exponent < 0:
        raise InexactError("division by zero")
    # Looked at before it is computed; the true size may be smaller by the exponent.
    if (base.bits - 1) * abs(exponent) > MAX_BITS:
        raise InexactError("a value grows too large")
    return Exact(base.value**exponent, base.places * exponent if exponent > 0 else 0)


def add(left: Exact, right: Exact) -> Exact:
    return Exact(left.value + right.value, max(left.places, right.places))


def subtract(left: Exact, right: Exact) -> Exact:
    return Exact(left.value - right.value, max(left.places, right.places))


def multiply(left: Exact, right: Exact) -> Exact:
    return Exact(left.value * right.value, left.places + right.places)


def divide(left: Exact, right: Exact) -> Exact:
    """The quotient.

    Raises:
        InexactError: ``right`` is zero.
    """
    if right.value == 0:
        raise InexactError("division by zero")
    return Exact(left.value / right.value, max(0, left.places - right.places))
