"""However samples are cut into batches, and whatever restarts come between, a monitor says the same."""

from dataclasses import dataclass
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla.monitor import Monitor
from slakeeper.sla.sample import Sample
from slakeeper.sla.signal import Opened, Recovered, Signal
from tests.unit.sla.watching import T0_MS, only, sla, watch

KINDS: list[dict[str, Any]] = [
    {"aggregation": "avg"},
    {"aggregation": "min", "condition": "gt", "value": 50},
    {"aggregation": "max"},
    {"aggregation": "sum", "value": 300},
    {"aggregation": "count", "condition": "gt", "value": 2},
    {"aggregation": "rate", "value": 300},
    {"aggregation": "last", "for": 500, "keep_for": 300},
    {"name": "m_p90", "type": "percentile"},
    {"type": "trend", "trend_points": 3, "value": 100_000},
]


@dataclass(frozen=True)
class Turn:
    """What happens at one instant: samples, an act, or just time passing."""

    now_ms: int
    samples: tuple[Sample, ...]
    act: str


@st.composite
def histories(draw: st.DrawFn) -> list[Turn]:
    turns: list[Turn] = []
    now_ms = T0_MS
    for _ in range(draw(st.integers(1, 12))):
        now_ms += draw(st.sampled_from([0, 1, 250, 999, 1_000, 1_700, 5_000]))
        samples = draw(
            st.lists(
                st.tuples(
                    st.integers(now_ms - 3_000, now_ms + 1_500),
                    st.sampled_from([0.0, 60.0, 98.0, 130.0, 1e3]),
                ),
                max_size=6,
            )
        )
        act = draw(
            st.sampled_from(["observe", "observe", "observe", "tick", "error", "suspend", "resume", "close"])
        )
        turns.append(Turn(now_ms, tuple((max(0, ts), x) for ts, x in samples), act))
    return turns


def act(monitor: Monitor, turn: Turn) -> list[Signal]:
    match turn.act:
        case "tick":
            return monitor.tick(turn.now_ms)
        case "error":
            return monitor.source_error("no", turn.now_ms)
        case "suspend":
            monitor.suspend(turn.now_ms)
        case "resume":
            monitor.resume(turn.now_ms)
        case "close":
            return monitor.force_close(turn.now_ms)
    return []


@pytest.mark.parametrize("metric", KINDS, ids=lambda metric: metric.get("aggregation", metric.get("type")))
@settings(max_examples=40, deadline=None)
@given(history=histories(), data=st.data())
def test_batches_and_restarts_make_no_difference(
    metric: dict[str, Any], history: list[Turn], data: st.DataObject
) -> None:
    maintenance = [{"start": "2026-01-01T00:00:03Z", "duration": 1_250}]
    contract = sla(metric, time_period=7_300, maintenance=maintenance)
    whole, pieces = watch(contract), watch(contract)
    for turn in history:
        expected = act(whole, turn) + whole.observe(turn.samples, turn.now_ms)
        got = act(pieces, turn)
        rest = turn.samples
        while True:
            if data.draw(st.booleans(), label="restart"):
                dump = msgpack.unpackb(msgpack.packb(pieces.dump()), strict_map_key=False)
                pieces = Monitor.restore(contract, contract.metrics[0], dump)
            count = data.draw(st.integers(0, len(rest)), label="batch")
            got += pieces.observe(rest[:count], turn.now_ms)
            rest = rest[count:]
            if not rest:
                break
        assert got == expected
        assert pieces.dump() == whole.dump()
        assert pieces.next_deadline_ms() == whole.next_deadline_ms()
        assert pieces.account() == whole.account()


@pytest.mark.parametrize("metric", KINDS, ids=lambda metric: metric.get("aggregation", metric.get("type")))
@settings(max_examples=60, deadline=None)
@given(history=histories())
def test_a_deadline_that_is_not_due_anew_is_not_earlier_than_it_was(
    metric: dict[str, Any], history: list[Turn]
) -> None:
    """Whoever has set a timer by it leaves the timer as it is, unless a signal says that something follows."""
    maintenance = [{"start": "2026-01-01T00:00:03Z", "duration": 1_250}]
    monitor = watch(sla(metric, time_period=7_300, maintenance=maintenance))
    for turn in history:
        act(monitor, turn)
        before_ms = monitor.next_deadline_ms()
        signals = monitor.observe(turn.samples, turn.now_ms)
        after_ms = monitor.next_deadline_ms()
        if not signals and not monitor.is_due_anew:
            assert before_ms is not None
            assert after_ms is None or after_ms >= before_ms


@settings(max_examples=60, deadline=None)
@given(history=histories())
def test_at_most_one_violation_is_open_and_time_never_goes_missing(history: list[Turn]) -> None:
    contract = sla(time_period=7_300)
    monitor = watch(contract)
    is_open = False
    for turn in history:
        if turn.act == "close":
            is_open = False
        for signal in act(monitor, turn) + monitor.observe(turn.samples, turn.now_ms):
            if isinstance(signal, Opened):
                assert not is_open
                is_open = True
            elif isinstance(signal, Recovered):
                assert is_open
                is_open = False
        assert is_open == (monitor.state == "violating")
        account = monitor.account()
        assert 0 <= account.settled_ms <= account.end_ms - account.start_ms
        deadline_ms = monitor.next_deadline_ms()
        assert deadline_ms is not None
    counters = monitor.counters
    assert counters.accepted + counters.late == sum(len(turn.samples) for turn in history)


@settings(max_examples=60, deadline=None)
@given(
    samples=st.lists(st.tuples(st.integers(1, 900), st.sampled_from([50.0, 150.0])), min_size=1, max_size=30),
    for_ms=st.sampled_from([0, 400, 1_500]),
    keep_ms=st.sampled_from([0, 500, 1_200]),
)
def test_violations_open_and_close_as_a_look_at_every_millisecond_says(
    samples: list[tuple[int, float]], for_ms: int, keep_ms: int
) -> None:
    """Samples come in order and often enough, so the promise is known at every instant."""
    monitor = watch(sla({"aggregation": "last", "for": for_ms, "keep_for": keep_ms}))
    at_ms, instants = T0_MS, []
    for gap, x in samples:
        at_ms += gap
        instants.append((at_ms, x))
    signals = [signal for sample in instants for signal in monitor.observe([sample], sample[0])]

    expected: list[tuple[str, int]] = []
    known = dict(instants)
    fails, since_ms, is_open = False, None, False
    for now_ms in range(T0_MS, at_ms + 1):
        # What is due counts up to this instant, before the word that comes at it.
        if fails and not is_open and since_ms is not None and now_ms - since_ms >= for_ms:
            expected.append(("opened", now_ms))
            is_open = True
        if now_ms in known:
            failed = known[now_ms] >= 100
            if failed != fails or since_ms is None:
                fails, since_ms = failed, now_ms
            if fails and not is_open and now_ms - since_ms >= for_ms:
                expected.append(("opened", now_ms))
                is_open = True
            elif is_open and not fails and now_ms - since_ms >= keep_ms:
                expected.append(("recovered", now_ms))
                is_open = False
    assert [("opened", s.at_ms) for s in only(Opened, signals)] == [e for e in expected if e[0] == "opened"]
    assert [("recovered", s.at_ms) for s in only(Recovered, signals)] == [
        e for e in expected if e[0] == "recovered"
    ]
