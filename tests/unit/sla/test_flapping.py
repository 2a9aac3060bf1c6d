"""Flapping against Icinga 2's own way of counting: a ring of the last 20 checks, one for each interval."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.sla.flapping import Flap, change, ends_at_ms, percent, settle

INTERVAL_MS = 60_000
NOW_MS = 1_800_000_000_000


class Icinga:
    """UpdateFlappingStatus, called once at the end of each interval, in exact numbers."""

    def __init__(self) -> None:
        self.ring = [False] * 20
        self.is_flapping = False

    def check(self, changed: bool) -> Fraction:
        self.ring = [*self.ring[1:], changed]
        weights = (Fraction(8, 10) + Fraction(2, 100) * i for i in range(20))
        value = 100 * sum((w for w, each in zip(weights, self.ring, strict=True) if each), Fraction(0)) / 20
        self.is_flapping = value > (25 if self.is_flapping else 30)
        return value


@given(st.lists(st.booleans(), max_size=80))
def test_it_says_what_icinga_says_after_every_interval(changes: list[bool]) -> None:
    icinga, flap = Icinga(), Flap()
    for number, changed in enumerate(changes):
        at_ms = NOW_MS + number * INTERVAL_MS + number % 7 * 1000
        flap = change(flap, at_ms, INTERVAL_MS) if changed else settle(flap, INTERVAL_MS, at_ms)
        assert icinga.check(changed) == percent(flap, INTERVAL_MS, at_ms)
        assert flap.is_flapping is icinga.is_flapping
        assert len(flap.changes) <= 20


@given(st.lists(st.booleans(), max_size=40))
def test_it_calms_down_when_it_was_foreseen_and_not_before(changes: list[bool]) -> None:
    flap = Flap()
    for number, changed in enumerate(changes):
        if changed:
            flap = change(flap, NOW_MS + number * INTERVAL_MS, INTERVAL_MS)
    end_ms = ends_at_ms(flap, INTERVAL_MS)
    if end_ms is None:
        assert not flap.is_flapping
    else:
        assert settle(flap, INTERVAL_MS, end_ms - 1).is_flapping
        assert not settle(flap, INTERVAL_MS, end_ms).is_flapping


def test_several_changes_in_one_interval_are_one() -> None:
    flap = Flap()
    for second in range(50):
        flap = change(flap, NOW_MS + second * 1000, INTERVAL_MS)
    assert not flap.is_flapping
    assert percent(flap, INTERVAL_MS, NOW_MS) == Fraction(59, 10)


@pytest.mark.parametrize(("changes", "flapping"), [(5, False), (6, True)])
def test_six_changes_in_a_row_are_flapping(changes: int, flapping: bool) -> None:
    flap = Flap()
    for number in range(changes):
        flap = change(flap, NOW_MS + number * INTERVAL_MS, INTERVAL_MS)
    assert flap.is_flapping is flapping


def test_another_interval_is_another_measure_of_the_same_changes() -> None:
    flap = Flap()
    for number in range(6):
        flap = change(flap, NOW_MS + number * INTERVAL_MS, INTERVAL_MS)
    assert not settle(flap, INTERVAL_MS * 10, NOW_MS + 5 * INTERVAL_MS).is_flapping
