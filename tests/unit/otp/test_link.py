"""Monitors, links, names, and what goes before the mailbox."""

import pytest

from slakeeper.otp.actor import Down, LinkedExit
from slakeeper.otp.child_spec import Restart
from tests.unit.otp.host_world import HostWorld


@pytest.fixture
def world() -> HostWorld:
    world = HostWorld()
    world.add("a", "b", "c")
    return world


def test_a_monitor_tells_the_reason_of_the_end_once(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.monitor("b"))
    world.tell("b", RuntimeError("boom"))
    world.tell("b", RuntimeError("again"))
    assert world.heard("a") == [Down("b", "RuntimeError: boom")]


def test_a_monitor_of_nobody_says_so_at_once(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.monitor("nobody"))
    assert world.heard("a") == [Down("nobody", "noproc")]


def test_a_monitor_tells_of_an_orderly_end_too(world: HostWorld) -> None:
    world.add("t", restart=Restart.TRANSIENT)
    world.tell("a", lambda ctx: ctx.monitor("t"))
    world.tell("t", lambda ctx: ctx.stop())
    assert world.heard("a") == [Down("t", "normal")]


def test_a_monitor_that_was_ended_is_silent(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.monitor("b"))
    world.tell("a", lambda ctx: ctx.demonitor("b"))
    world.tell("b", RuntimeError("boom"))
    assert world.heard("a") == []


def test_a_monitor_ends_with_the_incarnation_that_set_it(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.monitor("b"))
    world.tell("a", RuntimeError("forgets"))
    world.tell("b", RuntimeError("boom"))
    assert world.heard("a") == []


def test_a_terminated_actor_is_told_of_as_shutdown(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.monitor("b"))
    world.host.terminate_child("b")
    world.turn()
    assert world.heard("a") == [Down("b", "shutdown")]


def test_linked_actors_crash_together(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.link("b"))
    world.tell("b", lambda ctx: ctx.link("c"))
    before = {name: world.incarnation(name) for name in "abc"}
    world.tell("c", RuntimeError("boom"))
    assert all(world.incarnation(name) > before[name] for name in "abc")


def test_a_link_is_used_up_by_the_end(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.link("b"))
    world.tell("b", RuntimeError("boom"))
    before = world.incarnation("a")
    world.tell("b", RuntimeError("again"))
    assert world.incarnation("a") == before


def test_a_normal_end_leaves_the_linked_alone(world: HostWorld) -> None:
    world.add("t", restart=Restart.TRANSIENT)
    world.tell("a", lambda ctx: ctx.link("t"))
    before = world.incarnation("a")
    world.tell("t", lambda ctx: ctx.stop())
    assert world.incarnation("a") == before


def test_one_that_traps_exits_hears_of_them(world: HostWorld) -> None:
    world.add("s", kind="trapping")
    world.tell("s", lambda ctx: ctx.link("b"))
    world.tell("b", RuntimeError("boom"))
    assert world.heard("s") == [LinkedExit("b", "RuntimeError: boom")]


def test_an_unlinked_actor_goes_on(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.link("b"))
    world.tell("a", lambda ctx: ctx.unlink("b"))
    before = world.incarnation("a")
    world.tell("b", RuntimeError("boom"))
    assert world.incarnation("a") == before


def test_a_link_to_nobody_ends_the_actor(world: HostWorld) -> None:
    before = world.incarnation("a")
    world.tell("a", lambda ctx: ctx.link("nobody"))
    assert world.incarnation("a") > before


def test_a_name_reaches_its_owner_until_that_ends(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.register("clerk"))
    assert world.host.whereis("clerk") == "a"
    world.tell("clerk", "hello")
    assert world.heard("clerk") == ["hello"]
    world.tell("a", RuntimeError("boom"))
    assert world.host.whereis("clerk") is None
    world.tell("clerk", "anybody?")
    assert world.host.dead_letters[-1].address == "clerk"


def test_a_name_that_is_taken_ends_whoever_wants_it(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.register("clerk"))
    before = world.incarnation("b")
    world.tell("b", lambda ctx: ctx.register("clerk"))
    assert world.incarnation("b") > before
    assert world.host.whereis("clerk") == "a"
    before = world.incarnation("b")
    world.tell("b", lambda ctx: ctx.register("a"))
    assert world.incarnation("b") > before


def test_a_name_that_was_given_back_can_be_taken(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.register("clerk"))
    world.tell("a", lambda ctx: ctx.unregister("clerk"))
    world.tell("b", lambda ctx: ctx.register("clerk"))
    assert world.host.whereis("clerk") == "b"


def test_what_it_goes_on_with_comes_before_what_waits(world: HostWorld) -> None:
    world.host.cast("a", lambda ctx: ctx.continue_with("the rest"))
    world.host.cast("a", "waiting")
    world.turn()
    assert world.heard("a") == [("continue", "the rest"), "waiting"]


def test_init_goes_on_before_the_first_message() -> None:
    world = HostWorld()
    world.add("x", arg=lambda ctx: ctx.continue_with("set up"))
    world.tell("x", "first")
    assert world.heard("x") == [("continue", "set up"), "first"]


def test_a_name_can_be_monitored_and_its_owner_is_told_of(world: HostWorld) -> None:
    world.tell("b", lambda ctx: ctx.register("bee"))
    world.tell("a", lambda ctx: ctx.monitor("bee"))
    assert world.heard("a") == []
    world.tell("b", RuntimeError("boom"))
    assert world.heard("a") == [Down("b", "RuntimeError: boom")]


def test_a_monitor_by_name_can_be_ended_by_name(world: HostWorld) -> None:
    world.tell("b", lambda ctx: ctx.register("bee"))
    world.tell("a", lambda ctx: ctx.monitor("bee"))
    world.tell("a", lambda ctx: ctx.demonitor("bee"))
    world.tell("b", RuntimeError("boom"))
    assert world.heard("a") == []


def test_a_monitor_by_name_ends_with_the_incarnation_that_set_it(world: HostWorld) -> None:
    world.tell("b", lambda ctx: ctx.register("bee"))
    world.tell("a", lambda ctx: ctx.monitor("bee"))
    world.tell("a", RuntimeError("forgets"))
    world.tell("a", lambda ctx: ctx.register("the-next-a"))
    world.tell("b", RuntimeError("boom"))
    assert world.heard("a") == []


def test_those_who_are_all_linked_to_each_other_end_once_each(world: HostWorld) -> None:
    world.tell("a", lambda ctx: (ctx.link("b"), ctx.link("c")))
    world.tell("b", lambda ctx: ctx.link("c"))
    world.tell("a", RuntimeError("boom"))
    assert [world.host.inspector.describe(name)["restarts"] for name in "abc"] == [1, 1, 1]


def test_a_link_ends_a_suspended_actor_too(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.link("b"))
    world.host.inspector.suspend("a")
    before = world.incarnation("a")
    world.tell("b", RuntimeError("boom"))
    assert world.incarnation("a") > before
    assert world.host.inspector.describe("a")["status"] == "suspended", "an operator's word outlives it"


def test_an_exit_signal_comes_before_what_waits(world: HostWorld) -> None:
    seen: list[int] = []
    world.tell("a", lambda ctx: ctx.link("b"))
    world.host.cast("b", RuntimeError("boom"))
    world.host.cast("a", lambda ctx: seen.append(world.host.tree.seats["a"].incarnation))
    before = world.incarnation("a")
    world.turn()
    assert seen == [world.incarnation("a")]
    assert seen[0] > before
