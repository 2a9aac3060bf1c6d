"""A replay says of a history what the actors of a running cell say of it as it happens."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slakeeper.actors.address import report_address
from slakeeper.actors.message import ListHistory
from slakeeper.actors.report import History
from slakeeper.sla.contract import Sla
from slakeeper.sla.replay import Feed, Replay
from tests.unit.actors.cell_world import MINUTE_MS, NOW_MS, World, contract, metric

MakeWorld = Callable[..., World]

# Long enough after the last sample for every window, late samples and all, to be settled.
REST_MS = 3 * MINUTE_MS

PENALTIES = [
    {"threshold": 99, "type": "service_credit", "rate": 10},
    {"threshold": 90, "type": "refund", "rate": 25},
]
PRICED = [
    {
        "metric": "latency",
        "type": "credit",
        "formula": "actual - threshold + attainment",
        "auto_approve": True,
    },
    {"metric": "latency", "type": "refund", "formula": "duration_s * 2"},
]

CONTRACTS: dict[str, dict[str, Any]] = {
    "one metric": {"penalties": PENALTIES, "fee": "500", "compensation": PRICED},
    "two metrics, one of them patient": {
        "metrics": [
            metric("latency", weight=0.6),
            metric("queue", weight=0.4, **{"for": "15s"}, keep_for="3s"),
        ],
        "time_period": "2m",
        "service_level": 95,
        "penalties": PENALTIES,
        "penalty_cap": 20,
        "compensation": PRICED,
    },
    "all kinds of metrics": {
        "metrics": [
            metric("latency", aggregation="max", weight=0.5),
            metric("queue", type="percentile", percentile=90, weight=0.5, lateness="25s"),
            metric("load", type="trend", trend_points=3, value=10_000, interval="5s"),
            metric("errors", aggregation="sum", no_data="good"),
        ],
        "time_period": "1m",
        "compensation": PRICED,
    },
    "cuts, and silence counts as bad": {
        "metrics": [metric("latency", no_data="bad"), metric("queue", aggregation="last", interval="7s")],
        "time_period": "90s",
        "maintenance": [
            {"start": (NOW_MS + 20_500) // 1000, "duration": "12s"},
            {"start": (NOW_MS + 70_000) // 1000, "duration": "9s", "mode": "good"},
        ],
        "penalties": PENALTIES,
    },
    "terms that are renewed": {"term": "100s", "renew": True, "time_period": "30s", "penalties": PENALTIES},
    "a term that ends": {"term": "70s", "time_period": "30s", "penalties": PENALTIES, "compensation": PRICED},
    "suspended": {"status": "suspended", "time_period": "40s", "penalties": PENALTIES},
}

Row = tuple[str, int, float]


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """Samples in the order they come; some later than they were taken."""
    rows: list[Row] = []
    at_ms = NOW_MS
    for _ in range(draw(st.integers(3, 30))):
        at_ms += draw(st.sampled_from([0, 500, 2_000, 5_000, 5_000, 10_000, 17_300, 45_000]))
        back_ms = draw(st.sampled_from([0, 0, 0, 0, 1_000, 12_000, 40_000]))
        name = draw(st.sampled_from(["latency", "latency", "queue", "load", "errors"]))
        rows.append(
            (name, max(0, at_ms - back_ms), draw(st.sampled_from([0.0, 90.0, 240.0, 260.0, 320.0, 500.0])))
        )
    return rows


def replayed(document: dict[str, Any], rows: list[Row], to_ms: int) -> Replay:
    replay = Replay(Sla.from_document(document), NOW_MS, Decimal("0.95"))
    clock_ms = NOW_MS
    for name, ts_ms, value in rows:
        clock_ms = max(clock_ms, ts_ms)
        if name in replay.monitors:
            replay.take({name: Feed([clock_ms], [ts_ms], [value])})
    replay.finish(to_ms)
    return replay


def lived(world: World, document: dict[str, Any], rows: list[Row], to_ms: int) -> None:
    names = {each["name"] for each in document["metrics"]}
    world.define(document)
    for name, ts_ms, value in rows:
        world.go_to(max(world.now_ms, ts_ms))
        if name in names:
            world.observe(value, name, ts=ts_ms)
    world.go_to(to_ms)


LIVE_ONLY = {"remediation_actions", "escalations", "escalation_failed_time", "silenced_by", "inhibited_by"}


@pytest.mark.parametrize("changes", CONTRACTS.values(), ids=CONTRACTS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=histories())
def test_a_replay_says_what_a_running_cell_says(
    make_world: MakeWorld, changes: dict[str, Any], rows: list[Row]
) -> None:
    document = contract(**changes)
    to_ms = max(ts_ms for _, ts_ms, _ in rows) + REST_MS
    world = make_world()
    lived(world, document, rows, to_ms)
    replay = replayed(document, rows, to_ms)

    shown = [{key: row[key] for key in row.keys() - LIVE_ONLY} for row in world.violations(resolved=True)]
    said = [each.to_document() for each in replay.violations]
    assert shown == [{key: row[key] for key in row.keys() - LIVE_ONLY} for row in said]

    entries = sorted(replay.entries, key=lambda each: (each.booked_at_ms, each.id))
    # What ended within the last moments waits for late samples in the cell, and in the replay for nothing.
    settled_ms = to_ms - MINUTE_MS
    assert [entry for entry in world.ledger() if entry["booked_time"] < settled_ms] == [
        entry.to_document() for entry in entries if entry.booked_at_ms < settled_ms
    ]
    history: History = world.host.ask(report_address("api"), ListHistory())
    kept = {(each.start_ms, each.end_ms): each.accounts for each in history.periods}
    ended = [each for each in replay.periods if each.is_complete]
    assert {span for span in kept if span[1] < settled_ms} == {
        (each.start_ms, each.end_ms) for each in ended if each.end_ms < settled_ms
    }
    for period in ended:
        if period.end_ms < settled_ms:
            assert period.accounts == kept[period.start_ms, period.end_ms]
    for row in world.shown()["metrics"]:
        monitor = replay.monitors[row["name"]]
        assert (row["samples_accepted"], row["samples_late"]) == monitor.counters[:2]
        assert (row["state"], row["value"]) == (monitor.state.value, monitor.value)


def test_what_is_open_when_a_contract_expires_ends_with_it_in_both(make_world: MakeWorld) -> None:
    document = contract(term="70s", time_period="30s", compensation=PRICED)
    rows: list[Row] = [("latency", NOW_MS + 60_000, 500.0), ("latency", NOW_MS + 65_000, 500.0)]
    to_ms = NOW_MS + 5 * MINUTE_MS
    world = make_world()
    lived(world, document, rows, to_ms)
    replay = replayed(document, rows, to_ms)
    [shown], [said] = world.violations(resolved=True), replay.violations
    assert (said.closed_at_ms, said.resolved_by, said.resolve_note) == (
        NOW_MS + 70_000, "slakeeper", "contract expired",
    )  # fmt: skip
    assert (shown["end_time"], shown["resolved_by"], shown["resolve_note"]) == (
        NOW_MS + 70_000, "slakeeper", "contract expired",
    )  # fmt: skip
    entries = sorted(replay.entries, key=lambda each: (each.booked_at_ms, each.id))
    assert [entry.to_document() for entry in entries] == world.ledger()
