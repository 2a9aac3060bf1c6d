"""Requests between actors: exactly one end for each, whatever becomes of either side."""

import pytest

from slakeeper.otp.actor import ActorLost, ActorStopped, Replied, RequestError
from slakeeper.otp.child_spec import Restart
from tests.unit.otp.host_world import HostWorld


@pytest.fixture
def world() -> HostWorld:
    world = HostWorld()
    world.add("a", "b")
    return world


def ends(world: HostWorld, address: str = "a") -> list[Replied]:
    return [heard for heard in world.heard(address) if isinstance(heard, Replied)]


def test_a_call_brings_the_reply_with_its_tag(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.call("b", 7, tag="seven"))
    assert ends(world) == [Replied("seven", ("echo", 7), None)]


def test_a_call_to_nobody_ends_at_once(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.call("nobody", 7, tag=1))
    (end,) = ends(world)
    assert isinstance(end.error, ActorStopped)


def test_a_refused_call_is_no_crash_of_either(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.call("b", "refuse", tag=1))
    (end,) = ends(world)
    assert isinstance(end.error, RequestError)
    assert end.error.code == "conflict"
    assert not world.host.crash_reports


def test_a_call_whose_receiver_crashes_on_it_says_so(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.call("b", "crash", tag=1))
    (end,) = ends(world)
    assert isinstance(end.error, ActorStopped)
    assert "on a call" in str(end.error)
    assert world.host.is_running("b")


def test_a_call_waits_for_the_receivers_next_incarnation(world: HostWorld) -> None:
    world.host.cast("b", RuntimeError("before it"))
    world.tell("a", lambda ctx: ctx.call("b", 7, tag=1))
    assert ends(world) == [Replied(1, ("echo", 7), None)]


def test_a_call_to_one_who_never_answers_is_lost_after_its_time(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.call("b", "later", tag=1, timeout_ms=500))
    world.turn(499)
    assert ends(world) == []
    world.turn(1)
    (end,) = ends(world)
    assert isinstance(end.error, ActorLost)
    assert world.call("b", "answer") == [("answered", None)]
    assert len(ends(world)) == 1


def test_a_reply_may_come_later(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.call("b", "later", tag=1))
    assert ends(world) == []
    world.host.ask("b", "answer")
    assert ends(world) == [Replied(1, "at last", None)]


def test_a_reply_that_was_owed_when_the_actor_crashed_is_an_error(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.call("b", "later", tag=1))
    world.tell("b", RuntimeError("meanwhile"))
    (end,) = ends(world)
    assert isinstance(end.error, ActorStopped)


def test_a_call_that_waits_for_an_actor_that_leaves_for_good_ends(world: HostWorld) -> None:
    world.add("c", restart=Restart.TEMPORARY)
    world.host.inspector.suspend("c")
    waiting = world.call("c", 7)
    assert waiting == []
    world.host.terminate_child("c")
    ((_, error),) = waiting
    assert isinstance(error, ActorStopped)


def test_a_call_to_a_suspended_actor_never_hangs(world: HostWorld) -> None:
    world.host.inspector.suspend("b")
    waiting = world.call("b", 7, timeout_ms=500)
    world.turn(500)
    ((_, error),) = waiting
    assert isinstance(error, ActorLost)
    world.host.inspector.resume("b")
    world.turn()
    assert len(waiting) == 1


def test_the_end_of_a_call_is_for_the_incarnation_that_made_it(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.call("b", "later", tag=1))
    world.tell("a", RuntimeError("forgets"))
    world.host.ask("b", "answer")
    assert world.heard("a") == []


def test_an_ask_that_is_answered_later_is_refused(world: HostWorld) -> None:
    with pytest.raises(RequestError, match="later"):
        world.host.ask("b", "later")


def test_two_actors_that_ask_each_other_do_not_block(world: HostWorld) -> None:
    world.host.cast("a", lambda ctx: ctx.call("b", 1, tag="to b"))
    world.tell("b", lambda ctx: ctx.call("a", 2, tag="to a"))
    assert ends(world, "a") == [Replied("to b", ("echo", 1), None)]
    assert ends(world, "b") == [Replied("to a", ("echo", 2), None)]


def test_a_call_that_waits_for_one_that_a_sibling_ends_is_answered(world: HostWorld) -> None:
    taken = world.call("b", "later")
    world.host.inspector.suspend("b")
    waiting = world.call("b", 7)
    world.add("new", arg=lambda ctx: ctx.terminate_child("dynamic", "b"))
    world.turn()
    assert [type(error) for _, error in (*taken, *waiting)] == [ActorStopped, ActorStopped]


def test_every_call_has_ended_when_the_host_has_stopped(world: HostWorld) -> None:
    taken = world.call("b", "later")
    world.host.inspector.suspend("a")
    waiting = world.call("a", 7)
    world.host.stop()
    assert [type(error) for _, error in (*taken, *waiting)] == [ActorStopped, ActorStopped]


def test_a_reply_to_one_that_left_is_not_for_the_next_at_its_address(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.call("b", "later", tag=1))
    world.host.terminate_child("a")
    world.add("a")
    world.host.ask("b", "answer")
    world.turn()
    assert world.heard("a") == []
