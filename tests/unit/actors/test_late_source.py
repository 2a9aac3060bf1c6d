"""A source that is asked too late, answers too late or not at all: what is missing waits for it, and it is said."""

import logging
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from slakeeper.actors.source import INTERVALS_TO_ANSWER
from tests.unit.actors.cell_world import (
    MINUTE_MS,
    SECOND_MS,
    FakePoller,
    RememberingPoller,
    World,
    contract,
    metric,
)

MakeWorld = Callable[..., World]

EVERY_MS, TIMEOUT_MS = 5 * SECOND_MS, 10 * SECOND_MS
SOURCE = {"type": "prometheus", "url": "http://prom.invalid", "interval": "5s", "timeout": "10s"}
ADDRESS = "source:prom@cell-0"


def watched(
    make_world: MakeWorld, *metrics: dict[str, Any], **settings: Any
) -> tuple[World, RememberingPoller]:
    world = make_world(monitoring={"sources": {"prom": {**SOURCE, **settings}}})
    poller = RememberingPoller("prom")
    world.pollers["prom"] = poller
    metrics = metrics or (metric("latency", interval="5s"),)
    bound = [{"source": "prom", "query": each["name"], **each} for each in metrics]
    world.define(contract(metrics=bound, time_period="7d", compensation=[]))
    world.pass_time(MINUTE_MS)
    return world, poller


def pass_as(
    world: World, poller: FakePoller, by_ms: int, took_ms: Callable[[], int], step_ms: Callable[[], int]
) -> None:
    """Time in which answers take ``took_ms`` and say what was true when they were asked for; turns: ``step_ms``."""
    on_their_way: list[tuple[int, Callable[[Any, BaseException | None], None], Any]] = []
    until_ms = world.now_ms + by_ms
    while world.now_ms < until_ms:
        world.turn()
        asked, world.executor.waiting = world.executor.waiting, []
        poller.ts_ms = world.now_ms
        on_their_way += [(world.now_ms + took_ms(), done, ask()) for _, ask, done in asked]
        for due_ms, done, answer in [each for each in on_their_way if each[0] <= world.now_ms]:
            on_their_way.remove((due_ms, done, answer))
            done(answer, None)
        world.turn()
        world.clock.advance(step_ms())
    poller.ts_ms = None
    for _, done, answer in on_their_way:
        done(answer, None)


def pass_slowly(world: World, poller: FakePoller, by_ms: int, took_ms: int) -> None:
    """The same with answers that all take as long, and no standstill."""
    pass_as(world, poller, by_ms, lambda: took_ms, lambda: SECOND_MS)


def hang(world: World, by_ms: int) -> None:
    """Time in which nothing that was asked comes back."""
    for _ in range(0, by_ms, SECOND_MS):
        world.turn()
        world.clock.advance(SECOND_MS)
    world.turn()


def account(world: World, name: str = "latency") -> dict[str, int]:
    found: dict[str, int] = world.metric(name)["account"]
    return found


def unknown_ms(world: World) -> int:
    """But for the first window of a new contract, in which its source was not asked for it yet."""
    return account(world)["unknown_ms"] - EVERY_MS


def source(world: World) -> dict[str, Any]:
    [found] = world.request("status")["sources"]
    row: dict[str, Any] = found
    return row


# -- asked, and answered too slowly -----------------------------------------------------------------------------


