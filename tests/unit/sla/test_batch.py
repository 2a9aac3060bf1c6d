"""Many samples at once come to what they come to one by one."""

from fractions import Fraction
from itertools import pairwise
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla.exact import SHIFT, scaled_sum
from slakeeper.sla.monitor import Monitor
from slakeeper.sla.sum_window import SumWindow
from slakeeper.sla.tally import open_tally
from slakeeper.sla.window import open_window
from tests.unit.sla.watching import T0_MS, sla, watch

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
USUAL = st.one_of(st.floats(0.0, 1e3), st.sampled_from([0.1, 1e-300, 1e17, -0.0, -5.0, 1e200]))


@settings(max_examples=150, deadline=None)
@given(xs=st.one_of(st.lists(FLOATS, max_size=40), st.lists(USUAL, max_size=40)))
def test_a_sum_of_many_floats_is_exact(xs: list[float]) -> None:
    assert scaled_sum(xs) == sum(map(Fraction, xs), Fraction(0)) * (1 << SHIFT)


KINDS = ["avg", "sum", "count", "rate", "min", "max", "last", "percentile"]


def promise(kind: str) -> dict[str, object]:
    if kind == "percentile":
        return {"type": "percentile", "percentile": 75, "interval": 10_000}
    return {"aggregation": kind, "interval": 10_000}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(
    gaps=st.lists(st.integers(0, 60), min_size=300, max_size=600),
    values=st.lists(st.sampled_from([1.0, 2.5, 3.0, 7.25, 0.1]), min_size=7, max_size=23),
    zone=st.sampled_from([(-inf, inf), (-inf, 6.0), (0.5, inf), (-inf, 1e6), (50.0, 1e5), (inf, -inf)]),
    swap=st.one_of(st.none(), st.integers(0, 250)),
)
def test_a_window_runs_as_far_as_it_would_sample_by_sample(
    kind: str, gaps: list[int], values: list[float], zone: tuple[float, float], swap: int | None
) -> None:
    metric = sla(promise(kind)).metrics[0]
    ts_ms, at_ms = [], T0_MS
    for gap in gaps:
        at_ms += gap
        ts_ms.append(at_ms)
    if swap is not None:
        ts_ms[swap], ts_ms[swap + 40] = ts_ms[swap + 40], ts_ms[swap]
    xs = [values[number % len(values)] for number in range(len(ts_ms))]
    together, apart = open_window(metric), open_window(metric)
    place, last = 0, nan
    while place < len(xs):
        before = place
        place, value = together.run(ts_ms, xs, place, len(xs), *zone)
        for number in range(before, place):
            one = apart.add(ts_ms[number], xs[number])
            assert number == place - 1 or zone[0] < one < zone[1]
            last = one
        assert value == last
        assert place == len(xs) or not zone[0] < value < zone[1]
        assert together.dump() == apart.dump()


def test_a_large_batch_goes_into_a_sliding_sum_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this the fast way would not be tested above."""
    added: list[int] = []

    def add(self: SumWindow, ts_ms: int, x: float) -> float:
        added.append(ts_ms)
        return x

    monkeypatch.setattr(SumWindow, "add", add)
    window = open_window(sla({"aggregation": "avg"}).metrics[0])
    assert window.run([T0_MS + n for n in range(500)], [1.0] * 500, 0, 500, -inf, 2.0) == (500, 1.0)
    assert added == []


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(
    samples=st.lists(
        st.tuples(st.integers(0, 50), st.sampled_from([1.0, 99.5, 100.0, 0.1])), min_size=1, max_size=60
    )
)
def test_a_tally_takes_many_as_it_takes_one_by_one(kind: str, samples: list[tuple[int, float]]) -> None:
    metric = sla(promise(kind)).metrics[0]
    together, apart = open_tally(metric), open_tally(metric)
    together.extend([ts_ms for ts_ms, _ in samples], [x for _, x in samples])
    for ts_ms, x in samples:
        apart.extend([ts_ms], [x])
    assert repr(together.dump()) == repr(apart.dump())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None)
@given(
    gaps=st.lists(st.integers(0, 40), min_size=200, max_size=500),
    bad=st.lists(st.integers(0, 499), max_size=4),
    cuts=st.lists(st.integers(0, 500), max_size=4),
)
def test_a_monitor_says_the_same_of_a_large_batch_as_of_its_parts(
    kind: str, gaps: list[int], bad: list[int], cuts: list[int]
) -> None:
    contract = sla({**promise(kind), "interval": 2_000, "lateness": 60_000}, time_period=9_300)
    samples, at_ms = [], T0_MS
    for number, gap in enumerate(gaps):
        at_ms += gap
        samples.append((at_ms, 500.0 if any(0 <= number - first < 9 for first in bad) else 50.0))
    whole, pieces = watch(contract), watch(contract)
    signals = whole.observe(samples, at_ms)
    places = [0, *sorted(cuts), len(samples)]
    parts = []
    for begin, end in pairwise(places):
        parts += pieces.observe(samples[begin:end], at_ms)
        pieces = Monitor.restore(contract, contract.metrics[0], pieces.dump())
    assert parts == signals
    assert pieces.dump() == whole.dump()
