"""What a monitor has said is not forgotten and is followed in its order, whoever is down or crashes meanwhile."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from slakeeper.actors.address import violation_address
from slakeeper.actors.contract import ContractActor
from slakeeper.actors.contract_book import ContractBook
from slakeeper.actors.contract_event import MetricTurned, TurnFollowed
from slakeeper.actors.message import CloseViolation
from slakeeper.actors.turn import keep_turn
from slakeeper.actors.violation import ViolationActor
from slakeeper.otp import host
from slakeeper.otp.actor import Entrusted
from slakeeper.sla.condition import Condition
from slakeeper.sla.policy import Severity
from tests.unit.actors.cell_world import CRITICAL, GOOD, MINUTE_MS, NOW_MS, SECOND_MS, World, contract, metric
from tests.unit.actors.test_failure import break_actor
from tests.unit.actors.test_lost_message import Lose, lose

MakeWorld = Callable[..., World]

CONTRACT = "contract:api"
__all__ = ["lose"]


@pytest.fixture
def swift(make_world: MakeWorld) -> World:
    """A metric that recovers with its first good window, and takes samples that are up to two minutes late."""
    world = make_world()
    world.define(metrics=[metric("latency", lateness="2m", keep_for="0s")])
    world.pass_time(MINUTE_MS)
    return world


def batch(world: World, *values: float) -> None:
    """One batch of samples fifteen seconds apart, the last of them five seconds ago."""
    last_ms = world.now_ms - 5 * SECOND_MS
    times_ms = (last_ms - 15 * SECOND_MS * back for back in reversed(range(len(values))))
    rows: list[Any] = [
        ["latency", value, at_ms, None, None] for value, at_ms in zip(values, times_ms, strict=True)
    ]
    world.request("samples", samples=rows)
    world.settle()


def ends(world: World) -> list[str]:
    return [each["status"] for each in world.violations(resolved=True)]


@pytest.mark.parametrize("times", [1, 2])
def test_a_contract_that_crashes_on_a_breach_opens_its_violation_all_the_same(
    world: World, lose: Lose, times: int
) -> None:
    lose(ContractActor, Entrusted, "handle_info", times)
    world.observe(CRITICAL)
    world.recover()
    world.pass_time(10 * SECOND_MS)
    assert world.host.counts["crashes"] == times
    assert world.violation()["status"] == "resolved"
    assert [entry["rule"] for entry in world.ledger()] == ["latency#1"]


def test_a_breach_after_a_recovery_in_one_batch_is_a_violation_of_its_own(swift: World) -> None:
    batch(swift, CRITICAL, GOOD, CRITICAL)
    assert ends(swift) == ["resolved", "open"]
    swift.pass_time(15 * SECOND_MS)
    swift.observe(GOOD)
    assert ends(swift) == ["resolved", "resolved"]
    assert len(swift.ledger()) == 2


def test_what_got_worse_before_it_recovered_in_one_batch_counts(swift: World) -> None:
    batch(swift, 260.0, CRITICAL, GOOD)
    assert (swift.violation()["severity"], swift.violation()["worst_value"]) == ("critical", CRITICAL)


@pytest.mark.parametrize("how", ["resumed", "restarted"])
def test_a_contract_that_was_down_all_along_opens_each_violation_afterwards(swift: World, how: str) -> None:
    swift.request("actor.suspend", address=CONTRACT)
    batch(swift, CRITICAL, GOOD, CRITICAL, GOOD)
    if how == "restarted":  # whatever waited in memory is lost
        swift.restart()
    else:
        swift.request("actor.resume", address=CONTRACT)
    swift.pass_time(5 * SECOND_MS)
    assert ends(swift) == ["resolved", "resolved"]
    assert len(swift.ledger()) == 2


def test_a_violation_that_crashes_on_its_end_keeps_the_next_one_waiting_and_not_for_ever(
    swift: World, lose: Lose
) -> None:
    lose(ViolationActor, CloseViolation)
    batch(swift, CRITICAL, GOOD, CRITICAL)
    swift.pass_time(5 * SECOND_MS)
    assert ends(swift) == ["resolved", "open"]


def test_what_has_not_been_followed_is_in_a_snapshot(swift: World) -> None:
    swift.request("actor.suspend", address=CONTRACT)
    batch(swift, CRITICAL, GOOD)
    partition = swift.partition
    assert partition is not None
    swift.host.snapshot(partition)
    swift.restart()
    swift.pass_time(5 * SECOND_MS)
    assert ends(swift) == ["resolved"]


def worsen(world: World, value: float) -> None:
    """A sample after all before it have left the window."""
    world.pass_time(15 * SECOND_MS)
    world.observe(value)


def test_a_worse_value_counts_though_its_violation_crashes_on_it(swift: World, lose: Lose) -> None:
    swift.observe(260.0)
    lose(ViolationActor, Entrusted, "handle_info")
    worsen(swift, CRITICAL)
    worsen(swift, 270.0)
    swift.pass_time(5 * SECOND_MS)
    assert swift.host.counts["crashes"] == 1
    assert (swift.violation()["severity"], swift.violation()["worst_value"]) == ("critical", CRITICAL)


@pytest.mark.parametrize("how", ["resumed", "restarted"])
@pytest.mark.parametrize("is_over", [False, True])
def test_a_worse_value_counts_though_its_violation_was_down(swift: World, how: str, is_over: bool) -> None:
    swift.observe(260.0)
    address = violation_address(swift.violation()["id"])
    swift.request("actor.suspend", address=address)
    worsen(swift, CRITICAL)
    if is_over:
        swift.recover()
    if how == "restarted":  # whatever waited in memory is lost
        swift.restart()
    else:
        swift.request("actor.resume", address=address)
    swift.pass_time(5 * SECOND_MS)
    assert (swift.violation()["severity"], swift.violation()["worst_value"]) == ("critical", CRITICAL)
    assert swift.violation()["status"] == ("resolved" if is_over else "open")


def test_what_a_violation_has_not_followed_is_part_of_its_end_by_an_operator(
    swift: World, lose: Lose
) -> None:
    swift.observe(260.0)
    lose(ViolationActor, Entrusted, "handle_info")
    worsen(swift, CRITICAL)
    swift.request("violation.resolve", id=swift.violation()["id"], by="ann", note="off")
    assert (swift.violation()["severity"], swift.violation()["worst_value"]) == ("critical", CRITICAL)


def test_what_a_violation_has_not_followed_is_in_a_snapshot(swift: World) -> None:
    swift.observe(260.0)
    swift.request("actor.suspend", address=violation_address(swift.violation()["id"]))
    worsen(swift, CRITICAL)
    partition = swift.partition
    assert partition is not None
    swift.host.snapshot(partition)
    swift.restart()
    swift.pass_time(5 * SECOND_MS)
    assert swift.violation()["worst_value"] == CRITICAL


@pytest.mark.parametrize("who", ["contract", "violation"])
def test_what_waits_for_one_in_quarantine_is_bounded_and_says_how_bad_it_was(
    swift: World, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    monkeypatch.setattr(host, "MAX_TAIL_OF_ONE_DOWN", 20)
    partition = swift.partition
    assert partition is not None
    if who == "violation":
        swift.observe(260.0)
    address = CONTRACT if who == "contract" else violation_address(swift.violation()["id"])
    break_actor(swift, address)
    assert swift.actor_status(address) == "quarantined"
    sizes, bases = [], []
    for turn in range(50):
        worsen(swift, CRITICAL if turn == 30 else 261.0 + turn / 100)
        sizes.append(len(partition.records[address].tail))
        if turn % 10 == 9:
            swift.host.snapshot(partition)
            base = partition.records[address].base
            bases.append(0 if base is None else len(base.read()))
    assert max(sizes) < 30, sizes
    assert bases[-1] < bases[1] + 50, bases
    assert len(partition.records[address].tail) < 20
    swift.restart()
    swift.request("actor.resume", address=address)
    swift.pass_time(5 * SECOND_MS)
    found = swift.violation()
    assert (found["worst_value"], found["actual_value"]) == (CRITICAL, 261.49)


def row(*said: tuple[float, Severity | None] | str) -> list[MetricTurned]:
    """What waits after a metric has said this; a text is another metric, which is broken."""
    turns: list[MetricTurned] = []
    for at_ms, each in enumerate(said):
        name, (value, severity) = (each, (1.0, Severity.INFO)) if isinstance(each, str) else ("latency", each)
        keep_turn(turns, MetricTurned(name, at_ms, value, severity), Condition.LT, Decimal(100))
    return turns


def test_of_a_row_the_first_the_worst_and_the_latest_are_kept() -> None:
    info, critical = Severity.INFO, Severity.CRITICAL
    kept = row((110, info), (120, critical), (150, info), (130, info), "queue", (140, info))
    said = [(turn.metric_name, turn.at_ms, turn.value, turn.severity) for turn in kept]
    assert said == [
        ("latency", 0, 110, info), ("latency", 2, 150, critical), ("queue", 4, 1.0, info), ("latency", 5, 140, info),
    ]  # fmt: skip


def test_a_recovery_is_never_let_go_and_begins_another_row() -> None:
    broken, well = (120.0, Severity.INFO), (90.0, None)
    assert [turn.at_ms for turn in row(broken, well, broken, well, broken, broken, broken, broken, well)] == [
        0, 1, 2, 3, 4, 5, 7, 8,
    ]  # fmt: skip


def test_more_that_was_followed_than_is_kept_does_no_harm() -> None:
    """A program that kept every turn has followed every one."""
    book = ContractBook(contract(), NOW_MS, 1)
    turned = [MetricTurned("latency", at_ms, 300.0, Severity.INFO) for at_ms in range(5)]
    for event in (*turned, *5 * [TurnFollowed("latency")]):
        book.apply(event)
    assert book.turned == []
