"""OTP's supervisor API over the supervisors of a host."""

from pathlib import Path

import pytest

from slakeeper.otp import supervisor as core
from slakeeper.otp.actor import ActorSpec, RequestError, SupervisorSpec
from slakeeper.otp.child_spec import TEMPORARY, Flags, Strategy
from slakeeper.otp.clock import ManualClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.host import Host
from slakeeper.otp.partition import Partition
from slakeeper.otp.supervisor import Error, Ok, Refusal
from tests.unit.otp.host_world import HostWorld, NoExecutor
from tests.unit.otp.test_mailbox import Sleepy


@pytest.fixture
def world() -> HostWorld:
    world = HostWorld()
    world.add("a", "b")
    return world


def ids(world: HostWorld, supervisor: str = "dynamic") -> list[tuple[str, str]]:
    return [(info.id, info.status) for info in world.host.supervisors.which_children(supervisor)]


def test_a_child_is_stopped_started_again_and_deleted(world: HostWorld) -> None:
    api = world.host.supervisors
    assert api.restart_child("dynamic", "a") == Error(Refusal.RUNNING)
    assert api.delete_child("dynamic", "a") == Error(Refusal.RUNNING)
    assert api.terminate_child("dynamic", "a") == Ok()
    assert api.terminate_child("dynamic", "a") == Ok(), "again"
    assert ids(world) == [("b", "running"), ("a", "stopped")]
    assert api.count_children("dynamic") == core.ChildCount(2, 1, 0, 2)
    assert api.start_child("dynamic", ActorSpec("a", "puppet")) == Error(Refusal.ALREADY_PRESENT)
    assert api.restart_child("dynamic", "a") == Ok("a")
    world.tell("a", "hello")
    assert world.heard("a") == ["hello"]
    assert (api.terminate_child("dynamic", "a"), api.delete_child("dynamic", "a")) == (Ok(), Ok())
    assert api.delete_child("dynamic", "a") == Error(Refusal.NOT_FOUND)
    assert not world.host.exists("a")


def test_a_start_that_fails_leaves_nothing(world: HostWorld) -> None:
    api = world.host.supervisors

    def fail(_: object) -> None:
        raise ValueError("no")

    result = api.start_child("dynamic", ActorSpec("c", "puppet", fail))
    assert isinstance(result, Error)
    assert (result.reason, result.detail) == (Refusal.START_ERROR, "ValueError: no")
    assert not world.host.exists("c")
    assert api.get_childspec("dynamic", "c") is None


def test_a_temporary_child_that_does_not_run_is_not_kept(world: HostWorld) -> None:
    api = world.host.supervisors
    assert api.start_child("dynamic", ActorSpec("c", "puppet", "ignore", TEMPORARY)) == Ok()
    assert not world.host.exists("c")


def test_a_supervisor_can_be_started_and_stopped_as_a_child(world: HostWorld) -> None:
    api = world.host.supervisors
    below = SupervisorSpec("below", Flags(), (ActorSpec("x", "puppet"), ActorSpec("y", "puppet")))
    assert api.start_child("dynamic", below) == Ok("below")
    world.tell("x", "hello")
    assert world.heard("x") == ["hello"]
    assert api.terminate_child("dynamic", "below") == Ok()
    assert not world.host.is_running("x")
    assert api.restart_child("dynamic", "below") == Ok("below")
    assert world.heard("x") == []


def test_nobody_is_not_asked(world: HostWorld) -> None:
    with pytest.raises(RequestError):
        world.host.supervisors.which_children("nobody")


def test_a_change_of_a_supervisor_holds_at_once_and_for_its_next_start(world: HostWorld) -> None:
    api = world.host.supervisors
    below = SupervisorSpec("below", Flags(intensity=0), (ActorSpec("x", "puppet"),))
    api.start_child("dynamic", below)
    changed = SupervisorSpec(
        "below", Flags(intensity=5), (ActorSpec("x", "puppet"), ActorSpec("y", "puppet"))
    )
    assert api.change(changed) == Ok()
    assert ids(world, "below") == [("y", "stopped"), ("x", "running")]
    world.tell("x", RuntimeError("would have been one too many"))
    assert world.host.is_running("x")
    assert api.terminate_child("dynamic", "below") == Ok()
    assert api.restart_child("dynamic", "below") == Ok("below")
    assert world.host.is_running("y")
    assert api.change(SupervisorSpec("below", Flags(Strategy.SIMPLE_ONE_FOR_ONE))) == Error(
        Refusal.BAD_START_SPEC, detail="bad_start_spec: []"
    )


def test_what_is_recorded_of_a_child_goes_with_its_spec_not_with_its_stop(tmp_path: Path) -> None:
    partition = Partition(tmp_path, Codec())
    partition.open()
    tree = SupervisorSpec("host", Flags(), (SupervisorSpec("all", Flags()),))
    host = Host(
        tree, {"sleepy": Sleepy}, ManualClock(1_000), Codec(), {"p": partition}, NoExecutor(), home=partition
    )
    host.start()
    api = host.supervisors
    api.start_child("all", ActorSpec("s", "sleepy"))
    host.cast("s", 5)
    host.drain()
    host.commit()
    api.terminate_child("all", "s")
    assert "s" in partition.records
    api.restart_child("all", "s")
    assert host.ask("s", "count") == 5
    api.terminate_child("all", "s")
    api.delete_child("all", "s")
    assert "s" not in partition.records
