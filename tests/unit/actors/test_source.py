"""Polled sources: readings become samples, errors become source errors, one question at a time."""

import logging
from collections.abc import Callable
from itertools import pairwise

import pytest

from slakeeper.actors.source import READINGS_A_TURN
from tests.unit.actors.cell_world import (
    CRITICAL,
    GOOD,
    MINUTE_MS,
    NOW_MS,
    SECOND_MS,
    FakePoller,
    World,
    metric,
)

MakeWorld = Callable[..., World]

SOURCES = {
    "prom": {"type": "prometheus", "url": "http://prom.invalid", "interval": "15s", "metrics": {"queue": "q"}}
}


def polled(make_world: MakeWorld) -> tuple[World, FakePoller]:
    world = make_world(monitoring={"sources": SOURCES})
    world.define(metrics=[metric("latency", source="prom", query="l")])
    return world, world.pollers["prom"]


def test_a_reading_is_a_sample_of_the_metric_bound_to_it(make_world: MakeWorld) -> None:
    world, poller = polled(make_world)
    poller.value = CRITICAL
    world.pass_time(15 * SECOND_MS)
    assert world.violation()["actual_value"] == CRITICAL
    assert poller.asked[0] == {"monitor:api:latency": "l"}


def test_it_is_asked_at_its_interval(make_world: MakeWorld) -> None:
    world, poller = polled(make_world)
    world.pass_time(5 * MINUTE_MS)
    assert len(poller.asked) == 20


def test_a_metric_may_be_bound_by_name_in_the_source(make_world: MakeWorld) -> None:
    world, poller = polled(make_world)
    world.define(id="b", metrics=[metric("queue")], compensation=[])
    world.pass_time(15 * SECOND_MS)
    assert poller.asked[-1] == {"monitor:api:latency": "l", "monitor:b:queue": "q"}
    assert world.metric("queue", "b")["samples_accepted"] == 1


def test_a_reading_with_a_time_counts_for_that_time(make_world: MakeWorld) -> None:
    world, poller = polled(make_world)
    poller.value, poller.ts_ms = CRITICAL, NOW_MS + 7
    world.pass_time(15 * SECOND_MS)
    assert world.violation()["start_time"] == NOW_MS + 7


def test_a_source_that_fails_is_shown_apart_from_silence_and_counts_as_unknown(make_world: MakeWorld) -> None:
    world, poller = polled(make_world)
    poller.error = ConnectionError("refused")
    world.pass_time(MINUTE_MS)
    assert world.metric()["state"] == "source_error"
    assert world.violations() == []
    state = world.request("actor.state", address="source:prom@cell-0")["state"]
    assert (state["errors"], state["last_error"]) == (4, "refused")
    poller.error = None
    world.pass_time(15 * SECOND_MS)
    assert world.metric()["state"] == "ok"


def test_one_query_that_fails_disturbs_no_other(make_world: MakeWorld) -> None:
    world, poller = polled(make_world)
    poller.value, poller.reading_error = None, "no such series"
    world.pass_time(15 * SECOND_MS)
    assert world.metric()["state"] == "source_error"


def test_a_reading_that_is_no_number_is_an_error_of_the_source(make_world: MakeWorld) -> None:
    world, poller = polled(make_world)
    for value in (float("nan"), float("inf")):
        poller.value = value
        world.pass_time(15 * SECOND_MS)
        assert world.metric()["state"] == "source_error"
    poller.value, poller.ts_ms = GOOD, NOW_MS + 10 * MINUTE_MS
    world.pass_time(15 * SECOND_MS)
    assert world.metric()["samples_accepted"] == 0


def test_a_source_that_has_not_answered_is_not_asked_again(make_world: MakeWorld) -> None:
    world, poller = polled(make_world)
    for _ in range(4):
        world.clock.advance(15 * SECOND_MS)
        world.turn()
    assert len(world.executor.waiting) == 1
    world.settle()
    world.pass_time(15 * SECOND_MS)
    assert len(poller.asked) == 2


