"""The arithmetic of OTP's restart intensity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.otp.intensity import add_restart


def survives(times_ms: list[int], intensity: int, period_s: int) -> int | None:
    """How many restarts are allowed before the one that is not; None if all are."""
    restarts: tuple[int, ...] = ()
    for done, at_ms in enumerate(times_ms):
        allowed, restarts = add_restart(restarts, at_ms, intensity, period_s)
        if not allowed:
            return done
    return None


@pytest.mark.parametrize("intensity", [0, 1, 2, 5])
def test_the_intensity_is_survived_and_one_more_is_not(intensity: int) -> None:
    assert survives([0] * (intensity + 5), intensity, 5) == intensity
    assert survives([0] * intensity, intensity, 5) is None


def test_an_exit_one_period_ago_counts_always() -> None:
    for phase_ms in range(0, 1_000, 50):
        assert survives([phase_ms, phase_ms + 1_000], 1, 1) == 1


def test_an_exit_a_period_and_a_second_ago_counts_never() -> None:
    for phase_ms in range(0, 1_000, 50):
        assert survives([phase_ms, phase_ms + 2_000], 1, 1) is None


def test_between_the_two_it_depends_on_where_the_seconds_fall() -> None:
    assert survives([0, 1_950], 1, 1) == 1, "seconds 0 and 1"
    assert survives([950, 2_050], 1, 1) is None, "only 1.1 s apart, but seconds 0 and 2"


def test_restarts_that_come_no_faster_than_allowed_go_on_for_ever() -> None:
    assert survives(list(range(0, 1_000_000, 3_001)), 2, 5) is None


@given(
    st.lists(st.integers(0, 4_000), max_size=40),
    st.integers(0, 6),
    st.integers(1, 7),
    st.integers(0, 10**9),
)
def test_it_answers_as_counting_all_exits_anew_each_time_would(
    gaps_ms: list[int], intensity: int, period_s: int, start_ms: int
) -> None:
    now_ms = start_ms
    restarts: tuple[int, ...] = ()
    all_seconds: list[int] = []
    for gap_ms in gaps_ms:
        now_ms += gap_ms
        all_seconds.append(now_ms // 1_000)
        expected = sum(now_ms // 1_000 - second <= period_s for second in all_seconds) <= intensity
        allowed, restarts = add_restart(restarts, now_ms, intensity, period_s)
        assert allowed is expected
        if not allowed:
            return


@given(st.lists(st.integers(0, 3_000)), st.integers(0, 5), st.integers(1, 5))
def test_what_is_remembered_is_bounded_by_the_intensity(
    gaps_ms: list[int], intensity: int, period_s: int
) -> None:
    now_ms = 0
    restarts: tuple[int, ...] = ()
    for gap_ms in gaps_ms:
        now_ms += gap_ms
        allowed, restarts = add_restart(restarts, now_ms, intensity, period_s)
        assert len(restarts) <= intensity + 1
        if not allowed:
            return
