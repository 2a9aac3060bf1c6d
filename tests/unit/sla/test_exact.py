"""Sums of floats without rounding."""

from fractions import Fraction
from sys import float_info

from hypothesis import given
from hypothesis import strategies as st

from slakeeper.sla.exact import SHIFT, quotient, scaled, whole

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite)
def test_scaling_any_float_is_exact(x: float) -> None:
    assert Fraction(scaled(x)) == Fraction(x) * 2**SHIFT


@given(st.lists(finite), st.randoms())
def test_the_order_of_a_sum_does_not_matter(xs: list[float], random: object) -> None:
    there = sum((scaled(x) for x in xs), start=Fraction(0))
    back = sum((scaled(x) for x in reversed(xs)), start=Fraction(0))
    assert there == back
    assert there - sum((scaled(x) for x in xs[1:]), start=Fraction(0)) == (scaled(xs[0]) if xs else 0)


def test_a_mean_is_rounded_once() -> None:
    assert quotient(scaled(99.9) * 3, 3) == 99.9
    assert quotient(whole(scaled(0.1) + Fraction(scaled(0.2))), 1) == 0.1 + 0.2


def test_what_no_float_can_hold_is_the_largest_float() -> None:
    assert quotient(scaled(1.7e308) * 10, 1) == float_info.max
    assert quotient(scaled(-1.7e308) * 10, 1) == -float_info.max
