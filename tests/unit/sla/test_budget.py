"""The error budget, breach and projection against adding them up window by window, millisecond by millisecond."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla.account import Account
from slakeeper.sla.burn import Burn, look_back_ms
from slakeeper.sla.calendar import cuts
from slakeeper.sla.compliance import Share, attainment, met, standing
from slakeeper.sla.spending import Spending
from tests.unit.sla.watching import T0_MS, sla

WINDOW_MS = 1_000

verdicts = st.text("gbux", min_size=1, max_size=30)
"""A window each: good, bad, unknown, excluded."""


def account_of(seen: str, count: int) -> Account:
    known = seen.count("g") + seen.count("b")
    return Account(
        T0_MS,
        T0_MS + count * WINDOW_MS,
        known * WINDOW_MS,
        seen.count("g") * WINDOW_MS,
        seen.count("b") * WINDOW_MS,
        seen.count("u") * WINDOW_MS,
        seen.count("x") * WINDOW_MS,
    )


@given(
    metrics=st.lists(st.tuples(verdicts, st.integers(1, 10)), min_size=1, max_size=4),
    settled=st.integers(0, 30),
    level=st.sampled_from(["90", "95", "99.9", "99.999", "100"]),
)
def test_budget_and_breach_are_what_the_windows_add_up_to(
    metrics: list[tuple[str, int]], settled: int, level: str
) -> None:
    count = max(len(seen) for seen, _ in metrics)
    # What is not settled yet is still to come; nothing of it is cut.
    rows = [(seen[:settled], count - len(seen[:settled]), Fraction(weight, 10)) for seen, weight in metrics]
    shares = [
        Share(account_of(seen, count), Decimal(weight.numerator) / weight.denominator, left * WINDOW_MS)
        for seen, left, weight in rows
    ]
    stated = standing(Decimal(level), shares)
    whole = sum(weight for _, _, weight in rows)
    allowed = 1 - Fraction(level) / 100
    can_count = (
        sum(weight * (seen.count("g") + seen.count("b") + left) for seen, left, weight in rows) / whole
    )
    bad = sum(weight * seen.count("b") for seen, _, weight in rows) / whole
    assert stated.error_budget_ms == allowed * can_count * WINDOW_MS
    assert stated.error_budget_spent_ms == bad * WINDOW_MS
    # The best that can come is that all of the rest is good; then the period is met, or it was lost already.
    best = attainment(
        Share(account_of(seen + "g" * left, count), s.weight)
        for (seen, left, _), s in zip(rows, shares, strict=True)
    )
    assert stated.best_attainment == best
    assert stated.breached == (met(Decimal(level), best) is False)


@settings(max_examples=100, deadline=None)
@given(
    seen=st.text("gb", min_size=1, max_size=24),
    left=st.fractions(0, 200, max_denominator=7),
    maintenance=st.lists(
        st.tuples(st.integers(0, 900), st.integers(1, 200), st.sampled_from(["exclude", "good"])), max_size=3
    ),
    now=st.integers(0, 500),
)
def test_the_budget_ends_where_a_walk_through_every_millisecond_has_spent_it(
    seen: str, left: Fraction, maintenance: list[tuple[int, int, str]], now: int
) -> None:
    period_ms = 1_000
    windows = [
        {"start": f"2026-01-01T00:00:{begin / 1000:06.3f}Z", "duration": length, "mode": mode}
        for begin, length, mode in maintenance
    ]
    contract = sla(maintenance=windows, time_period=period_ms)
    spending = Spending(period_ms)
    for index, verdict in enumerate(seen):
        span = [(T0_MS + index, T0_MS + index + 1)]
        spending.add(span[0][1], good=span if verdict == "g" else [], bad=span if verdict == "b" else [])
    back = seen[-look_back_ms(period_ms) :]
    share = Fraction(back.count("b"), len(back))
    found = cuts(contract, T0_MS, T0_MS + period_ms)
    spent, naive = Fraction(0), None
    for at_ms in range(T0_MS + now, T0_MS + period_ms):
        if spent >= left > 0 and share:
            naive = at_ms
            break
        if not any(a <= at_ms < b for a, b in (*found.excluded, *found.good)):
            spent += share
    stated = Burn(contract, {"m": spending}, period_ms).budget_ends_at_ms(
        left, T0_MS + now, T0_MS + period_ms
    )
    assert stated == naive
