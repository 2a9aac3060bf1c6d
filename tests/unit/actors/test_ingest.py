"""Samples into a cell: each is judged by itself, a batch counts once."""

from collections.abc import Callable
from typing import Any

import pytest

from slakeeper.actors.ingest import REMEMBERED_BATCHES, Ingest, IngestActor
from slakeeper.otp.actor import RequestError
from slakeeper.otp.host import HalfDone
from tests.unit.actors.cell_world import CRITICAL, DAY_MS, GOOD, MINUTE_MS, SECOND_MS, World, contract, metric

MakeWorld = Callable[..., World]


def send(
    world: World, *rows: list[Any], batch_id: str | None = None
) -> tuple[list[int], list[tuple[int, str]]]:
    reply = world.request(
        "samples", samples=[[*row, None, None, None][:5] for row in rows], batch_id=batch_id
    )
    world.settle()
    return reply["accepted"], reply["rejected"]


def test_good_samples_of_a_batch_are_kept_and_bad_ones_named(world: World) -> None:
    now = world.now_ms
    accepted, rejected = send(
        world,
        ["latency", GOOD],
        ["latency", float("nan")],
        ["latency", float("inf")],
        ["latency", True],
        ["latency", "100"],
        ["latency", GOOD, now + 2 * MINUTE_MS],
        ["latency", GOOD, -1],
        ["latency", GOOD, now - 500 * DAY_MS],
        ["latency", GOOD, 1.5],
        ["speed", GOOD],
        ["latency", GOOD, None, "other"],
        ["latency", 10**400],
    )
    assert accepted == [0]
    assert [reason for _, reason in rejected] == [
        "not_finite", "not_finite", "not_a_number", "not_a_number", "future", "negative_time", "too_old",
        "not_an_instant", "unknown_metric", "unknown_sla", "not_finite",
    ]  # fmt: skip
    assert world.metric()["samples_accepted"] == 1


def test_a_sample_without_a_contract_goes_to_every_one_that_has_the_metric(make_world: MakeWorld) -> None:
    world = make_world()
    for name in ("a", "b", "c"):
        world.define(
            contract(id=name, compensation=[], metrics=[metric("latency" if name != "c" else "queue")])
        )
    assert send(world, ["latency", CRITICAL]) == ([0], [])
    assert [row["sla_id"] for row in world.violations()] == ["a", "b"] or {
        row["sla_id"] for row in world.violations()
    } == {"a", "b"}
    send(world, ["latency", CRITICAL, None, "a"])
    assert world.metric("latency", "a")["samples_accepted"] == 2
    assert world.metric("latency", "b")["samples_accepted"] == 1


