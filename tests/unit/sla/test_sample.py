"""Which samples are fit to be used."""

from typing import Any

import pytest

from slakeeper.sla.duration import DAY_MS
from slakeeper.sla.sample import check_sample

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize("value", [0, 1, -1, 1.5, -0.0, 1e308, 5e-324, 2**70])
def test_a_finite_number_is_fit(value: float) -> None:
    assert check_sample(value, NOW_MS, NOW_MS) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (True, "not_a_number"),
        ("1", "not_a_number"),
        (None, "not_a_number"),
        ([1], "not_a_number"),
        (float("nan"), "not_finite"),
        (float("inf"), "not_finite"),
        (float("-inf"), "not_finite"),
        (10**400, "not_finite"),
    ],
)
def test_anything_else_is_refused_by_name(value: Any, reason: str) -> None:
    assert check_sample(value, NOW_MS, NOW_MS) == reason


@pytest.mark.parametrize(
    ("ts_ms", "reason"),
    [
        (NOW_MS + 60_000, None),
        (NOW_MS + 60_001, "future"),
        (NOW_MS - 400 * DAY_MS, None),
        (NOW_MS - 400 * DAY_MS - 1, "too_old"),
        (NOW_MS // 1000, "too_old"),
        (-1, "negative_time"),
        (float(NOW_MS), "not_an_instant"),
        (True, "not_an_instant"),
        ("now", "not_an_instant"),
    ],
)
def test_an_instant_lies_between_400_days_ago_and_a_minute_ahead(ts_ms: Any, reason: str | None) -> None:
    assert check_sample(1.0, ts_ms, NOW_MS) == reason