@pytest.mark.parametrize("took_ms", [6 * SECOND_MS, 8 * SECOND_MS])
@pytest.mark.parametrize("no_data", ["unknown", "bad"])
@pytest.mark.parametrize("shift_ms", [0, 2 * SECOND_MS, 4 * SECOND_MS])
def test_a_poll_that_is_slow_but_answers_leaves_no_window_unknown(
    make_world: MakeWorld, took_ms: int, no_data: str, shift_ms: int
) -> None:
    world = make_world(monitoring={"sources": {"prom": SOURCE}})
    poller = world.pollers["prom"] = RememberingPoller("prom")
    world.pass_time(shift_ms)  # where its windows begin between two polls
    latency = metric("latency", interval="5s", source="prom", query="l", no_data=no_data)
    world.define(contract(metrics=[latency], time_period="7d", compensation=[]))
    world.pass_time(MINUTE_MS)
    before = account(world)
    pass_slowly(world, poller, 5 * MINUTE_MS, took_ms)
    assert source(world)["missed"] >= 25
    world.pass_time(MINUTE_MS)
    after = account(world)
    assert [after[key] - before[key] for key in ("unknown_ms", "bad_ms")] == [0, 0]
    assert after["good_ms"] - before["good_ms"] >= 6 * MINUTE_MS - TIMEOUT_MS
    assert world.metric()["samples_late"] == 0


@pytest.mark.parametrize("seed", range(12))
def test_however_irregularly_it_is_asked_and_answers_no_window_is_unknown(
    make_world: MakeWorld, seed: int
) -> None:
    chance = random.Random(seed)
    interval_ms = chance.choice([5_000, 5_000, 6_000, 7_000])
    world, poller = watched(make_world, metric("latency", interval=interval_ms, no_data="bad"))
    before = account(world)

    def took_ms() -> int:
        return chance.randrange(9_900) if chance.random() < 0.5 else chance.randrange(300)

    def step_ms() -> int:
        return SECOND_MS if chance.random() < 0.98 else chance.randrange(40_000)

    pass_as(world, poller, 3 * MINUTE_MS, took_ms, step_ms)
    world.pass_time(MINUTE_MS)
    after = account(world)
    assert [after[key] - before[key] for key in ("unknown_ms", "bad_ms")] == [0, 0]
    assert after["good_ms"] - before["good_ms"] >= 4 * MINUTE_MS - 2 * interval_ms


def test_a_source_actor_that_is_made_anew_goes_on_from_what_the_one_before_was_answered(
    make_world: MakeWorld,
) -> None:
    world, poller = watched(make_world)
    hang(world, 9 * SECOND_MS)
    world.request("actor.kill", address=ADDRESS)
    world.executor.waiting = []
    hang(world, 9 * SECOND_MS)
    world.pass_time(MINUTE_MS)
    assert unknown_ms(world) == 0
    assert poller.fetched


def test_verdicts_of_a_source_that_stays_slow_come_within_its_answers_and_not_after_catch_up(
    make_world: MakeWorld,
) -> None:
    world, poller = watched(make_world)
    pass_slowly(world, poller, 5 * MINUTE_MS, 8 * SECOND_MS)
    assert account(world)["good_ms"] >= 5 * MINUTE_MS


def test_windows_that_get_a_sample_anyway_wait_for_nothing_and_nothing_is_fetched_for_them(
    make_world: MakeWorld,
) -> None:
    world, poller = watched(make_world, metric("latency", interval="30s"))
    pass_slowly(world, poller, 5 * MINUTE_MS, 8 * SECOND_MS)
    assert poller.fetched == []
    assert "monitor:api:latency" not in world.environment.gaps
    assert account(world)["unknown_ms"] == 0


def test_only_the_metrics_are_fetched_whose_windows_would_be_lost(make_world: MakeWorld) -> None:
    world, poller = watched(
        make_world, metric("short", interval="5s", weight="0.5"), metric("long", interval="1m", weight="0.5")
    )
    pass_slowly(world, poller, MINUTE_MS, 8 * SECOND_MS)
    assert poller.fetched
    assert {address for gaps in poller.fetched for address in gaps} == {"monitor:api:short"}


def test_a_slow_server_is_asked_for_what_was_at_most_once_an_answer(make_world: MakeWorld) -> None:
    world, poller = watched(make_world)
    asked = len(poller.asked)
    pass_slowly(world, poller, 5 * MINUTE_MS, 8 * SECOND_MS)
    assert len(poller.fetched) <= len(poller.asked) - asked


