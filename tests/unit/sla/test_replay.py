"""A replay is the same however the history is cut, and whether calm stretches of it are passed over or gone through."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla.calm import Stretch
from slakeeper.sla.contract import Sla
from slakeeper.sla.monitor import Monitor
from slakeeper.sla.replay import Feed, Replay
from slakeeper.sla.sample import Sample
from tests.unit.sla.watching import T0_MS

SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000

Row = tuple[str, int, float]


class Plain(Replay):
    """Goes through every sample."""

    def _pass_over(self, feeds: Mapping[str, Feed], places: dict[str, int]) -> bool:
        return False


METRICS: dict[str, list[dict[str, Any]]] = {
    "avg": [{"aggregation": "avg"}],
    "min": [{"aggregation": "min", "condition": "gt", "value": 50}],
    "max": [{"aggregation": "max", "condition": "lte", "value": 170, "lateness": 7_000}],
    "last": [{"aggregation": "last", "for": 2_500, "keep_for": 1_300, "condition": "gte", "value": 60}],
    "percentile": [{"name": "m0_p90", "type": "percentile", "value": 160}],
    "easily alarmed": [{"alert_threshold": "0.05", "value": 150}],
    "sum, which is never calm": [{"aggregation": "sum", "value": 2_000}],
    "two": [{"interval": 1_000, "weight": 0.5}, {"interval": 700, "weight": 0.5, "aggregation": "max"}],
    "three, one silent for long": [{}, {"for": 3_000}, {"no_data": "bad", "interval": 5_000}],
}


def contract(metrics: Sequence[dict[str, Any]], **keys: Any) -> Sla:
    promised = [
        {"name": f"m{number}", "value": 150, "condition": "lt", "interval": 1_000, **metric}
        for number, metric in enumerate(metrics)
    ]
    return Sla.model_validate(
        {
            "id": "c",
            "service_level": 99,
            "time_period": "2m",
            "effective_date": T0_MS // 1000,
            "metrics": promised,
            "penalties": [{"threshold": 99, "type": "credit", "rate": 10}],
            "compensation": [{"metric": promised[0]["name"], "formula": "actual - threshold + attainment"}],
            **keys,
        }
    )


@dataclass(frozen=True)
class Course:
    """How a history goes: calm, with incidents; each of its samples comes in order."""

    seed: int
    spread: float
    incident_ratio: float
    gap_ratio: float
    step_ms: int
    outlier_ratio: float = 0.0

    def rows(self, names: Sequence[str], count: int) -> list[Row]:
        dice = random.Random(self.seed)
        rows: list[Row] = []
        at_ms, bad = T0_MS, 0
        for _ in range(count):
            at_ms += dice.randrange(1, self.step_ms)
            if dice.random() < self.gap_ratio:
                at_ms += dice.randrange(10_000)
            if dice.random() < self.incident_ratio:
                bad = dice.randrange(1, 12)
            bad -= 1
            outlier = dice.random() < self.outlier_ratio
            value = 100 + dice.gauss(0, self.spread) + (80 if bad > 0 or outlier else 0)
            rows.append((dice.choice(names), at_ms, round(value, 3)))
        return rows


COURSES = st.builds(
    Course,
    seed=st.integers(0, 2**32),
    spread=st.sampled_from([0.0, 1.0, 5.0, 15.0]),
    incident_ratio=st.sampled_from([0.0, 0.001, 0.004, 0.02]),
    gap_ratio=st.sampled_from([0.0, 0.0, 0.002]),
    step_ms=st.sampled_from([200, 500, 900]),
    outlier_ratio=st.sampled_from([0.0, 0.0, 0.01, 0.05]),
)


def feeds(rows: Sequence[Row], clock_ms: int) -> dict[str, Feed]:
    columns: dict[str, tuple[list[int], list[int], list[float]]] = {}
    in_order = True
    for name, ts_ms, value in rows:
        in_order = in_order and ts_ms >= clock_ms
        clock_ms = max(clock_ms, ts_ms)
        clocks, instants, values = columns.setdefault(name, ([], [], []))
        clocks.append(clock_ms)
        instants.append(ts_ms)
        values.append(value)
    return {
        name: Feed(instants if in_order else clocks, instants, values)
        for name, (clocks, instants, values) in columns.items()
    }


def play(replay: Replay, rows: Sequence[Row], cuts: Sequence[int]) -> None:
    places = [0, *sorted(cuts), len(rows)]
    clock_ms = T0_MS
    for begin, end in pairwise(places):
        replay.take(feeds(rows[begin:end], clock_ms))
        clock_ms = max([clock_ms, *(ts_ms for _, ts_ms, _ in rows[begin:end])])


def outcome(replay: Replay) -> Any:
    return (
        [each.to_document() for each in replay.violations],
        [each.to_document() for each in replay.entries],
        replay.periods,
        {name: monitor.dump() for name, monitor in replay.monitors.items()},
    )


@pytest.mark.parametrize("metrics", METRICS.values(), ids=METRICS)
@settings(max_examples=12, deadline=None)
@given(course=COURSES, data=st.data())
def test_calm_stretches_and_cuts_make_no_difference(
    metrics: list[dict[str, Any]], course: Course, data: st.DataObject
) -> None:
    maintenance = data.draw(
        st.sampled_from([[], [{"start": "2026-01-01T00:01:10Z", "duration": 15_250}]]), label="maintenance"
    )
    promised = contract(metrics, maintenance=maintenance)
    rows = course.rows([metric.name for metric in promised.metrics], 700)
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=3), label="cuts")
    quick = Replay(promised, T0_MS, Decimal("0.95"))
    plain = Plain(promised, T0_MS, Decimal("0.95"))
    play(quick, rows, cuts)
    play(plain, rows, range(0, len(rows), 300))
    assert outcome(quick) == outcome(plain)
    to_ms = rows[-1][1] + 30_000
    quick.finish(to_ms)
    plain.finish(to_ms)
    assert outcome(quick) == outcome(plain)


@pytest.mark.parametrize("metric", [{"aggregation": "avg"}, {"name": "m0_p50", "type": "percentile"}])
def test_a_window_may_be_bad_though_no_sliding_aggregate_was(metric: dict[str, Any]) -> None:
    """The one sample of a window breaks the promise, and with those of the window before it does not."""
    rows = [("m", T0_MS + 100 * number, 100.0) for number in range(2_000)]
    bad_ms = T0_MS + 100_000
    rows = [row for row in rows if not bad_ms <= row[1] < bad_ms + 1_000] + [("m", bad_ms + 100, 160.0)]
    rows.sort(key=lambda row: row[1])
    promised = contract([metric], time_period="1h")
    rows = [(promised.metrics[0].name, ts_ms, value) for _, ts_ms, value in rows]
    quick, plain = Replay(promised, T0_MS, Decimal("0.95")), Plain(promised, T0_MS, Decimal("0.95"))
    for replay in (quick, plain):
        play(replay, rows, [])
        replay.finish(T0_MS + 200_000)
        assert replay.periods[0].standing.bad_ms == 1_000
        assert replay.violations == []
    assert outcome(quick) == outcome(plain)


@pytest.mark.parametrize("aggregation", ["avg", "min", "max", "last"])
def test_a_calm_history_is_passed_over(aggregation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this nothing above would be tested."""
    observed: list[int] = []
    observe = Monitor.observe

    def counting(self: Monitor, samples: Sequence[Sample], now_ms: int) -> Any:
        observed.append(len(samples))
        return observe(self, samples, now_ms)

    monkeypatch.setattr(Monitor, "observe", counting)
    replay = Replay(contract([{"aggregation": aggregation}]), T0_MS, Decimal("0.95"))
    play(replay, Course(1, 1.0, 0.0, 0.0, 500).rows(["m0"], 5_000), [])
    assert sum(observed) < 3_000
    assert replay.monitors["m0"].counters.accepted == 5_000


