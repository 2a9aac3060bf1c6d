"""Kinds that a host makes only after it has come up."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from slakeeper.otp.actor import Actor, ActorSpec, SupervisorSpec
from slakeeper.otp.child_spec import Flags
from slakeeper.otp.clock import ManualClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.host import MAX_WOKEN, Host
from slakeeper.otp.partition import Partition
from tests.unit.otp.host_world import NoExecutor

COUNT = MAX_WOKEN + 5
begun: list[str] = []


class Patient(Actor):
    """Counts, and notes when one is made again."""

    recovers_later: ClassVar[bool] = True

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        self.count = arg

    def init(self, ctx: Context, fresh: bool) -> None:
        if self.count < 0:
            raise RuntimeError("does not want to")
        if not fresh:
            begun.append(self.address)

    def handle_cast(self, ctx: Context, message: int) -> None:
        ctx.emit(message)

    def handle_call(self, ctx: Context, request: Any) -> int:
        return int(self.count)

    def apply(self, event: int) -> None:
        self.count += event

    def dump(self) -> Any:
        return self.count

    def load(self, state: Any) -> None:
        self.count = state


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.start()

    def start(self) -> None:
        self.partition = Partition(self.directory, Codec())
        self.partition.open()
        tree = SupervisorSpec("host", Flags(), (SupervisorSpec("all", Flags(intensity=100)),))
        kinds: dict[str, type[Actor]] = {"patient": Patient}
        self.host = Host(tree, kinds, ManualClock(1_000), Codec(), {"p": self.partition}, NoExecutor())
        self.host.start()

    def start_again(self) -> None:
        """As after a kill: nothing is put in order."""
        self.partition.close()
        begun.clear()
        self.start()

    def turn(self) -> None:
        self.host.begin_turn()
        self.host.drain()
        self.host.commit()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "p")
    for number in range(COUNT):
        world.host.start_child("all", ActorSpec(f"a{number}", "patient", 7), world.partition)
        world.host.cast(f"a{number}", 1)
    world.turn()
    yield world
    world.partition.close()


def test_a_new_one_is_made_at_once(world: World) -> None:
    assert not world.host.inspector.describe("a0")["passive"]


def test_those_on_record_are_made_a_few_in_each_turn(world: World) -> None:
    world.start_again()
    assert begun == []
    assert world.host.is_running("a0")
    assert world.host.has_work
    world.turn()
    assert begun == [f"a{number}" for number in range(MAX_WOKEN)]
    world.turn()
    assert len(begun) == COUNT
    assert not world.host.has_work


def test_one_that_is_sent_something_is_made_at_once_and_once(world: World) -> None:
    world.start_again()
    last = f"a{COUNT - 1}"
    world.host.cast(last, 5)
    world.host.drain()
    assert begun == [last]
    assert world.host.ask(last, "count") == 13
    world.turn()
    world.turn()
    assert sorted(begun) == sorted(f"a{number}" for number in range(COUNT))


def test_a_snapshot_before_they_are_made_loses_nothing(world: World) -> None:
    world.host.snapshot(world.partition)
    world.host.cast("a0", 1)
    world.turn()
    world.start_again()
    world.host.cast("a1", 1)
    world.host.drain()
    world.host.commit()
    world.host.snapshot(world.partition)
    world.start_again()
    assert [world.host.ask(address, "count") for address in ("a0", "a1", "a2")] == [9, 9, 8]


def test_a_host_that_stops_first_keeps_them(world: World) -> None:
    world.start_again()
    world.host.stop()
    assert begun == []
    world.start_again()
    assert world.host.ask("a3", "count") == 8


def test_one_that_cannot_be_made_is_its_supervisors_affair(world: World) -> None:
    world.host.cast("a0", -100)
    world.turn()
    world.start_again()
    world.turn()
    assert "does not want to" in world.host.crash_reports[-1].reason
    assert world.host.ask("a1", "count") == 8


def test_to_its_supervisor_one_that_sleeps_runs(world: World) -> None:
    world.start_again()
    described = world.host.inspector.describe("a0")
    assert (described["status"], described["restarts"], described["passive"]) == ("running", 0, True)
    assert world.host.inspector.describe("host/all")["children"]["active"] == COUNT
    assert begun == []


def test_one_that_sleeps_can_be_read_without_waking_it(world: World) -> None:
    world.start_again()
    found = world.host.asleep("a0")
    assert isinstance(found, Patient)
    assert found.count == 8
    assert begun == []
    world.host.ask("a0", "count")
    assert world.host.asleep("a0") is None
    assert world.host.asleep("nobody") is None


def test_whether_one_takes_is_known_when_it_was_made(world: World) -> None:
    world.host.cast("a0", -100)
    world.turn()
    world.start_again()
    assert not world.host.takes("a0")
    assert world.host.takes("a1")
    assert begun == ["a1"]


def test_one_that_is_killed_while_it_sleeps_is_made_again(world: World) -> None:
    world.start_again()
    world.host.inspector.kill("a0")
    assert begun == ["a0"]
    assert world.host.inspector.describe("a0")["restarts"] == 1
    assert world.host.ask("a0", "count") == 8


def test_one_that_is_forgotten_while_it_sleeps_is_gone(world: World) -> None:
    world.start_again()
    world.host.terminate_child("a0")
    world.turn()
    world.start_again()
    assert not world.host.exists("a0")
    assert world.host.exists("a1")
