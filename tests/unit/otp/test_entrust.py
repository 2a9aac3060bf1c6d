"""Entrusted events: recorded for the other exactly when what the handler emitted is, whatever the other does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from slakeeper.otp import host
from slakeeper.otp.actor import ActorSpec, Entrusted, SupervisorSpec
from slakeeper.otp.backoff import Backoff
from slakeeper.otp.child_spec import Flags, Quarantine
from slakeeper.otp.context import Context
from tests.unit.otp.host_world import DurableWorld, Ledger

HEARD = "heard"


class Book(Ledger):
    """Keeps its events apart from what it hears."""

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        self.told = 0

    def handle_info(self, ctx: Context, message: Any) -> None:
        assert isinstance(message, Entrusted)
        self.told += 1

    def handle_call(self, ctx: Context, request: Any) -> Any:
        return self.told if request == "told" else super().handle_call(ctx, request)

    def apply(self, event: Any) -> None:
        if event == "poison":
            raise ValueError("an event that cannot be applied")
        super().apply(event)


class Drowsy(Book):
    passivate_after_ms: ClassVar[int] = 1_000


DELICATE = SupervisorSpec("delicate", Flags(quarantine=Quarantine(0, 60, Backoff(1, 1))))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DurableWorld]:
    made = DurableWorld(tmp_path, {"book": Book, "drowsy": Drowsy}, DELICATE)
    made.add("clerk", kind="ledger")
    made.add("book", kind="book")
    made.host.commit()
    yield made
    made.partition.close()


def decide(event: str, to: str = "book") -> Any:
    """A handler that emits and entrusts, as it goes on to do other things."""

    def handler(ctx: Context) -> None:
        ctx.emit(event)
        ctx.entrust(to, f"entry of {event}")

    return handler


def test_the_other_has_the_event_and_hears_of_it(world: DurableWorld) -> None:
    world.tell("clerk", decide("one"))
    assert world.heard("clerk") == ["one"]
    assert world.heard("book") == ["entry of one"]
    assert world.host.ask("book", "told") == 1


def test_many_in_a_turn_are_heard_of_once(world: DurableWorld) -> None:
    for number in range(5):
        world.host.cast("clerk", decide(str(number)))
    world.turn()
    assert len(world.heard("book")) == 5
    assert world.host.ask("book", "told") == 1


def test_both_are_in_one_commit(world: DurableWorld) -> None:
    before = world.partition.seq
    world.tell("clerk", decide("one"))
    assert world.partition.seq == before + 1
    world.again()
    assert (world.heard("clerk"), world.heard("book")) == (["one"], ["entry of one"])


def test_neither_is_there_when_the_process_ends_before_the_commit(world: DurableWorld) -> None:
    world.host.cast("clerk", decide("one"))
    world.host.begin_turn()
    world.host.drain()
    world.again()
    assert (world.heard("clerk"), world.heard("book")) == ([], [])


def test_a_handler_that_raises_entrusts_nothing(world: DurableWorld) -> None:
    def handler(ctx: Context) -> None:
        decide("one")(ctx)
        raise RuntimeError("after all")

    world.tell("clerk", handler)
    assert (world.heard("clerk"), world.heard("book")) == ([], [])


def test_one_that_is_suspended_is_given_it_and_does_not_drown(world: DurableWorld) -> None:
    world.host.inspector.suspend("book")
    for number in range(3_000):
        world.host.cast("clerk", decide(str(number)))
    world.turn()
    assert not world.host.dead_letters
    assert len(world.host.inspector.describe("book")["state"]) == 3_000
    world.host.inspector.resume("book")
    world.turn()
    assert world.host.ask("book", "told") == 1


def test_one_that_is_set_aside_has_it_when_it_is_released(world: DurableWorld) -> None:
    world.host.start_child("delicate", ActorSpec("frail", "book"), world.partition)
    world.host.inspector.kill("frail")
    world.turn()
    assert world.host.inspector.describe("frail")["status"] == "quarantined"
    world.tell("clerk", decide("one", "frail"))
    assert not world.host.dead_letters
    world.host.inspector.resume("frail")
    world.turn()
    assert world.heard("frail") == ["entry of one"]


def test_one_that_is_killed_in_the_same_turn_has_it_when_it_is_back(world: DurableWorld) -> None:
    world.host.cast("clerk", decide("one"))
    world.host.drain()
    world.host.inspector.kill("book")
    world.host.cast("clerk", decide("two"))
    world.turn()
    world.again()
    assert world.heard("book") == ["entry of one", "entry of two"]


def test_one_that_is_put_away_is_woken_with_it(world: DurableWorld) -> None:
    world.add("sleeper", kind="drowsy")
    world.tell("clerk", decide("one", "sleeper"))
    world.turn(after_ms=2_000)
    world.turn(after_ms=2_000)
    assert world.host.inspector.describe("sleeper")["passive"]
    world.tell("clerk", decide("two", "sleeper"))
    assert world.heard("sleeper") == ["entry of one", "entry of two"]
    world.again()
    assert world.heard("sleeper") == ["entry of one", "entry of two"]


def test_one_that_is_put_away_is_woken_by_what_it_is_handed(world: DurableWorld) -> None:
    world.add("sleeper", kind="drowsy")
    world.turn(after_ms=2_000)
    world.turn(after_ms=2_000)
    assert world.host.inspector.describe("sleeper")["passive"]
    assert world.host.hand("sleeper", "one")
    assert world.heard("sleeper") == ["one"]


def test_a_snapshot_loses_none_of_it(world: DurableWorld) -> None:
    world.tell("clerk", decide("one"))
    world.host.snapshot(world.partition)
    world.tell("clerk", decide("two"))
    world.again()
    assert world.heard("book") == ["entry of one", "entry of two"]


def test_one_that_cannot_apply_it_crashes_and_not_who_entrusted_it(world: DurableWorld) -> None:
    def handler(ctx: Context) -> None:
        ctx.emit("one")
        ctx.entrust("book", "poison")

    before = world.incarnation("clerk")
    world.tell("clerk", handler)
    assert world.heard("clerk") == ["one"]
    assert world.incarnation("clerk") == before
    assert {report.address for report in world.host.crash_reports} == {"book"}


def test_nobody_on_record_is_an_error_before_anything_is_recorded(world: DurableWorld) -> None:
    world.tell("clerk", decide("one", "nobody"))
    assert world.heard("clerk") == []
    [report] = world.host.crash_reports
    assert "nothing is recorded for nobody in the partition of clerk" in report.reason


def test_who_keeps_no_record_of_its_own_can_entrust_too(world: DurableWorld) -> None:
    world.add("puppet")
    world.tell("puppet", lambda ctx: ctx.entrust("book", "one"))
    world.again()
    assert world.heard("book") == ["one"]


def test_what_comes_from_outside_can_entrust_too(world: DurableWorld) -> None:
    world.host.entrust("p", "book", "by hand")
    world.turn()
    world.again()
    assert world.heard("book") == ["by hand"]
    with pytest.raises(LookupError, match="nothing is recorded for nobody in p"):
        world.host.entrust("p", "nobody", "x")


def test_an_actor_knows_its_partition(world: DurableWorld) -> None:
    names: list[str | None] = []
    world.tell("clerk", lambda ctx: names.append(ctx.partition))
    assert names == ["p"]
    assert world.host.partition_of("nobody") is None


@pytest.mark.parametrize("is_readable", [True, False])
def test_what_is_entrusted_to_one_in_quarantine_goes_into_a_base_once_it_is_much(
    world: DurableWorld, monkeypatch: pytest.MonkeyPatch, is_readable: bool
) -> None:
    monkeypatch.setattr(host, "MAX_TAIL_OF_ONE_DOWN", 5)
    world.host.start_child("delicate", ActorSpec("frail", "book"), world.partition)
    world.tell("frail", RuntimeError("out"))
    assert world.host.inspector.describe("frail")["status"] == "quarantined"
    events = [*"abcd", "e" if is_readable else "poison"]
    tails = []
    for event in events:
        world.host.entrust("p", "frail", event)
        world.turn()
        world.host.snapshot(world.partition)
        tails.append(len(world.partition.records["frail"].tail))
    assert tails == [1, 2, 3, 4, 0 if is_readable else 5]
    assert world.host.counts["crashes"] == 1
    if is_readable:
        world.again()
        assert world.heard("frail") == events
