"""Compliance: score, attainment, budget, burn rate, status; exact."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.sla.account import Account, Part
from slakeeper.sla.compliance import (
    ContractError,
    Share,
    Status,
    attainment,
    best_attainment,
    breached,
    burn_rate,
    contract_status,
    error_budget_ms,
    met,
    score_now,
    shares_of,
    standing,
)
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import DAY_MS, HOUR_MS
from slakeeper.sla.signal import MonitorState
from tests.unit.sla.watching import T0_MS, sla, watch

OK, AT_RISK, PENDING = MonitorState.OK, MonitorState.AT_RISK, MonitorState.PENDING
VIOLATING, NO_DATA, SOURCE_ERROR = MonitorState.VIOLATING, MonitorState.NO_DATA, MonitorState.SOURCE_ERROR


def account(good_ms: int = 0, bad_ms: int = 0, unknown_ms: int = 0) -> Account:
    return Account(0, DAY_MS, good_ms + bad_ms, good_ms, bad_ms, unknown_ms)


def test_the_worked_example_of_a_day_at_99_999() -> None:
    """One bad window of 30 s of a metric with weight 0.8 costs 24 000 ms: breached at once, 99.9722 % in the end."""
    contract = Sla.model_validate(
        {
            "id": "sla_001",
            "service_level": "99.999",
            "time_period": "24h",
            "effective_date": T0_MS // 1000,
            "metrics": [
                {"name": "uptime", "value": "99.999", "unit": "percentage", "weight": "0.8", "aggregation": "min",
                 "interval": "30s"},
                {"name": "error_rate", "value": "0.001", "unit": "percentage", "condition": "lt", "weight": "0.2",
                 "interval": "30s"},
            ],
        }
    )  # fmt: skip
    assert error_budget_ms(contract.service_level, DAY_MS) == 864
    monitors = [watch(contract), watch(contract.model_copy(update={"metrics": contract.metrics[1:]}))]

    def shares(now_ms: int) -> list[Share]:
        left_ms = T0_MS + DAY_MS - now_ms
        return [
            Share(monitor.account(), metric.weight, left_ms)
            for monitor, metric in zip(monitors, contract.metrics, strict=True)
        ]

    bad_ms = T0_MS + HOUR_MS
    lost_at_ms = None
    for ts_ms in range(T0_MS, T0_MS + DAY_MS, 10_000):
        monitors[0].observe([(ts_ms, 0.0 if bad_ms <= ts_ms < bad_ms + 30_000 else 100.0)], ts_ms)
        monitors[1].observe([(ts_ms, 0.0)], ts_ms)
        settled_ms = monitors[0].account().settled_ms
        if lost_at_ms is None and breached(contract.service_level, shares(T0_MS + settled_ms)):
            lost_at_ms = T0_MS + settled_ms
    assert lost_at_ms == bad_ms + 30_000
    closed = [monitor.tick(T0_MS + DAY_MS + 30_000)[-1].account for monitor in monitors]  # type: ignore[union-attr]
    day = standing(
        contract.service_level,
        [Share(done, metric.weight) for done, metric in zip(closed, contract.metrics, strict=True)],
    )
    assert closed[0].bad_ms == 30_000
    assert day.error_budget_spent_ms == 24_000
    assert day.error_budget_ms == 864
    assert day.attainment == 100 * (1 - Fraction(24_000, DAY_MS))
    assert f"{float(day.attainment):.4f}" == "99.9722"
    assert met(contract.service_level, day.attainment) is False


def test_the_score_is_the_weight_of_what_is_kept_among_what_has_data() -> None:
    weight = Decimal("0.5")
    assert score_now([(OK, Decimal("0.6")), (VIOLATING, Decimal("0.4"))]) == 60
    assert score_now([(AT_RISK, weight), (NO_DATA, weight), (SOURCE_ERROR, weight)]) == 100
    assert score_now([(PENDING, weight)]) == 0
    assert score_now([(NO_DATA, weight)]) is None


def test_a_metric_without_known_time_is_out_of_the_mean() -> None:
    shares = [Share(account(90, 10), Decimal("0.5")), Share(account(unknown_ms=100), Decimal("0.5"))]
    assert attainment(shares) == 90
    assert attainment(shares[1:]) is None
    assert met(Decimal(90), attainment(shares)) is True
    assert met(Decimal(90), None) is None


def test_a_period_is_lost_when_even_a_perfect_rest_is_too_little() -> None:
    level = Decimal(99)
    assert not breached(level, [Share(account(0, 1), Decimal(1), 99)])
    assert breached(level, [Share(account(0, 1), Decimal(1), 98)])
    assert breached(Decimal(100), [Share(account(10**9, 1), Decimal(1), 10**9)])
    assert not breached(level, [Share(account(), Decimal(1), 0)])


def test_a_burn_rate_of_14_4_spends_2_percent_of_30_days_in_an_hour() -> None:
    level = Decimal("99.9")
    bad_ms = error_budget_ms(level, 30 * DAY_MS) / 50
    assert burn_rate(bad_ms, HOUR_MS, level) == Fraction("14.4")
    assert burn_rate(0, 0, level) is None
    with pytest.raises(ContractError, match="no_error_budget"):
        burn_rate(1, 1, Decimal(100))


parts = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 1000)),
    min_size=1, max_size=5,
)  # fmt: skip


@given(parts, st.integers(90_000, 100_000))
def test_attainment_is_the_weighted_mean_and_only_falls_short_of_the_best(
    many: list[tuple[int, int, int, int]], level: int
) -> None:
    shares = [Share(account(good, bad), Decimal(weight) / 1000, rest) for good, bad, rest, weight in many]
    known = [
        (Fraction(good, good + bad), Fraction(weight, 1000)) for good, bad, _, weight in many if good + bad
    ]
    mean = attainment(shares)
    if known:
        assert mean == 100 * sum(part * weight for part, weight in known) / sum(weight for _, weight in known)
    else:
        assert mean is None
    best = best_attainment(shares)
    service_level = Decimal(level) / 1000
    assert breached(service_level, shares) == (best is not None and best < Fraction(service_level))
    # Whatever comes, the period cannot end better.
    ended = attainment(
        [Share(account(good + rest, bad), Decimal(weight) / 1000) for good, bad, rest, weight in many]
    )
    assert ended == best


@given(parts, st.integers(0, 10**6))
def test_once_lost_a_period_stays_lost(many: list[tuple[int, int, int, int]], spent: int) -> None:
    def after(gone: int) -> list[Share]:
        return [
            Share(account(good, bad + min(gone, rest)), Decimal(weight) / 1000, rest - min(gone, rest))
            for good, bad, rest, weight in many
        ]

    level = Decimal(95)
    assert not breached(level, after(0)) or breached(level, after(spent))


def test_the_standing_puts_all_numbers_together() -> None:
    now = standing(
        Decimal(90),
        [Share(account(80, 20, 7), Decimal("0.5"), 100), Share(account(100), Decimal("0.5"), 100)],
    )
    assert now.attainment == now.good_ms == 90
    assert now.known_ms == 100
    assert now.bad_ms == now.error_budget_spent_ms == now.error_budget_remaining_ms == 10
    assert now.error_budget_ms == 20
    assert now.error_budget_remaining == Fraction(1, 2)
    assert now.unknown_ms == Fraction(7, 2)
    assert not now.breached


@pytest.mark.parametrize(
    ("keys", "states", "is_breached", "after_ms", "status"),
    [
        ({}, [OK, NO_DATA], False, 0, Status.HEALTHY),
        ({}, [OK, PENDING], False, 0, Status.HEALTHY),
        ({}, [OK, AT_RISK], False, 0, Status.WARNING),
        ({}, [OK, VIOLATING], False, 0, Status.WARNING),
        ({}, [VIOLATING, VIOLATING], False, 0, Status.CRITICAL),
        ({}, [OK], True, 0, Status.BREACHED),
        ({}, [OK], False, -1, Status.PENDING),
        ({"term": "1d"}, [OK], True, DAY_MS, Status.EXPIRED),
        ({"status": "suspended"}, [VIOLATING], True, 0, Status.SUSPENDED),
        ({"status": "expired"}, [OK], False, 0, Status.EXPIRED),
    ],
)
def test_the_status_of_a_contract(
    keys: dict[str, Any], states: list[MonitorState], is_breached: bool, after_ms: int, status: Status
) -> None:
    assert contract_status(sla(**keys), states, is_breached, 0, T0_MS + after_ms) is status


# -- chapters -----------------------------------------------------------------------------------------------------

TIMES = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))
CHAPTER = st.lists(st.tuples(TIMES, st.integers(1, 100)), min_size=1, max_size=4)


def chapter(number: int, metrics: list[tuple[tuple[int, int], int]], remaining_ms: int = 0) -> list[Share]:
    return [
        Share(account(good, bad), Decimal(weight) / 100, remaining_ms, number)
        for (good, bad), weight in metrics
    ]


@given(CHAPTER, CHAPTER)
def test_a_new_chapter_spends_nothing_back_and_changes_no_attainment_when_it_begins(
    old: list[tuple[tuple[int, int], int]], metrics: list[tuple[tuple[int, int], int]]
) -> None:
    before = chapter(1, old)
    after = [*before, *chapter(2, [((0, 0), weight) for _, weight in metrics])]
    assert attainment(after) == attainment(before)
    spent = [standing(Decimal(99), shares).error_budget_spent_ms for shares in (before, after)]
    assert spent[0] == spent[1]


@given(CHAPTER, CHAPTER)
def test_chapters_count_for_their_known_time(
    one: list[tuple[tuple[int, int], int]], two: list[tuple[tuple[int, int], int]]
) -> None:
    def naive(metrics: list[tuple[tuple[int, int], int]]) -> tuple[Fraction, Fraction] | None:
        known = [(g, b, w) for (g, b), w in metrics if g + b]
        weights = sum(w for _, _, w in known)
        if not known:
            return None
        reached = sum((Fraction(100 * w * g, g + b) for g, b, w in known), Fraction(0)) / weights
        return reached, Fraction(sum(w * (g + b) for g, b, w in known), weights)

    parts = [each for each in (naive(one), naive(two)) if each is not None]
    whole = sum(ms for _, ms in parts)
    expected = sum((value * ms for value, ms in parts), Fraction(0)) / whole if whole else None
    assert attainment([*chapter(1, one), *chapter(2, two)]) == expected


def test_what_remains_belongs_to_the_last_chapter() -> None:
    shares = [*chapter(1, [((0, 10), 100)]), *chapter(2, [((10, 0), 100)], remaining_ms=80)]
    assert attainment(shares) == 50
    assert best_attainment(shares) == 90
    assert breached(Decimal(91), shares)
    assert not breached(Decimal(90), shares)


def test_a_metric_is_no_part_of_a_chapter_in_which_it_has_no_weight() -> None:
    parts = (
        Part(0, Decimal(0), account(unknown_ms=7)),
        Part(2, Decimal("0.5"), account(3)),
        Part(3, Decimal(0), account()),
    )
    whole = replace(account(3, 0, 7), parts=parts)
    assert shares_of(whole, Decimal("0.5"), 9) == [Share(account(3), Decimal("0.5"), 0, 2)]
    assert shares_of(account(3), None) == []
    assert shares_of(account(3), Decimal(1), 9) == [Share(account(3), Decimal(1), 9)]