def test_a_source_in_time_has_nobody_wait(make_world: MakeWorld) -> None:
    world, poller = watched(make_world)
    pass_slowly(world, poller, 5 * MINUTE_MS, 4 * SECOND_MS)
    world.pass_time(MINUTE_MS)
    assert poller.fetched == []
    assert unknown_ms(world) == 0


def test_windows_shorter_than_the_interval_are_unknown_and_cause_no_load(make_world: MakeWorld) -> None:
    world, poller = watched(make_world, metric("latency", interval="1s"))
    world.pass_time(5 * MINUTE_MS)
    assert poller.fetched == []


def test_silence_that_is_heard_too_late_is_asked_for_before_it_is_judged(make_world: MakeWorld) -> None:
    world, poller = watched(make_world, metric("latency", interval="5s", no_data="bad"))
    poller.is_silent = True
    world.pass_time(MINUTE_MS)
    bad_ms = account(world)["bad_ms"]
    assert bad_ms >= MINUTE_MS - 2 * EVERY_MS  # it was asked, and there was nothing
    pass_slowly(world, poller, MINUTE_MS, 8 * SECOND_MS)  # the past says that there was a value
    poller.is_silent = False
    world.pass_time(MINUTE_MS)
    assert account(world)["bad_ms"] <= bad_ms + 3 * EVERY_MS  # the last that it was asked for in time


# -- asked too late ---------------------------------------------------------------------------------------------


def test_a_cell_that_stood_still_counts_the_intervals_and_loses_no_window(make_world: MakeWorld) -> None:
    world, poller = watched(make_world)
    polls = source(world)["polls"]
    world.clock.advance(30 * SECOND_MS)  # every timer of this time is due at once
    world.pass_time(MINUTE_MS)
    row = source(world)
    assert row["missed"] in (5, 6)
    assert row["polls"] + row["missed"] - polls == 18
    assert unknown_ms(world) == 0
    assert len(poller.fetched) == 1


def test_a_late_tick_keeps_to_the_times_at_which_it_is_due(make_world: MakeWorld) -> None:
    world, poller = watched(make_world)
    world.clock.advance(12 * SECOND_MS)
    moments: list[int] = []
    for _ in range(20):
        before = len(poller.asked)
        world.settle()
        if len(poller.asked) > before:
            moments.append(world.now_ms)
        world.clock.advance(SECOND_MS)
    assert [after - before for before, after in pairwise(moments)] == [3_000, 5_000, 5_000, 5_000]


def test_a_source_that_nobody_asks_misses_nothing(make_world: MakeWorld) -> None:
    world = make_world(monitoring={"sources": {"prom": SOURCE}})
    world.pass_time(MINUTE_MS)
    world.clock.advance(MINUTE_MS)
    world.pass_time(MINUTE_MS)
    assert source(world)["missed"] == 0


# -- never answered ---------------------------------------------------------------------------------------------


def hosted(make_world: MakeWorld) -> tuple[World, FakePoller]:
    world = make_world(monitoring={"sources": {"host": {"type": "host", "interval": "5s"}}})
    latency = metric("latency", interval="5s", source="host", query="disk_usage:/mnt", no_data="bad")
    world.define(contract(metrics=[latency], time_period="7d", compensation=[]))
    return world, world.pollers["host"]


