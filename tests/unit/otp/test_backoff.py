"""Waits between tries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.otp.backoff import Backoff, jitter_fraction

backoffs = st.builds(
    lambda low, more, ratio: Backoff(low, low + more, ratio),
    st.integers(1, 10_000),
    st.integers(0, 1_000_000),
    st.floats(0, 1),
)


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(100, 1_000, jitter_ratio=0)
    assert [backoff.delay_ms(attempt, 0.5) for attempt in range(6)] == [100, 200, 400, 800, 1_000, 1_000]


def test_jitter_adds_up_to_its_ratio_and_never_takes_away() -> None:
    backoff = Backoff(1_000, 8_000, jitter_ratio=0.25)
    assert backoff.delay_ms(0, 0.0) == 1_000
    assert backoff.delay_ms(0, 0.5) == 1_125
    assert backoff.delay_ms(3, 1.0) == 10_000


@given(backoffs, st.integers(0, 10**9), st.floats(0, 1, exclude_max=True))
def test_every_wait_is_within_its_bounds(backoff: Backoff, attempt: int, fraction: float) -> None:
    delay_ms = backoff.delay_ms(attempt, fraction)
    assert backoff.min_ms <= delay_ms <= backoff.max_ms * (1 + backoff.jitter_ratio)


@given(backoffs, st.integers(0, 40))
def test_the_longest_total_is_the_sum_of_the_longest_waits(backoff: Backoff, attempts: int) -> None:
    assert backoff.longest_ms(attempts) == sum(backoff.delay_ms(attempt, 1.0) for attempt in range(attempts))


@given(st.text(max_size=20), st.integers(0, 1_000))
def test_a_fraction_is_within_its_range_and_always_the_same(name: str, attempt: int) -> None:
    fraction = jitter_fraction(name, attempt)
    assert 0 <= fraction < 1
    assert fraction == jitter_fraction(name, attempt)


def test_children_that_fail_together_are_spread_over_the_whole_range() -> None:
    fractions = [jitter_fraction(f"sla-{index}", 0) for index in range(1_000)]
    for tenth in range(10):
        assert 60 < sum(tenth / 10 <= fraction < (tenth + 1) / 10 for fraction in fractions) < 140


@pytest.mark.parametrize("bounds", [(0, 10), (-1, 10), (11, 10), (1, 10, -0.1), (1, 10, 1.1)])
def test_bounds_that_mean_nothing_are_refused(bounds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a backoff needs"):
        Backoff(*bounds)
