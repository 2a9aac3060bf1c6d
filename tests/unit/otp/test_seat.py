"""Places in a tree: who leaves and by whose hand, that it ends once, and that nothing of it stays behind."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from slakeeper.otp.actor import ActorSpec, ActorStopped, Down, RequestError, StartRefused, SupervisorSpec
from slakeeper.otp.backoff import Backoff
from slakeeper.otp.child_spec import Flags, Quarantine, Restart, SpecError
from slakeeper.otp.context import Context
from slakeeper.otp.supervisor import Ok
from tests.unit.otp.host_world import MANY, Do, DurableWorld, HostWorld, Ledger, Puppet

QUARANTINE = Flags(quarantine=Quarantine(5, 60, Backoff(100, 1_000)))


class Parting(Puppet):
    """Notes its end in a list, and does something then: both are its arg."""

    def terminate(self, ctx: Context, reason: str) -> None:
        ends, then = self.arg
        ends.append((self.address, reason))
        then(ctx)


class Reluctant(Ledger):
    """Does not start at the first try; records that it is new."""

    tries: list[bool]

    def init(self, ctx: Context, fresh: bool) -> str | None:
        self.tries.append(fresh)
        if len(self.tries) == 1:
            raise ValueError("not yet")
        if fresh:
            ctx.emit("begun")
        return None


@pytest.fixture
def world() -> HostWorld:
    world = HostWorld({"parting": Parting})
    world.add("a", "b", "c")
    return world


@pytest.fixture
def durable(tmp_path: Path) -> DurableWorld:
    world = DurableWorld(tmp_path / "p")
    world.add("a")
    world.add("ledger", kind="ledger")
    world.host.commit()
    return world


def terminates(address: str) -> Do:
    return lambda ctx: ctx.terminate_child("dynamic", address)


# -- ended by a sibling -----------------------------------------------------------------------------------------


def test_an_actor_that_terminates_a_sibling_in_its_init_ends_it(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.monitor("b"))
    world.tell("b", lambda ctx: ctx.register("the-b"))
    world.add("new", arg=terminates("b"))
    world.turn()
    assert not world.host.exists("b")
    assert world.host.is_running("new")
    assert world.heard("a") == [Down("b", "shutdown")]
    assert world.host.whereis("the-b") is None


def ask_from_outside(world: HostWorld, spec: ActorSpec) -> None:
    world.host.cast("ledger", "unread")
    world.host.start_child("dynamic", spec)


def ask_within_the_turn(world: HostWorld, spec: ActorSpec) -> None:
    world.host.cast("a", lambda ctx: ctx.start_child("dynamic", spec))
    world.host.cast("ledger", "unread")


@pytest.mark.parametrize("ask", [ask_from_outside, ask_within_the_turn])
def test_what_waits_for_one_that_a_sibling_ends_is_a_dead_letter(
    durable: DurableWorld, ask: Callable[[HostWorld, ActorSpec], None]
) -> None:
    ask(durable, ActorSpec("new", "puppet", terminates("ledger")))
    durable.turn()
    assert [(each.address, each.content) for each in durable.host.dead_letters] == [("ledger", "unread")]
    assert durable.host.is_running("new")
    durable.again()
    assert not durable.host.exists("ledger")


def test_hooks_that_end_each_other_run_once_each(world: HostWorld) -> None:
    ends: list[tuple[str, str]] = []
    world.add("p", kind="parting", arg=(ends, terminates("q")))
    world.add("q", kind="parting", arg=(ends, terminates("p")))
    world.tell("p", lambda ctx: ctx.stop())
    assert sorted(ends) == [("p", "normal"), ("q", "shutdown")]
    assert not world.host.exists("q")


def test_hooks_end_others_along_a_chain_across_supervisors() -> None:
    ends: list[tuple[str, str]] = []
    world = HostWorld({"parting": Parting}, SupervisorSpec("s0", MANY), SupervisorSpec("s1", MANY))
    for number in range(4):
        arg = (ends, terminates(f"t{number + 1}"))
        world.host.start_child(f"s{number % 2}", ActorSpec(f"t{number}", "parting", arg))
    world.host.terminate_child("t0")
    world.turn()
    assert ends == [(f"t{number}", "shutdown") for number in range(4)]
    assert not any(world.host.exists(f"t{number}") for number in range(4))


# -- ended by itself --------------------------------------------------------------------------------------------


def test_what_an_actor_asks_for_beside_its_own_end_is_done_before_it(durable: DurableWorld) -> None:
    def last_words(ctx: Context) -> None:
        ctx.terminate_child("dynamic", "ledger")
        ctx.emit("last words")
        ctx.cast("a", "farewell")
        ctx.register("the-ledger")
        ctx.monitor("a")

    durable.tell("ledger", last_words)
    assert durable.heard("a") == ["farewell"]
    assert not durable.host.exists("ledger")
    assert durable.host.whereis("the-ledger") is None
    assert not durable.host.crash_reports
    durable.tell("a", RuntimeError("nobody is to be told"))
    assert durable.host.counts["dead_letters"] == 1, "the message it crashed on"
    durable.again()
    assert not durable.host.exists("ledger")


def test_a_hook_that_asks_for_the_end_under_way_runs_once(world: HostWorld) -> None:
    ends: list[tuple[str, str]] = []
    world.add("p", kind="parting", arg=(ends, terminates("p")), restart=Restart.TRANSIENT)
    world.tell("p", lambda ctx: ctx.stop())
    assert ends == [("p", "normal")]
    assert not world.host.exists("p")


# -- with its supervisor ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", Restart)
def test_a_child_that_nobody_would_start_again_leaves_with_its_supervisor(
    durable: DurableWorld, restart: Restart
) -> None:
    api = durable.host.supervisors
    durable.add("x", restart=restart)
    assert (api.terminate_child("host", "dynamic"), api.restart_child("host", "dynamic")) == (
        Ok(), Ok("dynamic"),
    )  # fmt: skip
    assert not durable.host.exists("x")
    durable.add("x", restart=restart)
    durable.tell("x", "hello")
    assert durable.heard("x") == ["hello"]


def test_a_recorded_child_comes_back_with_its_supervisor(durable: DurableWorld) -> None:
    api = durable.host.supervisors
    durable.tell("ledger", "entry")
    api.terminate_child("host", "dynamic")
    assert not durable.host.is_running("ledger")
    api.restart_child("host", "dynamic")
    assert durable.heard("ledger") == ["entry"]


def test_the_children_of_a_deleted_supervisor_are_gone(world: HostWorld) -> None:
    api = world.host.supervisors
    api.start_child("host", SupervisorSpec("s", MANY, (ActorSpec("x", "puppet"),)))
    assert api.terminate_child("host", "s") == Ok()
    assert world.host.exists("x")
    assert api.delete_child("host", "s") == Ok()
    assert not world.host.exists("x")
    world.add("x")
    assert world.host.is_running("x")


def test_no_two_incarnations_share_a_number_even_across_starts_of_their_supervisor() -> None:
    inner = SupervisorSpec("inner", Flags(intensity=0), (ActorSpec("x", "puppet"),))
    world = HostWorld({}, inner)
    world.add("c")
    world.tell("x", lambda ctx: ctx.call("c", "later", tag=1))
    before = world.incarnation("x")
    world.tell("x", RuntimeError("boom"))
    assert world.incarnation("x") > before
    world.host.ask("c", "answer")
    world.turn()
    assert world.heard("x") == [], "that answer was for the one before"


# -- starts that fail -------------------------------------------------------------------------------------------


def test_an_actor_whose_first_start_failed_is_new_at_the_next(tmp_path: Path) -> None:
    tries: list[bool] = []
    kind = type("Twice", (Reluctant,), {"tries": tries})
    world = DurableWorld(
        tmp_path / "p", {"twice": kind}, SupervisorSpec("s", QUARANTINE, (ActorSpec("x", "twice"),))
    )
    world.turn(60_000)
    assert tries == [True, True]
    world.again()
    assert tries == [True, True, False]
    assert world.heard("x") == ["begun"], "once"


def test_a_temporary_child_that_does_not_start_leaves_nothing_even_where_others_are_quarantined() -> None:
    def fail(ctx: Context) -> None:
        raise ValueError("no")

    children = (ActorSpec("t", "puppet", fail, Restart.TEMPORARY), ActorSpec("p", "puppet", fail))
    world = HostWorld({}, SupervisorSpec("s", QUARANTINE, children))
    assert not world.host.exists("t")
    assert world.host.exists("p"), "which is tried again"


@pytest.mark.parametrize("supervisor", ["pool", "nobody"])
def test_a_start_that_is_refused_before_it_is_tried_leaves_nothing(world: HostWorld, supervisor: str) -> None:
    def start(ctx: Context) -> None:
        ctx.start_child(supervisor, ActorSpec("x", "puppet"))
        ctx.cast("x", "hello")

    with pytest.raises(RequestError) as refused:
        world.host.start_child(supervisor, ActorSpec("x", "puppet"))
    assert refused.value.code == "invalid"
    assert not world.host.exists("x")
    world.tell("a", start)
    (told,) = world.heard("a")
    assert isinstance(told, StartRefused)
    assert told.address == "x"
    assert [(each.address, each.content) for each in world.host.dead_letters] == [("x", "hello")]
    assert not world.host.exists("x")


def test_two_places_of_one_address_are_refused_at_the_start() -> None:
    twins = [SupervisorSpec(name, MANY, (ActorSpec("x", "puppet"),)) for name in ("s1", "s2")]
    with pytest.raises(ActorStopped, match="already_started"):
        HostWorld({}, *twins)


# -- what is left -----------------------------------------------------------------------------------------------


def test_what_an_actor_was_told_is_let_go_when_it_leaves(world: HostWorld) -> None:
    class Batch:
        pass

    batch = Batch()
    seen = weakref.ref(batch)
    world.tell("a", batch)
    world.host.terminate_child("a")
    world.turn()
    del batch
    gc.collect()
    assert seen() is None


def test_a_start_that_cannot_be_a_child_leaves_nothing(world: HostWorld) -> None:
    before = world.host.addresses()
    with pytest.raises(SpecError, match="significant"):
        world.host.start_child("dynamic", ActorSpec("x", "puppet", significant=True))
    assert world.host.addresses() == before
    world.add("x")
    assert world.host.is_running("x")
