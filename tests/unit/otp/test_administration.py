"""OTP's supervisor API over the supervisors of a host."""

from pathlib import Path

import pytest

from slakeeper.otp import supervisor as core
from slakeeper.otp.actor import ActorSpec, RequestError, SupervisorSpec
from slakeeper.otp.child_spec import TEMPORARY, Flags, Restart, Strategy
from slakeeper.otp.clock import ManualClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.host import Host
from slakeeper.otp.partition import Partition
from slakeeper.otp.supervisor import Error, Ok, Refusal
from tests.unit.otp.host_world import MANY, DurableWorld, HostWorld, NoExecutor
from tests.unit.otp.test_passivation import Sleepy


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


def test_an_address_that_is_taken_anywhere_in_the_tree_is_refused() -> None:
    world = HostWorld({}, SupervisorSpec("other", MANY))
    world.add("a")
    world.tell("a", "hello")
    refused = world.host.supervisors.start_child("other", ActorSpec("a", "puppet"))
    assert isinstance(refused, Error)
    assert "already_started" in (refused.detail or refused.reason.value)
    assert world.heard("a") == ["hello"], "whoever is there goes on"
    assert ids(world, "other") == []
    world.host.supervisors.terminate_child("dynamic", "a")
    assert isinstance(world.host.supervisors.start_child("other", ActorSpec("a", "puppet")), Error)
    assert world.host.supervisors.restart_child("dynamic", "a") == Ok("a")


TWINS = (ActorSpec("x", "puppet"), ActorSpec("x", "puppet"))


@pytest.mark.parametrize(
    ("below", "why"),
    [
        (SupervisorSpec("pool", MANY), "already_started"),
        (SupervisorSpec("s", MANY, TWINS), "duplicate_child_name"),
        (SupervisorSpec("s", MANY, (ActorSpec("x", "puppet", significant=True),)), "bad_combination"),
        (SupervisorSpec("s", MANY, (ActorSpec("y", "puppet"), ActorSpec("a", "puppet"))), "already_started"),
    ],
    ids=["its address is taken", "twins", "significant and permanent", "a child's address is taken"],
)
def test_a_supervisor_that_cannot_start_is_refused_and_leaves_nothing(
    world: HostWorld, below: SupervisorSpec, why: str
) -> None:
    before = world.host.tree.describe()
    refused = world.host.supervisors.start_child("dynamic", below)
    assert isinstance(refused, Error)
    assert refused.reason is Refusal.START_ERROR
    assert why in (refused.detail or "")
    assert world.host.tree.describe() == before
    assert world.host.addresses() == ["a", "b"]


def test_a_changed_child_is_what_its_supervisor_starts_after_a_crash(world: HostWorld) -> None:
    api = world.host.supervisors
    api.start_child("host", SupervisorSpec("s", MANY, (ActorSpec("x", "puppet", "old"),)))
    assert api.change(SupervisorSpec("s", Flags(intensity=7), (ActorSpec("x", "puppet", "new"),))) == Ok()
    assert world.host.ask("x", "arg") == "old"
    assert world.host.inspector.describe("host/s")["intensity"] == 7
    world.tell("x", RuntimeError("boom"))
    assert world.host.ask("x", "arg") == "new"


def test_a_child_that_was_made_permanent_is_started_again_until_it_runs(world: HostWorld) -> None:
    starts: list[str] = []

    def flaky(ctx: Context) -> None:
        starts.append(ctx.address)
        if len(starts) == 2:
            raise ValueError("once")

    def spec(restart: Restart) -> SupervisorSpec:
        return SupervisorSpec("s", MANY, (ActorSpec("x", "puppet", flaky, restart),))

    api = world.host.supervisors
    api.start_child("host", spec(Restart.TRANSIENT))
    assert api.change(spec(Restart.PERMANENT)) == Ok()
    world.tell("x", lambda ctx: ctx.stop())
    world.turn(1)
    assert len(starts) == 3
    assert world.host.is_running("x")


# -- pools ------------------------------------------------------------------------------------------------------


def fail(ctx: Context) -> None:
    raise ValueError("no")


def pool_of(kind: str, address: str = "more", intensity: int = 1_000) -> SupervisorSpec:
    flags = Flags(Strategy.SIMPLE_ONE_FOR_ONE, intensity=intensity)
    return SupervisorSpec(address, flags, (ActorSpec("worker", kind),))


def test_a_pool_that_is_started_again_is_empty(world: HostWorld) -> None:
    api = world.host.supervisors
    assert api.spawn("pool", "old") == Ok("pool/worker-1")
    assert api.terminate_child("host", "pool") == Ok()
    assert world.host.addresses() == ["a", "b"]
    assert api.restart_child("host", "pool") == Ok("pool")
    assert api.count_children("pool") == core.ChildCount(1, 0, 0, 0)
    assert api.spawn("pool", "new") == Ok("pool/worker-1")
    assert world.host.ask("pool/worker-1", "arg") == "new"


@pytest.mark.parametrize("arg", [fail, "ignore"])
def test_a_spawn_that_does_not_run_leaves_nothing(world: HostWorld, arg: object) -> None:
    api = world.host.supervisors
    assert isinstance(api.spawn("pool", arg), Error) is (arg is fail)
    assert world.host.addresses() == ["a", "b"]
    assert api.count_children("pool").active == 0
    assert isinstance(api.spawn("pool"), Ok)


def test_pools_of_one_template_have_addresses_of_their_own() -> None:
    world = HostWorld({}, pool_of("puppet", "p1"), pool_of("puppet", "p2"))
    api = world.host.supervisors
    assert (api.spawn("p1", "one"), api.spawn("p2", "two")) == (Ok("p1/worker-1"), Ok("p2/worker-1"))
    assert world.host.ask("p1/worker-1", "arg") == "one"
    assert world.host.ask("p2/worker-1", "arg") == "two"


def test_what_a_pool_makes_of_a_durable_kind_is_recorded_nowhere(tmp_path: Path) -> None:
    world = DurableWorld(tmp_path / "p", {}, pool_of("ledger"))
    assert world.host.supervisors.spawn("more") == Ok("more/worker-1")
    world.tell("more/worker-1", "entry")
    assert world.heard("more/worker-1") == ["entry"]
    assert not world.partition.records
    world.host.stop()
    world.again()
    assert world.host.addresses() == []
    assert world.host.supervisors.spawn("more") == Ok("more/worker-1")
    assert world.heard("more/worker-1") == []


def test_a_pool_of_a_durable_kind_that_gave_up_is_started_again(tmp_path: Path) -> None:
    world = DurableWorld(tmp_path / "p", {}, pool_of("ledger", intensity=0))
    world.host.supervisors.spawn("more")
    world.tell("more/worker-1", RuntimeError("one too many"))
    assert world.host.ended is None
    assert world.host.inspector.describe("host/more")["restarts"] == 1
    assert not world.host.exists("more/worker-1")
    assert world.host.supervisors.spawn("more") == Ok("more/worker-1")
