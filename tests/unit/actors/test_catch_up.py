"""What a source could not be asked in time is asked later, and no window is judged before."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from slakeeper.actors.source import SAMPLES_A_GAP, SAMPLES_A_ROUND, TRIES
from tests.unit.actors.cell_world import (
    CRITICAL,
    GOOD,
    HOUR_MS,
    MINUTE_MS,
    NOW_MS,
    SECOND_MS,
    RememberingPoller,
    World,
    contract,
    metric,
)

MakeWorld = Callable[..., World]
PERIOD = {"time_period": "7d", "compensation": []}


def remembering(
    make_world: MakeWorld, *metrics: dict[str, Any], **settings: Any
) -> tuple[World, RememberingPoller]:
    source = {"type": "prometheus", "url": "http://prom.invalid", "interval": "5s", **settings}
    world = make_world(monitoring={"sources": {"prom": source}})
    poller = RememberingPoller("prom")
    world.pollers["prom"] = poller
    metrics = metrics or (metric("latency"),)
    world.define(contract(metrics=[{"source": "prom", "query": "l", **each} for each in metrics], **PERIOD))
    return world, poller


def unknown_ms(world: World) -> int:
    """Of what is settled."""
    found: int = world.metric()["account"]["unknown_ms"]
    return found


def settled_ms(world: World) -> int:
    account = world.metric()["account"]
    found: int = account["known_ms"] + account["unknown_ms"]
    return found


def test_an_outage_of_the_source_leaves_no_window_unknown(make_world: MakeWorld) -> None:
    world, poller = remembering(make_world)
    world.pass_time(5 * MINUTE_MS)
    poller.error = ConnectionError("refused")
    world.pass_time(20 * MINUTE_MS)
    assert world.metric()["state"] == "source_error"
    assert settled_ms(world) <= 5 * MINUTE_MS  # what is missing waits
    poller.error = None
    world.pass_time(MINUTE_MS)
    assert world.metric()["state"] == "ok"
    assert settled_ms(world) >= 25 * MINUTE_MS
    assert unknown_ms(world) == 0
    assert len(poller.fetched) == 1
    assert (world.metric()["samples_late"], world.metric()["samples_duplicate"]) == (0, 0)


def test_a_cell_that_was_down_asks_what_was_meanwhile(make_world: MakeWorld) -> None:
    world, poller = remembering(make_world)
    world.pass_time(5 * MINUTE_MS)
    world.clock.advance(20 * MINUTE_MS)
    world.restart()
    world.pass_time(MINUTE_MS)
    assert settled_ms(world) >= 25 * MINUTE_MS
    assert unknown_ms(world) == 0
    assert [list(gaps) for gaps in poller.fetched] == [["monitor:api:latency"]]


def test_a_crash_in_the_middle_of_catching_up_loses_nothing(make_world: MakeWorld) -> None:
    world, _poller = remembering(make_world)
    world.pass_time(5 * MINUTE_MS)
    world.clock.advance(20 * MINUTE_MS)
    world.restart()
    world.turn()
    world.executor.run()  # the live values are there, the past is being asked for
    world.turn()
    world.restart()
    world.pass_time(MINUTE_MS)
    assert unknown_ms(world) == 0


def test_a_restart_without_a_gap_fetches_nothing(make_world: MakeWorld) -> None:
    world, poller = remembering(make_world)
    world.pass_time(MINUTE_MS)
    world.restart()
    world.pass_time(MINUTE_MS)
    assert poller.fetched == []
    assert unknown_ms(world) == 0
    assert settled_ms(world) >= 90 * SECOND_MS


def test_a_violation_within_the_gap_is_opened_at_its_own_time(make_world: MakeWorld) -> None:
    world, poller = remembering(make_world)
    bad_ms = NOW_MS + 10 * MINUTE_MS
    poller.past = lambda at_ms: CRITICAL if bad_ms <= at_ms < bad_ms + MINUTE_MS else GOOD
    world.pass_time(5 * MINUTE_MS)
    poller.error = ConnectionError("refused")
    world.pass_time(20 * MINUTE_MS)
    poller.error = None
    world.pass_time(MINUTE_MS)
    [violation] = world.violations(resolved=True)
    assert bad_ms <= violation["start_time"] < bad_ms + 10 * SECOND_MS
    assert violation["status"] == "resolved"
    assert world.metric()["account"]["bad_ms"] >= MINUTE_MS


def test_what_lies_further_back_than_catch_up_is_unknown(make_world: MakeWorld) -> None:
    world, poller = remembering(make_world, catch_up="10m")
    world.pass_time(5 * MINUTE_MS)
    poller.error = ConnectionError("refused")
    world.pass_time(30 * MINUTE_MS)
    poller.error = None
    world.pass_time(MINUTE_MS)
    assert 19 * MINUTE_MS <= unknown_ms(world) <= 20 * MINUTE_MS
    assert world.metric()["samples_late"] == 0


def test_with_catch_up_off_nothing_waits_and_nothing_is_fetched(make_world: MakeWorld) -> None:
    world, poller = remembering(make_world, catch_up=0)
    world.pass_time(5 * MINUTE_MS)
    poller.error = ConnectionError("refused")
    world.pass_time(20 * MINUTE_MS)
    poller.error = None
    world.pass_time(MINUTE_MS)
    assert poller.fetched == []
    assert unknown_ms(world) >= 19 * MINUTE_MS


def test_time_the_source_itself_knows_nothing_of_stays_an_error_of_the_source(make_world: MakeWorld) -> None:
    world, poller = remembering(make_world, metric("latency", no_data="bad"))
    world.pass_time(5 * MINUTE_MS)
    down_ms = NOW_MS + 5 * MINUTE_MS
    poller.past = lambda at_ms: None if at_ms < down_ms + 10 * MINUTE_MS else GOOD
    poller.error = ConnectionError("refused")
    world.pass_time(20 * MINUTE_MS)
    poller.error = None
    world.pass_time(MINUTE_MS)
    assert 9 * MINUTE_MS <= unknown_ms(world) <= 10 * MINUTE_MS
    assert world.metric()["account"]["bad_ms"] == 0


def test_a_range_that_cannot_be_fetched_is_given_up_and_the_present_goes_on(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world, poller = remembering(make_world)
    world.pass_time(5 * MINUTE_MS)
    poller.error = ConnectionError("refused")
    world.pass_time(10 * MINUTE_MS)
    poller.error, poller.fetch_error = None, "too many samples"
    with caplog.at_level(logging.WARNING, "slakeeper.source"):
        world.pass_time(2 * MINUTE_MS)
    assert len(poller.fetched) == TRIES
    assert "what monitor:api:latency has missed is given up: too many samples" in caplog.text
    assert world.metric()["state"] == "ok"
    assert settled_ms(world) >= 16 * MINUTE_MS


def test_a_long_gap_is_fetched_in_rounds_of_a_bounded_size(make_world: MakeWorld) -> None:
    names = [f"m{number}" for number in range(12)]
    world, poller = remembering(
        make_world, *(metric(name, weight=0.05) for name in names), catch_up="6h", interval="5s"
    )
    world.pass_time(MINUTE_MS)
    world.clock.advance(5 * HOUR_MS)
    world.restart()
    world.pass_time(MINUTE_MS)
    for gaps in poller.fetched:
        counts = [(gap.to_ms - gap.from_ms) // (5 * SECOND_MS) + 1 for gap in gaps.values()]
        assert max(counts) <= SAMPLES_A_GAP
        assert sum(counts) < SAMPLES_A_ROUND + SAMPLES_A_GAP
    assert len(poller.fetched) == 3
    for name in names:
        assert world.metric(name)["account"]["unknown_ms"] == 0
        assert world.metric(name)["state"] == "ok"


def test_an_answer_without_a_value_is_silence_that_no_data_decides(make_world: MakeWorld) -> None:
    world, poller = remembering(make_world, metric("latency", no_data="bad"))
    world.pass_time(5 * MINUTE_MS)
    poller.is_silent = True
    world.pass_time(5 * MINUTE_MS)
    row = world.metric()
    assert row["state"] == "no_data"
    assert row["reason"] == "no data"
    assert row["account"]["bad_ms"] >= 4 * MINUTE_MS
    assert world.request("status")["sources_failing"] == {}


def test_silence_after_an_error_ends_the_error(make_world: MakeWorld) -> None:
    world, poller = remembering(make_world, metric("latency", no_data="bad"))
    world.pass_time(MINUTE_MS)
    poller.error = ConnectionError("refused")
    world.pass_time(5 * MINUTE_MS)
    poller.error, poller.is_silent = None, True
    poller.past = lambda at_ms: None
    world.pass_time(5 * MINUTE_MS)
    account = world.metric()["account"]
    assert world.metric()["state"] == "no_data"
    assert account["unknown_ms"] <= 6 * MINUTE_MS
    assert account["bad_ms"] >= 4 * MINUTE_MS


def test_a_long_failure_is_one_event(make_world: MakeWorld) -> None:
    world, poller = remembering(make_world)
    world.pass_time(MINUTE_MS)
    poller.error = ConnectionError("refused")
    world.pass_time(10 * SECOND_MS)
    assert world.partition is not None
    before = world.partition.seq
    world.pass_time(20 * SECOND_MS)
    assert world.partition.seq == before


def test_how_a_source_does_is_shown(make_world: MakeWorld) -> None:
    world, poller = remembering(make_world)
    world.pass_time(MINUTE_MS)
    [source] = world.request("status")["sources"]
    assert (source["name"], source["type"], source["metrics"], source["failing"]) == (
        "prom", "prometheus", 1, "",
    )  # fmt: skip
    assert (source["failing_since_ms"], source["state"], source["failures"]) == (None, "ok", 0)
    failed_ms = world.now_ms + 5 * SECOND_MS
    poller.error = ConnectionError("refused")
    world.pass_time(30 * SECOND_MS)
    [source] = world.request("status")["sources"]
    assert (source["state"], source["failing"], source["failing_metrics"]) == ("failing", "refused", 1)
    assert (source["failures"], source["last_error"]) == (6, "refused")
    assert source["failing_since_ms"] == failed_ms
    assert source["catching_up"] == 1