def test_bindings_follow_the_contracts(make_world: MakeWorld) -> None:
    world, poller = polled(make_world)
    world.define(metrics=[metric("latency", source="prom", query="other")])
    world.pass_time(15 * SECOND_MS)
    assert poller.asked[-1] == {"monitor:api:latency": "other"}
    world.define(metrics=[metric("latency")])
    asked = len(poller.asked)
    world.pass_time(MINUTE_MS)
    assert len(poller.asked) == asked
    world.define(metrics=[metric("latency", source="prom")])
    world.pass_time(15 * SECOND_MS)
    assert poller.asked[-1] == {"monitor:api:latency": "latency"}
    world.request("sla.remove", id="api", by="ann")
    asked = len(poller.asked)
    world.pass_time(MINUTE_MS)
    assert len(poller.asked) == asked


def test_bindings_are_there_again_after_a_restart_and_after_a_crash_of_the_monitor(
    make_world: MakeWorld,
) -> None:
    world, poller = polled(make_world)
    world.restart()
    world.pass_time(15 * SECOND_MS)
    world.request("actor.kill", address="monitor:api:latency")
    world.pass_time(15 * SECOND_MS)
    assert poller.asked[-1] == {"monitor:api:latency": "l"}
    assert world.metric()["samples_accepted"] >= 2


def test_a_source_actor_that_is_killed_asks_again(make_world: MakeWorld) -> None:
    world, poller = polled(make_world)
    world.request("actor.kill", address="source:prom@cell-0")
    world.pass_time(MINUTE_MS)
    assert len(poller.asked) >= 4


def test_jitter_spreads_polls_and_two_runs_poll_at_the_same_moments(make_world: MakeWorld) -> None:
    moments: list[list[int]] = []
    for _ in range(2):
        world = make_world(monitoring={"sources": {"prom": {**SOURCES["prom"], "jitter": "5s"}}})
        world.define(metrics=[metric("latency", source="prom")])
        times: list[int] = []
        for _ in range(120):
            before = len(world.pollers["prom"].asked)
            world.pass_time(SECOND_MS)
            if len(world.pollers["prom"].asked) > before:
                times.append(world.now_ms)
        moments.append(times)
    assert moments[0] == moments[1]
    assert len({b - a for a, b in zip(moments[0], moments[0][1:], strict=False)}) > 1


def test_why_a_source_fails_is_shown_and_counted_and_logged_once(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world, poller = polled(make_world)
    with caplog.at_level(logging.INFO, "slakeeper.source"):
        poller.error = ConnectionError("refused")
        world.pass_time(MINUTE_MS)
        assert world.metric()["reason"] == "refused"
        assert world.request("status")["sources_failing"] == {"prom": "refused"}
        poller.error = None
        world.pass_time(MINUTE_MS)
    assert world.metric()["reason"] is None
    assert world.request("status")["sources_failing"] == {}
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "source:prom@cell-0 fails: refused"), ("INFO", "source:prom@cell-0 answers again"),
    ]  # fmt: skip


def test_a_large_poll_is_handed_on_in_shares_and_others_have_their_turn_between(
    make_world: MakeWorld,
) -> None:
    world = make_world(monitoring={"sources": SOURCES})
    count = 2 * READINGS_A_TURN + 1
    world.define(
        metrics=[metric(f"m{n}", source="prom", query=f"q{n}", weight="0.001") for n in range(count)],
        compensation=[],
    )
    world.pollers["prom"].value = GOOD

    def seen() -> int:
        rows = world.request("sla.show", id="api")["metrics"]
        return sum(row["samples_accepted"] for row in rows)

    world.clock.advance(15 * SECOND_MS)
    world.turn()
    world.executor.run()
    shares = [0, *(seen() for _ in range(5))]  # each look is a turn
    handed_on = [after - before for before, after in pairwise(shares) if after > before]
    assert handed_on == [READINGS_A_TURN, READINGS_A_TURN, 1]