def test_a_stretch_counts_its_windows() -> None:
    assert Stretch(T0_MS, [0, 4, 9]).windows == 2


@settings(max_examples=15, deadline=None)
@given(
    course=COURSES,
    shuffles=st.lists(st.tuples(st.integers(0, 199), st.integers(0, 199)), max_size=8),
    cuts=st.lists(st.integers(0, 200), max_size=4),
)
def test_samples_out_of_order_come_at_what_the_clock_shows(
    course: Course, shuffles: list[tuple[int, int]], cuts: list[int]
) -> None:
    """Fed one by one to a bare monitor at the clock of each, they come to the same accounts."""
    promised = contract([{"lateness": 2_000}])
    rows = course.rows(["m0"], 200)
    for one, other in shuffles:
        rows[one], rows[other] = rows[other], rows[one]
    replay = Replay(promised, T0_MS, Decimal("0.95"))
    play(replay, rows, cuts)
    monitor = Monitor(promised, promised.metrics[0], T0_MS, Decimal("0.95"))
    clock_ms = T0_MS
    for _, ts_ms, value in rows:
        clock_ms = max(clock_ms, ts_ms)
        while (due_ms := monitor.next_deadline_ms()) is not None and due_ms <= clock_ms:
            monitor.tick(due_ms)
        monitor.observe([(ts_ms, value)], clock_ms)
    assert replay.monitors["m0"].counters == monitor.counters
    assert replay.monitors["m0"].account(clock_ms) == monitor.account(clock_ms)


