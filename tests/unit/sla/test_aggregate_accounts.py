"""Accounts of every aggregation against a look at every window's samples again."""

from collections.abc import Callable
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla.calendar import cuts
from slakeeper.sla.condition import Condition
from slakeeper.sla.monitor import Monitor
from tests.unit.sla.watching import T0_MS, sla, watch

INTERVAL_MS, PERIOD_MS = 700, 5_000

Placed = list[tuple[int, int, float]]
"""(instant after T0 [ms], order of arrival, value)."""


def last(found: Placed) -> Fraction:
    return Fraction(max(found, key=lambda each: each[:2])[2])


def nearest_rank(found: Placed) -> Fraction:
    ordered = sorted(x for _, _, x in found)
    return Fraction(ordered[max(1, ceil(Fraction(90, 100) * len(ordered))) - 1])


NAIVE: dict[str, Callable[[Placed, int], Fraction]] = {
    "avg": lambda found, _: sum((Fraction(x) for _, _, x in found), Fraction(0)) / len(found),
    "min": lambda found, _: min(Fraction(x) for _, _, x in found),
    "max": lambda found, _: max(Fraction(x) for _, _, x in found),
    "sum": lambda found, _: sum((Fraction(x) for _, _, x in found), Fraction(0)),
    "count": lambda found, _: Fraction(len(found)),
    "last": lambda found, _: last(found),
    "rate": lambda found, left_ms: (
        sum((Fraction(x) for _, _, x in found), Fraction(0)) / Fraction(left_ms, 1000)
    ),
    "p90": lambda found, _: nearest_rank(found),
}


def metric(kind: str, condition: str, value: float) -> dict[str, Any]:
    keys = {"type": "percentile", "percentile": 90} if kind == "p90" else {"aggregation": kind}
    return {"interval": INTERVAL_MS, "condition": condition, "value": value, "lateness": PERIOD_MS, **keys}


@pytest.mark.parametrize("kind", NAIVE)
@settings(max_examples=25, deadline=None)
@given(
    samples=st.lists(
        st.tuples(st.integers(0, PERIOD_MS - 1), st.sampled_from([0.25, 1.0, 2.0, 3.5, 7.0])), max_size=30
    ),
    maintenance=st.lists(
        st.tuples(st.integers(0, 4_000), st.integers(1, 1_500), st.sampled_from(["exclude", "good"])),
        max_size=2,
    ),
    condition=st.sampled_from(["lt", "gte", "eq", "ne"]),
    value=st.sampled_from([1, 2, 3, 5]),
)
def test_every_aggregation_is_accounted_as_a_naive_look_says(
    kind: str,
    samples: list[tuple[int, float]],
    maintenance: list[tuple[int, int, str]],
    condition: str,
    value: int,
) -> None:
    windows = [
        {"start": f"2026-01-01T00:00:{begin / 1000:06.3f}Z", "duration": length, "mode": mode}
        for begin, length, mode in maintenance
    ]
    contract = sla(metric(kind, condition, value), maintenance=windows, time_period=PERIOD_MS)
    monitor = watch(contract)
    for after, x in samples:  # in any order: all of them come in time
        monitor.observe([(T0_MS + after, x)], T0_MS + PERIOD_MS - 1)
    signals = monitor.tick(T0_MS + 2 * PERIOD_MS)
    [closed] = [each.account for each in signals if hasattr(each, "account")]
    found = cuts(contract, T0_MS, T0_MS + PERIOD_MS)

    def kind_of(at_ms: int) -> str:
        if any(a <= at_ms < b for a, b in found.excluded):
            return "excluded"
        return "good" if any(a <= at_ms < b for a, b in found.good) else "counts"

    totals = {"good": 0, "bad": 0, "unknown": 0, "excluded": 0}
    for start in range(0, PERIOD_MS, INTERVAL_MS):
        instants = range(start, min(start + INTERVAL_MS, PERIOD_MS))
        kinds = [kind_of(T0_MS + each) for each in instants]
        inside = [
            (after, order, x)
            for order, (after, x) in enumerate(samples)
            if after in instants and kind_of(T0_MS + after) == "counts"
        ]
        verdict = "unknown"
        if inside:
            aggregate = NAIVE[kind](inside, kinds.count("counts"))
            verdict = "good" if _holds(condition, aggregate, Fraction(value)) else "bad"
        for each in kinds:
            totals[verdict if each == "counts" else each] += 1
    assert (closed.good_ms, closed.bad_ms, closed.unknown_ms, closed.excluded_ms) == tuple(totals.values())


def _holds(condition: str, actual: Fraction, value: Fraction) -> bool:
    return {"lt": actual < value, "gte": actual >= value, "eq": actual == value, "ne": actual != value}[
        condition
    ]


@given(
    st.lists(st.tuples(st.integers(0, 9_999), st.floats(-1e6, 1e6)), min_size=1, max_size=40), st.randoms()
)
@settings(max_examples=40, deadline=None)
def test_the_order_of_arrival_changes_no_account(samples: list[tuple[int, float]], random: Any) -> None:
    """But of two samples at one instant, of which the later arrival is the last."""
    distinct = list(dict(samples).items())
    shuffled = distinct[:]
    random.shuffle(shuffled)
    for kind in ("avg", "sum", "last", "rate"):
        contract = sla(metric(kind, Condition.LT.value, 3) | {"lateness": 10_000}, time_period=10_000)
        accounts = []
        for order in (distinct, shuffled):
            monitor = Monitor(contract, contract.metrics[0], T0_MS, contract.metrics[0].alert_threshold)
            for after, x in order:
                monitor.observe([(T0_MS + after, x)], T0_MS + 9_999)
            accounts.append(
                [each.account for each in monitor.tick(T0_MS + 20_000) if hasattr(each, "account")]
            )
        assert accounts[0] == accounts[1]