def test_a_source_that_never_answers_is_failing_and_its_silence_is_unknown(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world, poller = hosted(make_world)
    world.pass_time(MINUTE_MS)
    with caplog.at_level(logging.INFO, "slakeeper.source"):
        hang(world, 3 * MINUTE_MS)
        row = source(world)
        assert (row["state"], row["failing_metrics"]) == ("failing", 1)
        assert "has not answered yet" in row["failing"]
        assert world.request("status")["sources_failing"] == {"host": row["failing"]}
        assert (world.metric()["state"], world.metric()["reason"]) == ("source_error", row["failing"])
        # The first window of all, and those that went by until it was said.
        assert account(world)["bad_ms"] <= EVERY_MS + TIMEOUT_MS + INTERVALS_TO_ANSWER * EVERY_MS
        assert len(world.executor.waiting) == 1  # it is not asked again
        asked = len(poller.asked)
        world.settle()
        assert source(world)["state"] == "ok"
        assert world.metric()["state"] == "ok"
        world.pass_time(MINUTE_MS)
        assert len(poller.asked) >= asked + 12
    assert [(each.levelname, each.getMessage().partition(":")[0]) for each in caplog.records] == [
        ("WARNING", "source"), ("INFO", "source"),
    ]  # fmt: skip
    assert caplog.records[1].getMessage() == "source:host@cell-0 answers again"


def test_it_has_its_timeout_and_some_intervals_before_it_is_said_to_hang(make_world: MakeWorld) -> None:
    world, _poller = hosted(make_world)
    world.pass_time(4 * SECOND_MS)
    patience_ms = TIMEOUT_MS + INTERVALS_TO_ANSWER * EVERY_MS
    hang(world, EVERY_MS)  # asked within it
    hang(world, patience_ms - EVERY_MS)
    assert source(world)["failing"] == ""
    hang(world, 2 * EVERY_MS)
    assert source(world)["state"] == "failing"


def test_a_metric_that_is_bound_while_its_source_hangs_is_told_as_well(make_world: MakeWorld) -> None:
    world, _poller = hosted(make_world)
    hang(world, MINUTE_MS)
    bound = metric("queue", interval="5s", source="host", query="load", no_data="bad")
    world.request("sla.define", document=contract(id="b", metrics=[bound], compensation=[]))
    hang(world, MINUTE_MS)
    assert world.metric("queue", "b")["state"] == "source_error"
    assert world.metric("queue", "b")["account"]["bad_ms"] <= EVERY_MS


def test_what_hung_and_can_be_asked_what_was_leaves_no_window_unknown(make_world: MakeWorld) -> None:
    world, _poller = watched(make_world)
    hang(world, 5 * MINUTE_MS)
    assert source(world)["state"] == "failing"
    world.pass_time(MINUTE_MS)
    assert source(world)["state"] == "ok"
    assert unknown_ms(world) == 0
    assert account(world)["good_ms"] >= 6 * MINUTE_MS


# -- some ranges fail -------------------------------------------------------------------------------------------


def test_a_range_that_fails_holds_up_no_other(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"m{number}" for number in range(5)]
    world, poller = watched(make_world, *(metric(name, interval="5s", weight="0.1") for name in names))
    monkeypatch.setattr("slakeeper.actors.source.METRICS_A_ROUND", 2)
    poller.error = ConnectionError("refused")
    world.pass_time(MINUTE_MS)
    poller.error, poller.failing = None, {"m0"}
    world.pass_time(EVERY_MS)  # one answer
    fetched = [[gap.query for gap in gaps.values()] for gaps in poller.fetched]
    assert fetched == [["m0", "m1"], ["m2", "m3"], ["m4"]]


def test_a_server_that_gives_no_range_at_all_is_asked_once_an_answer(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"m{number}" for number in range(5)]
    world, poller = watched(make_world, *(metric(name, interval="5s", weight="0.1") for name in names))
    monkeypatch.setattr("slakeeper.actors.source.METRICS_A_ROUND", 2)
    poller.error = ConnectionError("refused")
    world.pass_time(MINUTE_MS)
    poller.error, poller.fetch_error = None, "boom"
    world.pass_time(2 * EVERY_MS)  # two answers
    fetched = [[gap.query for gap in gaps.values()] for gaps in poller.fetched]
    assert fetched == [["m0", "m1"], ["m2", "m3"]]


def test_what_is_given_up_again_and_again_is_said_once(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world, poller = watched(make_world)
    poller.fetch_error = "too many samples"
    with caplog.at_level(logging.WARNING, "slakeeper.source"):
        pass_slowly(world, poller, 5 * MINUTE_MS, 8 * SECOND_MS)
    assert len(caplog.records) == 1
