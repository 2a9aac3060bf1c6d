"""Bounded mailboxes, and what is kept for a restart."""

from typing import Any

import pytest

from slakeeper.otp.actor import ActorStopped, Down
from slakeeper.otp.host import MAX_STASH
from tests.unit.otp.host_world import HostWorld, Puppet


def addresses_heard(world: HostWorld, address: str) -> list[Any]:
    return [heard for heard in world.heard(address) if isinstance(heard, int)]


def fill(world: HostWorld, address: str, count: int) -> None:
    for number in range(count):
        world.host.cast(address, number)


def test_a_full_mailbox_turns_the_newest_away() -> None:
    world = HostWorld()
    world.add("n", kind="narrow")
    fill(world, "n", 4)
    world.turn()
    assert addresses_heard(world, "n") == [0, 1]
    assert [letter.message for letter in world.host.dead_letters] == ["2", "3"]


def test_a_full_mailbox_may_let_the_oldest_go() -> None:
    world = HostWorld()
    world.add("n", kind="rolling")
    fill(world, "n", 4)
    world.turn()
    assert addresses_heard(world, "n") == [2, 3]
    assert [letter.message for letter in world.host.dead_letters] == ["0", "1"]


def test_a_call_that_finds_a_full_mailbox_ends_at_once() -> None:
    world = HostWorld()
    world.add("n", kind="narrow")
    fill(world, "n", 2)
    ends: list[Any] = []
    world.host.call("n", 1, lambda value, error: ends.append(error))
    assert isinstance(ends[0], ActorStopped)


@pytest.mark.parametrize(("kind", "kept"), [("narrow", [0, 1]), ("rolling", [2, 3])])
def test_news_never_gives_way_nor_takes_the_place_of_a_message(kind: str, kept: list[int]) -> None:
    world = HostWorld()
    world.add("n", kind=kind)
    world.add("b", "c")
    world.tell("n", lambda ctx: (ctx.monitor("b"), ctx.monitor("c"), ctx.set_timer("t", 1_010, "tick")))
    world.host.inspector.suspend("n")
    world.host.terminate_child("b")
    fill(world, "n", 4)
    world.host.terminate_child("c")
    world.turn(10)
    world.host.inspector.resume("n")
    world.turn()
    assert [each for each in world.heard("n") if not isinstance(each, int)] == [
        Down("b", "shutdown"), Down("c", "shutdown"), "tick",
    ]  # fmt: skip
    assert addresses_heard(world, "n") == kept


def test_a_suspended_actor_keeps_only_so_many() -> None:
    world = HostWorld()
    world.add("a")
    world.host.inspector.suspend("a")
    fill(world, "a", MAX_STASH + 5)
    world.host.inspector.resume("a")
    world.turn()
    assert len(world.heard("a")) == MAX_STASH
    assert world.host.counts["dead_letters"] == 5


def test_what_is_handed_over_is_handled_at_once_and_behind_what_waits() -> None:
    world = HostWorld()
    world.add("a", "b")
    actor = world.host.find("a")
    assert actor is not None
    assert isinstance(actor.actor, Puppet)
    assert world.host.hand("a", 1)
    assert actor.actor.heard == [1]
    world.host.cast("a", 2)
    assert world.host.hand("a", 3)
    assert actor.actor.heard == [1, 2, 3]


def test_what_is_handed_to_one_that_is_down_stays_with_who_hands_it() -> None:
    world = HostWorld()
    world.add("a", "b")
    world.host.inspector.suspend("a")
    assert not world.host.hand("a", 1)
    assert not world.host.hand("nobody", 2)
    world.host.inspector.kill("b")
    assert world.host.hand("b", 3)
    assert addresses_heard(world, "b") == [3]  # the next one, as it comes back at once here
    assert list(world.host.dead_letters) == []
    world.host.inspector.resume("a")
    world.turn()
    assert addresses_heard(world, "a") == []


def test_an_actor_that_is_to_end_is_handed_nothing_before() -> None:
    world = HostWorld()
    world.add("a")
    old = world.host.find("a")
    assert old is not None
    actor = old.actor
    assert isinstance(actor, Puppet)
    world.host.end_soon(old, "killed")
    world.host.hand("a", 1)
    world.turn()
    assert actor.heard == []
    assert addresses_heard(world, "a") == [1]


def test_a_crash_on_what_is_handed_over_is_the_supervisors_affair() -> None:
    world = HostWorld()
    world.add("a")
    world.host.hand("a", RuntimeError("a bug"))
    world.host.hand("a", 1)
    world.turn()
    assert world.host.counts["crashes"] == 1
    assert addresses_heard(world, "a") == [1]
