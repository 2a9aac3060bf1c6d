"""Approved entries go to billing, are settled by being taken, and are asked for once by whoever looks at the id."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slakeeper.actors.address import ledger_address
from slakeeper.actors.environment import open_environment
from slakeeper.actors.message import BookViolation
from slakeeper.integrations.channel import DeliveryError
from slakeeper.integrations.log import LogSender
from slakeeper.otp.actor import RequestError
from slakeeper.sla.monitoring import MonitoringPolicy
from slakeeper.sla.policy import BILLING
from tests.unit.actors.cell_world import (
    CRITICAL,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    NOW_MS,
    SECOND_MS,
    FakeSender,
    World,
    enforcement,
)
from tests.unit.actors.test_audit import entries

MakeWorld = Callable[..., World]

PENDING = [{"metric": "latency", "formula": "5"}]
APPROVE = {"approve": True, "by": "ann", "reason": "agreed"}


def billed(world: World, failures: list[Exception] | None = None, **how: Any) -> World:
    """Gives a world a billing system, which fails so often first."""
    world.senders[BILLING] = FakeSender(world, BILLING, failures=failures or [], **how)
    return world


def down(count: int, **how: Any) -> list[Exception]:
    return [DeliveryError("answered 502", **{"retryable": True, **how}) for _ in range(count)]


def pending(world: World) -> dict[str, Any]:
    """The entry of a violation that has ended; it waits for a decision."""
    world.define(compensation=PENDING)
    world.observe(CRITICAL)
    world.recover()
    [entry] = world.ledger()
    assert entry["status"] == "pending"
    return entry


def approved(world: World) -> dict[str, Any]:
    entry: dict[str, Any] = world.request("compensation.decide", id=pending(world)["id"], **APPROVE)
    return entry


def entry_of(world: World) -> dict[str, Any]:
    [entry] = world.ledger()
    return entry


def noted(world: World) -> list[tuple[str, str]]:
    """What the audit chain has about the ledger: what, and by whom."""
    return [
        (each["what"], each["who"]) for each in entries(world) if each["what"].startswith("compensation.")
    ]


def settle(world: World, entry: dict[str, Any], **changes: str) -> dict[str, Any]:
    said = {"id": entry["id"], "by": "bob", "reason": "credit note 7", **changes}
    settled: dict[str, Any] = world.request("compensation.settle", **said)
    return settled


def test_an_entry_is_sent_when_it_is_approved_and_settled_by_being_taken(make_world: MakeWorld) -> None:
    world = billed(make_world())
    entry = approved(world)
    assert world.told("billing") == []
    world.settle()
    [bill] = world.told("billing")
    assert (bill.id, bill.details) == (entry["id"], entry)
    settled = entry_of(world)
    assert (settled["status"], settled["amount"]) == ("settled", entry["amount"])
    assert (settled["settled_by"], settled["settled_time"], settled["settlement"]) == (
        "slakeeper", world.now_ms, "taken",
    )  # fmt: skip
    assert (settled["decided_by"], settled["reason"]) == ("ann", "agreed")
    assert noted(world)[-2:] == [("compensation.approved", "ann"), ("compensation.settled", "slakeeper")]
    assert "compensation.settled" in world.topics()
    world.restart()
    world.settle()
    assert (len(world.told("billing")), entry_of(world)) == (1, settled)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_what_is_due_once_more_is_booked_and_sent_once(make_world: MakeWorld, is_restarted: bool) -> None:
    world = billed(make_world())
    approved(world)
    world.settle()
    settled, before = entry_of(world), noted(world)
    assert world.partition is not None
    ledger = ledger_address(settled["sla_id"])
    said = [world.host.codec.decode(each) for each in world.partition.records[ledger].tail]
    [ended] = [each for each in said if isinstance(each, BookViolation)]
    world.host.entrust("p000", ledger, ended)
    world.settle()
    if is_restarted:
        world.restart()
        world.settle()
    assert (entry_of(world), noted(world), len(world.told("billing"))) == (settled, before, 1)
    world.host.snapshot(world.partition)
    base = world.partition.records[ledger].base
    assert base is not None
    assert world.host.codec.decode(base.read()).due == ()  # nothing is kept of what was booked


def test_what_is_approved_by_itself_is_sent_too_and_a_lost_period(make_world: MakeWorld) -> None:
    world = billed(make_world())
    world.define(penalties=[{"threshold": 99, "type": "refund", "rate": 10}], fee="100.00")
    world.observe(CRITICAL)
    world.recover()
    assert entry_of(world)["status"] == "settled"
    world.go_to(NOW_MS + 2 * HOUR_MS)
    penalty = next(each for each in world.ledger() if each["rule"].startswith("penalty"))
    world.request("compensation.decide", id=penalty["id"], **APPROVE)
    world.settle()
    assert {each["status"] for each in world.ledger()} == {"settled"}
    assert {each.id for each in world.told("billing")} == {each["id"] for each in world.ledger()}


def test_what_is_rejected_or_waits_is_not_sent(make_world: MakeWorld) -> None:
    world = billed(make_world())
    entry = pending(world)
    world.request("compensation.decide", id=entry["id"], **{**APPROVE, "approve": False})
    world.pass_time(HOUR_MS)
    assert (world.told("billing"), entry_of(world)["status"]) == ([], "rejected")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_any_commit_settles_it_once_and_asks_for_one_id(make_world: MakeWorld, when: Any) -> None:
    def run(world: World) -> World:
        entry = entry_of(world)

        def approve(world: World) -> None:
            if entry_of(world)["status"] == "pending":
                world.request("compensation.decide", id=entry["id"], **APPROVE)

        world.do(approve)
        world.do(World.settle)
        world.do(lambda world: world.pass_time(MINUTE_MS))
        return world

    calm = billed(make_world(), down(2))
    pending(calm)
    before = calm.commits
    for number in range(before + 1, run(calm).commits + 1):
        world = billed(make_world(), down(2))
        pending(world)
        world.crash_at = (number, when)
        run(world)
        assert entry_of(world)["status"] == "settled", f"{when} commit {number}"
        assert {each.id for each in world.told("billing")} == {entry_of(world)["id"]}
        settled = [what for what, _ in noted(world)].count("compensation.settled")
        assert settled == 1, f"{when} commit {number}"


def test_a_billing_that_is_down_for_a_night_is_caught_up_with_and_status_says_so(
    make_world: MakeWorld,
) -> None:
    world = billed(make_world(), down(22))
    approved(world)
    world.settle()
    assert world.status()["billing_failed"] == 1
    row = entry_of(world)
    assert (row["status"], row["billing"]["status"], row["billing"]["detail"]) == (
        "approved", "sending", "answered 502",
    )  # fmt: skip
    world.restart()
    world.pass_time(4 * HOUR_MS)
    assert (entry_of(world)["status"], len(world.told("billing"))) == ("approved", 0)
    world.pass_time(4 * HOUR_MS)
    assert (entry_of(world)["status"], len(world.told("billing"))) == ("settled", 1)
    assert "billing" not in entry_of(world)
    assert world.status()["billing_failed"] == 0


def test_what_billing_refuses_is_shown_and_sent_again_at_the_next_start_only(make_world: MakeWorld) -> None:
    world = billed(make_world(), down(1, retryable=False))
    approved(world)
    world.pass_time(DAY_MS)
    assert world.status()["billing_failed"] == 1
    assert (entry_of(world)["status"], entry_of(world)["billing"]["status"]) == ("approved", "failed")
    assert noted(world)[-1] == ("compensation.unbilled", "slakeeper")
    assert "billing.failed" in world.topics()
    world.restart()
    world.settle()
    assert (entry_of(world)["status"], world.status()["billing_failed"]) == ("settled", 0)


def test_what_may_have_arrived_where_nobody_looks_at_ids_is_left_to_a_person(make_world: MakeWorld) -> None:
    world = billed(
        make_world(), down(1, uncertain=True, retryable=False), idempotent=False, on_uncertain="hold"
    )
    entry = approved(world)
    world.settle()
    world.restart()
    world.pass_time(DAY_MS)
    assert world.told("billing") == []
    assert entry_of(world)["billing"]["status"] == "uncertain"
    assert settle(world, entry)["status"] == "settled"
    assert ("billing" in entry_of(world), world.status()["billing_failed"]) == (False, 0)


def test_a_crash_while_it_is_on_its_way_leaves_it_to_a_person_where_nobody_looks_at_ids(
    make_world: MakeWorld,
) -> None:
    world = billed(make_world(), idempotent=False, on_uncertain="hold")
    approved(world)
    world.turn()
    world.restart()
    world.pass_time(DAY_MS)
    assert (world.told("billing"), entry_of(world)["billing"]["status"]) == ([], "uncertain")
    assert noted(world)[-1] == ("compensation.unbilled", "slakeeper")


def test_an_entry_is_settled_by_hand_with_who_and_why(make_world: MakeWorld) -> None:
    world = make_world()
    entry = pending(world)
    for changes, code in (({}, "conflict"), ({"id": "c0"}, "not_found")):
        with pytest.raises(RequestError) as refused:
            settle(world, entry, **changes)
        assert refused.value.code == code
    world.request("compensation.decide", id=entry["id"], **APPROVE)
    for changes in ({"by": " "}, {"reason": ""}):
        with pytest.raises(RequestError) as refused:
            settle(world, entry, **changes)
        assert refused.value.code == "invalid"
    settled = settle(world, entry)
    assert (settled["status"], settled["settled_by"], settled["settlement"]) == (
        "settled", "bob", "credit note 7",
    )  # fmt: skip
    with pytest.raises(RequestError) as refused:
        settle(world, entry)
    assert (refused.value.code, refused.value.details["reason"]) == ("conflict", "already_settled")
    world.settle()
    assert noted(world)[-1] == ("compensation.settled", "bob")
    world.restart()
    assert entry_of(world) == settled


def test_what_is_on_its_way_is_not_settled_by_hand_and_what_waits_is_sent_no_more(
    make_world: MakeWorld,
) -> None:
    world = billed(make_world(), down(1))
    entry = approved(world)
    world.turn()
    with pytest.raises(RequestError) as refused:
        settle(world, entry)
    assert (refused.value.code, refused.value.details["reason"]) == ("conflict", "on_its_way")
    world.settle()
    with pytest.raises(RequestError):
        settle(world, entry, reason="")
    assert entry_of(world)["billing"]["status"] == "sending"  # a refused act changes nothing
    settle(world, entry)
    world.pass_time(DAY_MS)
    world.restart()
    world.pass_time(DAY_MS)
    assert (world.told("billing"), entry_of(world)["status"]) == ([], "settled")


def test_what_was_approved_without_billing_is_not_sent_when_there_is_one(make_world: MakeWorld) -> None:
    world = make_world()
    approved(world)
    world.settle()
    billed(world)
    world.restart()
    world.pass_time(HOUR_MS)
    assert (world.told("billing"), entry_of(world)["status"]) == ([], "approved")


def test_a_copy_that_is_held_back_settles_nothing_until_it_takes_over(make_world: MakeWorld) -> None:
    world = make_world()
    world.senders[BILLING] = LogSender(BILLING, why="is held back")  # type: ignore[assignment]
    approved(world)
    world.settle()
    assert (entry_of(world)["status"], entry_of(world)["billing"]["status"]) == ("approved", "logged")
    world.restart()
    world.settle()
    assert [what for what, _ in noted(world)].count("compensation.unbilled") == 1
    billed(world)
    world.restart()
    world.settle()
    assert (entry_of(world)["status"], len(world.told("billing"))) == ("settled", 1)


def test_a_snapshot_keeps_what_is_on_its_way(make_world: MakeWorld) -> None:
    world = billed(make_world(), down(1))
    approved(world)
    world.settle()
    assert world.partition is not None
    world.host.snapshot(world.partition)
    world.restart()
    world.pass_time(10 * SECOND_MS)
    assert entry_of(world)["status"] == "settled"


@pytest.mark.parametrize(("held", "kind"), [("", "webhook"), ("a copy", "log")])
def test_billing_is_open_as_it_is_configured(tmp_path: Path, held: str, kind: str) -> None:
    policy = enforcement(billing={"url": "http://127.0.0.1:9/credits", "secret": "s"})
    environment = open_environment(policy, MonitoringPolicy(), tmp_path, held)
    assert environment.senders[BILLING].type == kind
    assert BILLING not in open_environment(enforcement(), MonitoringPolicy(), tmp_path).senders
