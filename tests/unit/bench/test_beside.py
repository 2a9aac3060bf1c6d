"""What took turns is compared: the ratio, how sure it is, and what follows."""

import random

import pytest

from bench.beside import Turn, beside
from bench.table import Beside, Ratio, Table, from_document, row, to_document, to_text


def turns(factor: float, count: int, of_each: int, drift: float = 0.0) -> list[Turn]:
    """Turns of waits around ten; in each turn both sides are slower by some ``drift``, and mine is by ``factor``."""
    dice = random.Random(7)
    found: list[Turn] = []
    for number in range(count):
        base = 10.0 * (1 + drift * number)
        mine, others = ([base * dice.uniform(0.7, 1.3) for _ in range(of_each)] for _ in range(2))
        found.append(([value * factor for value in mine], others))
    return found


@pytest.mark.parametrize(("factor", "holds"), [(1.0, True), (1.3, False), (0.8, True)])
def test_with_enough_of_it_a_ratio_is_told(factor: float, holds: bool) -> None:
    found = beside("normal", turns(factor, 10, 200), at_most=1.1)
    assert found.p50.low <= factor <= found.p50.high
    assert found.p50.low <= found.p50.value <= found.p50.high
    assert found.holds is holds


def test_too_little_of_it_leaves_it_open() -> None:
    assert beside("normal", turns(1.1, 2, 5), at_most=1.1).holds is None


def test_without_a_limit_nothing_is_judged() -> None:
    assert beside("normal", turns(2.0, 10, 50)).holds is None


def test_what_both_sides_share_is_no_difference() -> None:
    # The last turn is six times as slow as the first one, on both sides.
    found = beside("normal", turns(1.0, 10, 200, drift=0.5))
    assert found.p50.low < 1.0 < found.p50.high


def test_a_side_without_any_value_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="nothing to compare with normal"):
        beside("normal", [([1.0], [])])
    assert beside("normal", [([1.0], []), ([2.0], [1.0])]).p50.value == 1.0


def test_a_row_says_what_it_was_compared_with() -> None:
    sure = Beside("normal", 10.0, 20.0, Ratio(1.2, 1.15, 1.25), Ratio(1.0, 0.9, 1.1), at_most=1.1)
    table = Table("outside", "x", (row("waits", "ms", [12.0], beside=sure),))
    assert "p50 x1.20 [1.15-1.25], p95 x1.00 [0.90-1.10] of normal, <= 1.10: NO" in to_text(table)
    assert not table.holds
    assert from_document(to_document(table, {}, quick=False)) == table
