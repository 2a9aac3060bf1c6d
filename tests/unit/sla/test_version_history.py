"""Versions, suspensions and renewed terms in any order, against a look at every window of every stretch."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla.account import Account
from slakeeper.sla.monitor import Monitor
from slakeeper.sla.signal import PeriodClosed, Signal
from tests.unit.sla.watching import T0_MS, sla

INTERVAL_MS, PERIOD_MS, TERM_MS, END_MS = 500, 4_000, 9_000, 20_000

acts = st.lists(
    st.tuples(
        st.integers(1, END_MS - 1),
        st.sampled_from([50, 100, 150, "suspend", "resume"]),
    ),
    max_size=8,
    unique_by=lambda act: act[0],
)
sample_lists = st.lists(
    st.tuples(st.integers(0, END_MS - 1), st.sampled_from([20.0, 70.0, 120.0, 400.0])), max_size=60
)


@settings(max_examples=30, deadline=None)
@given(acts=acts, samples=sample_lists)
def test_time_counts_under_the_version_in_force_at_each_moment(
    acts: list[tuple[int, Any]], samples: list[tuple[int, float]]
) -> None:
    """A term of two periods and an odd one, renewed; a version changes the value that an average must be below."""

    def version(value: int) -> Any:
        return sla(
            {"interval": INTERVAL_MS, "lateness": 0, "value": value},
            time_period=PERIOD_MS, term=TERM_MS, renew=True,
        )  # fmt: skip

    first = version(100)
    monitor = Monitor(first, first.metrics[0], T0_MS, Decimal("0.95"))
    events = [(at, 0, what) for at, what in acts] + [(at, 1, x) for at, x in samples]
    signals: list[Signal] = []
    for at, is_sample, what in sorted(events, key=lambda each: each[:2]):
        now_ms = T0_MS + at
        if is_sample:
            signals += monitor.observe([(now_ms, what)], now_ms)
        elif what == "suspend":
            monitor.suspend(now_ms)
        elif what == "resume":
            monitor.resume(now_ms)
        else:
            signals += monitor.rebase(version(what), version(what).metrics[0], now_ms)
    signals += monitor.tick(T0_MS + END_MS)
    accounts = [each.account for each in signals if isinstance(each, PeriodClosed)]
    assert accounts == naive(acts, samples)


def naive(acts: list[tuple[int, Any]], samples: list[tuple[int, float]]) -> list[Account]:
    bounds = [0, 4_000, 8_000, 9_000, 13_000, 17_000, 18_000]  # terms of 9 s, each with periods of 4, 4 and 1
    changes = sorted((at, what) for at, what in acts if isinstance(what, int))
    values = [(0, 100), *changes]

    def is_suspended(at: int) -> bool:
        before = [what for when, what in sorted(acts) if when <= at and isinstance(what, str)]
        return bool(before) and before[-1] == "suspend"

    found = []
    for start, end in pairwise(bounds):
        totals = {"good": 0, "bad": 0, "unknown": 0, "excluded": 0}
        edges = sorted({*range(start, end, INTERVAL_MS), end, *(at for at, _ in changes if start < at < end)})
        for a, b in pairwise(edges):
            counts = [at for at in range(a, b) if not is_suspended(at)]
            totals["excluded"] += (b - a) - len(counts)
            inside = [x for at, x in samples if a <= at < b and not is_suspended(at)]
            value = [each for at, each in values if at <= a][-1]
            verdict = "unknown" if not inside else "good" if sum(inside) / len(inside) < value else "bad"
            totals[verdict] += len(counts)
        good, bad = totals["good"], totals["bad"]
        found.append(
            Account(T0_MS + start, T0_MS + end, good + bad, good, bad, totals["unknown"], totals["excluded"])
        )
    return found
