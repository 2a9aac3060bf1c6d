"""What is sent by one actor to another is heard in the order it was said, whatever it is."""

from typing import Any

import pytest

from slakeeper.otp.actor import ActorSpec, Down, Replied
from slakeeper.otp.child_spec import Restart
from slakeeper.otp.context import Context
from tests.unit.otp.host_world import HostWorld


@pytest.fixture
def world() -> HostWorld:
    world = HostWorld()
    world.add("a", "b")
    return world


def test_replies_come_in_the_order_of_the_answers(world: HostWorld) -> None:
    def ask(ctx: Context) -> None:
        for number in range(5):
            ctx.call("b", number, tag=number)

    world.tell("a", ask)
    assert world.heard("a") == [Replied(number, ("echo", number), None) for number in range(5)]


def test_a_reply_does_not_overtake_what_its_sender_said_before(world: HostWorld) -> None:
    def ask(ctx: Context) -> None:
        ctx.cast("b", lambda ctx: ctx.cast("a", "progress"))
        ctx.call("b", "q", tag="tag")
        ctx.cast("b", lambda ctx: ctx.cast("a", "afterwards"))

    world.tell("a", ask)
    assert world.heard("a") == ["progress", Replied("tag", ("echo", "q"), None), "afterwards"]


def test_news_of_an_end_does_not_overtake_the_last_words(world: HostWorld) -> None:
    def last_words(ctx: Context) -> None:
        ctx.stop()
        ctx.cast("a", "last words")

    world.add("t", restart=Restart.TEMPORARY)
    world.tell("a", lambda ctx: ctx.monitor("t"))
    world.tell("t", last_words)
    assert world.heard("a") == ["last words", Down("t", "normal")]


def test_what_it_goes_on_with_comes_in_the_order_it_was_asked_for(world: HostWorld) -> None:
    def go_on(ctx: Context) -> None:
        for number in range(3):
            ctx.continue_with(number)

    world.host.cast("a", go_on)
    world.host.cast("a", "waiting")
    world.turn()
    assert world.heard("a") == [("continue", 0), ("continue", 1), ("continue", 2), "waiting"]


def test_what_it_goes_on_with_is_the_affair_of_one_incarnation(world: HostWorld) -> None:
    def go_on(ctx: Context) -> None:
        ctx.continue_with("the rest")
        ctx.link("nobody")  # an exit signal, which comes before anything else

    before = world.incarnation("a")
    world.tell("a", go_on)
    assert world.incarnation("a") > before
    assert world.heard("a") == []


def test_messages_of_a_turn_are_handled_first_come_first_served(world: HostWorld) -> None:
    seen: list[Any] = []
    for number in range(3):
        for address in ("a", "b"):
            world.host.cast(address, lambda ctx, number=number: seen.append((ctx.address, number)))
    world.turn()
    assert [number for address, number in seen if address == "a"] == [0, 1, 2]
    assert [number for address, number in seen if address == "b"] == [0, 1, 2]


def test_what_waits_behind_a_message_that_ends_another_is_handled_in_the_same_turn(world: HostWorld) -> None:
    # Its init links it to nobody, which is an exit signal, and those come before all messages.
    spec = ActorSpec("t", "puppet", lambda ctx: ctx.link("nobody"), Restart.TEMPORARY)
    world.host.cast("a", lambda ctx: ctx.start_child("dynamic", spec))
    world.host.cast("a", "behind it")
    world.turn()
    assert not world.host.exists("t")
    assert world.heard("a") == ["behind it"]