def test_labels_choose_among_metrics_and_further_labels_do_no_harm(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(metrics=[metric("latency", labels={"region": "eu"})])
    eu, us = {"region": "eu", "host": "a"}, {"region": "us"}
    accepted, rejected = send(
        world, ["latency", GOOD, None, None, eu], ["latency", GOOD, None, None, us], ["latency", GOOD]
    )
    assert accepted == [0]
    assert rejected == [(1, "labels_do_not_match"), (2, "labels_do_not_match")]


def test_a_metric_without_labels_takes_samples_with_any(world: World) -> None:
    assert send(world, ["latency", GOOD, None, None, {"region": "eu"}]) == ([0], [])


def test_a_late_sample_is_counted_and_not_lost_in_silence(world: World) -> None:
    world.observe(GOOD)
    world.pass_time(5 * MINUTE_MS)
    accepted, _ = send(world, ["latency", CRITICAL, world.now_ms - 4 * MINUTE_MS])
    assert accepted == [0]
    assert (world.metric()["samples_accepted"], world.metric()["samples_late"]) == (1, 1)
    assert world.violations() == []


def test_a_sample_within_the_lateness_still_counts(world: World) -> None:
    world.pass_time(15 * SECOND_MS)
    send(world, ["latency", GOOD, world.now_ms - 10 * SECOND_MS])
    assert world.metric()["samples_accepted"] == 1


def test_a_batch_sent_again_is_answered_the_same_and_counted_as_duplicates(world: World) -> None:
    rows = [["latency", GOOD], ["speed", 1]]
    assert (
        send(world, *rows, batch_id="b1")
        == send(world, *rows, batch_id="b1")
        == ([0], [(1, "unknown_metric")])
    )
    assert (world.metric()["samples_accepted"], world.metric()["samples_duplicate"]) == (1, 1)


def test_a_batch_is_known_again_after_a_snapshot_and_a_restart(world: World) -> None:
    send(world, ["latency", GOOD], batch_id="b1")
    assert world.partition is not None
    world.host.snapshot(world.partition)
    world.restart()
    send(world, ["latency", GOOD], batch_id="b1")
    assert world.metric()["samples_accepted"] == 1


def test_batches_without_an_id_or_with_other_ids_are_other_batches(world: World) -> None:
    for batch_id in (None, None, "b1", "b2"):
        send(world, ["latency", GOOD], batch_id=batch_id)
    assert world.metric()["samples_accepted"] == 4


def in_one_turn(world: World, *payloads: Any) -> list[Any]:
    """What is answered to batches that came together; a refusal as its code."""
    assert world.partition is not None
    partition = world.partition
    world.host.begin_turn()
    answers = Ingest(lambda sla_id: partition).take_all(world.host, payloads)
    world.host.drain()
    world.host.commit()
    return [each.code if isinstance(each, RequestError) else each for each in answers]


def batch(batch_id: str | None, *rows: list[Any]) -> dict[str, Any]:
    return {"samples": [[*row, None, None, None][:5] for row in rows], "batch_id": batch_id}


def test_batches_of_one_turn_are_answered_as_one_after_the_other_would_be(make_world: MakeWorld) -> None:
    now = make_world().now_ms
    payloads = [
        batch("b1", ["latency", GOOD], ["speed", GOOD], ["queue", CRITICAL, now - 1]),
        batch(None, ["queue", GOOD], ["latency", float("nan")]),
        {"samples": "abc"},
        batch("b1", ["latency", GOOD], ["speed", GOOD], ["queue", CRITICAL, now - 1]),
        batch("b2", ["latency", CRITICAL, now + 1, "api"], ["latency", GOOD, now - 2, "other"]),
        batch(None),
        {"samples": [["latency"]]},
        batch("b3", ["queue", GOOD, now + 2]),
    ]
    answers, standings = [], []
    for take in (in_one_turn, lambda world, *rest: [in_one_turn(world, each)[0] for each in rest]):
        world = make_world()
        world.define(metrics=[metric("latency"), metric("queue")], compensation=[])
        world.define(contract(id="b", metrics=[metric("latency")], compensation=[]))
        answers.append(take(world, *payloads))
        shown = [world.metric("latency"), world.metric("queue"), world.metric("latency", "b")]
        standings.append((shown, [row["id"] for row in world.violations()]))
    assert answers[0] == answers[1]
    assert standings[0] == standings[1]
    assert [row["samples_duplicate"] for row in standings[0][0]] == [1, 1, 1]


def test_a_turn_that_cannot_hand_on_what_it_noted_is_the_end_of_the_host_and_leaves_the_next_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.partition is not None
    partition = world.partition
    ingest = Ingest(lambda sla_id: partition)

    def fail(*_: Any) -> None:
        raise ValueError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(world.host, "hand", fail)
        with pytest.raises(HalfDone):
            ingest.take_all(world.host, [batch(None, ["latency", GOOD], ["latency", GOOD])])
    ingest.take_all(world.host, [batch(None, ["latency", GOOD])])
    assert world.metric()["samples_accepted"] == 1


def test_a_metric_that_goes_to_another_contract_is_found_there(world: World) -> None:
    send(world, ["latency", GOOD])
    world.define(contract(id="b", metrics=[metric("latency"), metric("queue")], compensation=[]))
    assert send(world, ["latency", GOOD], ["queue", GOOD]) == ([0, 1], [])
    world.define(contract(id="b", metrics=[metric("queue")], compensation=[]))
    send(world, ["latency", GOOD])
    counted = [world.metric()["samples_accepted"], world.metric("queue", "b")["samples_accepted"]]
    assert counted == [3, 1]


def test_a_monitor_gets_all_of_a_turns_batches_in_one_message(world: World) -> None:
    handled = world.host.inspector.describe("monitor:api:latency")["messages_handled"]
    in_one_turn(world, *(batch(f"b{number}", ["latency", GOOD]) for number in range(5)))
    described = world.host.inspector.describe("monitor:api:latency")
    assert described["messages_handled"] == handled + 1
    assert world.metric()["samples_accepted"] == 5


def test_only_so_many_batches_are_remembered() -> None:
    actor = IngestActor("ingest:p", None)
    for key in range(REMEMBERED_BATCHES + 10):
        actor.apply(key)
    again = IngestActor("ingest:p", None)
    again.load(actor.dump())
    assert again.dump() == tuple(range(10, REMEMBERED_BATCHES + 10))


def test_a_sample_of_now_gets_the_cells_time(world: World) -> None:
    send(world, ["latency", CRITICAL])
    assert world.violation()["start_time"] == world.now_ms


@pytest.mark.parametrize(
    "payload",
    [
        None, [], "samples", {}, {"samples": None}, {"samples": "abc"}, {"samples": [1]}, {"samples": [[]]},
        {"samples": [["latency", 1]]}, {"samples": [[["latency"], 1, None, None, None]]},
        {"samples": [[{}, 1, None, None, None]]}, {"samples": [], "batch_id": 7}, {"samples": {"a": 1}},
    ],
)  # fmt: skip
def test_a_payload_of_another_form_is_refused_as_a_whole(world: World, payload: Any) -> None:
    with pytest.raises(RequestError) as caught:
        world.raw_request("samples", payload)
    assert caught.value.code == "invalid"
    assert world.metric()["samples_accepted"] == 0


def test_an_empty_batch_is_taken(world: World) -> None:
    assert send(world, batch_id="b1") == ([], [])


def test_the_catalog_says_what_is_wanted_and_when_it_has_not_changed(world: World) -> None:
    catalog = world.request("catalog")
    assert (catalog["metrics"], catalog["slas"]) == ({"latency": ["api"]}, ["api"])
    assert world.request("catalog", version=catalog["version"]) == {"version": catalog["version"]}
    world.define(contract(id="b", metrics=[metric("queue")], compensation=[]))
    assert world.request("catalog", version=catalog["version"])["slas"] == ["api", "b"]
    before = world.request("catalog")["version"]
    world.restart()
    assert "metrics" in world.request("catalog", version=before)


def test_a_sample_for_a_monitor_that_is_down_is_refused_rather_than_kept_in_memory(world: World) -> None:
    world.host.inspector.suspend("monitor:api:latency")
    assert send(world, ["latency", GOOD]) == ([], [(0, "monitor_down")])
    world.host.inspector.resume("monitor:api:latency")
    assert send(world, ["latency", GOOD]) == ([0], [])


@pytest.mark.parametrize(("batch_id", "is_restarted"), [("b1", False), ("b1", True), (None, False)])
def test_a_sample_that_one_of_two_contracts_could_not_take_is_not_called_accepted(
    make_world: MakeWorld, batch_id: str | None, is_restarted: bool
) -> None:
    world = make_world()
    for name in ("a", "b"):
        world.define(contract(id=name, compensation=[], metrics=[metric("latency")]))
    world.host.inspector.suspend("monitor:b:latency")
    rows = (["latency", GOOD], ["latency", GOOD, None, "a"])
    assert send(world, *rows, batch_id=batch_id) == ([1], [(0, "monitor_down")])
    world.host.inspector.resume("monitor:b:latency")
    assert [world.metric("latency", name)["samples_accepted"] for name in ("a", "b")] == [2, 0]
    if is_restarted:
        assert world.partition is not None
        world.host.snapshot(world.partition)
        world.restart()
    if batch_id is not None:
        assert send(world, *rows, batch_id=batch_id) == ([0, 1], [])
        assert [world.metric("latency", name)["samples_accepted"] for name in ("a", "b")] == [2, 1]