@settings(max_examples=15, deadline=None)
@given(course=COURSES, cuts=st.lists(st.integers(0, 400), max_size=3))
def test_periods_come_to_what_a_naive_count_of_windows_comes_to(course: Course, cuts: list[int]) -> None:
    promised = contract([{}], time_period="1m")
    rows = course.rows(["m0"], 400)
    replay = Replay(promised, T0_MS, Decimal("0.95"))
    play(replay, rows, cuts)
    last_ms = rows[-1][1]
    to_ms = T0_MS + ((last_ms - T0_MS) // MINUTE_MS + 1) * MINUTE_MS
    replay.finish(to_ms)

    windows: dict[int, list[float]] = {}
    for _, ts_ms, value in rows:
        windows.setdefault((ts_ms - T0_MS) // SECOND_MS, []).append(value)
    expected: list[tuple[Any, ...]] = []
    for start_ms in range(T0_MS, to_ms, MINUTE_MS):
        good = bad = 0
        for number in range((start_ms - T0_MS) // SECOND_MS, (start_ms - T0_MS) // SECOND_MS + 60):
            values = windows.get(number)
            if values:
                kept = sum(map(Fraction, values)) / len(values) < 150
                good, bad = good + kept, bad + (not kept)
        attainment = Fraction(100 * good, good + bad) if good + bad else None
        times_ms = (Fraction(each * 1_000) for each in (good, bad, 60 - good - bad))
        expected.append((start_ms, attainment, *times_ms))
    assert [
        (
            each.start_ms,
            each.standing.attainment,
            each.standing.good_ms,
            each.standing.bad_ms,
            each.standing.unknown_ms,
        )
        for each in replay.periods
    ] == expected
    assert [each.met for each in replay.periods] == [None if a is None else a >= 99 for _, a, *_ in expected]


@pytest.mark.parametrize(("bad_count", "met"), [(1, None), (2, False)])
def test_a_period_that_has_not_ended_owes_nothing_and_is_decided_only_when_it_is_lost(
    bad_count: int, met: bool | None
) -> None:
    """Of two minutes 1.2 s may be bad."""
    replay = Replay(contract([{}]), T0_MS, Decimal("0.95"))
    bad = [("m0", T0_MS + 500 + 1_000 * number, 300.0) for number in range(bad_count)]
    replay.take(feeds([*bad, ("m0", T0_MS + 5_500, 100.0)], T0_MS))
    replay.finish(T0_MS + 10_000)
    [period] = replay.periods
    assert (period.is_complete, period.met, period.credits) == (False, met, ())
    assert period.standing.good_ms == 1_000
    assert period.standing.bad_ms == bad_count * 1_000


def test_a_history_that_begins_within_a_window_loses_nothing_of_it() -> None:
    promised = contract([{}], effective_date="2026-01-01T00:00:00Z", time_period="1m")
    first_ms = T0_MS + 3_400
    whole = Replay(promised, first_ms, Decimal("0.95"), whole_windows=True)
    sharp = Replay(promised, first_ms, Decimal("0.95"))
    for replay in (whole, sharp):
        replay.take(feeds([("m0", first_ms, 100.0)], first_ms))
        replay.finish(T0_MS + MINUTE_MS)
    assert whole.periods[0].standing.known_ms == 1_000
    assert sharp.periods[0].standing.known_ms == 600


def test_a_contract_without_an_effective_date_begins_with_its_history_or_its_calendar() -> None:
    first_ms = T0_MS + 5 * HOUR_MS + 17
    fixed = Replay(contract([{}], effective_date=None), first_ms, Decimal("0.95"), whole_windows=True)
    daily = Replay(
        contract([{}], effective_date=None, time_period=None, calendar="day"),
        first_ms,
        Decimal("0.95"),
        whole_windows=True,
    )
    for replay in (fixed, daily):
        replay.take(feeds([("m0", first_ms, 100.0)], first_ms))
        replay.finish(first_ms + 1)
    assert fixed.periods[0].start_ms == first_ms
    assert (daily.periods[0].start_ms, daily.periods[0].end_ms) == (T0_MS, T0_MS + 24 * HOUR_MS)
