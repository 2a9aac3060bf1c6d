"""Nonsense wishes, states and arguments that cannot be written, listeners that fail: nobody else pays for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slakeeper.otp.actor import ActorSpec, ActorStopped, SupervisorSpec
from slakeeper.otp.context import Context
from slakeeper.otp.local import start_local
from tests.unit.otp.host_world import MANY, DurableWorld, HostWorld, Puppet
from tests.unit.otp.test_local import KINDS, TREE, WAIT_S

Wish = Callable[[Context], None]

LATER_MS = 10**9
NO_NAME: Any = []
WISHES: list[Wish] = [
    lambda ctx: ctx.set_timer(NO_NAME, 1, "x"),
    lambda ctx: ctx.cancel_timer(NO_NAME),
    lambda ctx: ctx.perform(NO_NAME, int, "lane"),
    lambda ctx: ctx.reply(NO_NAME, 1),
]
each_wish = pytest.mark.parametrize("wish", WISHES, ids=["set_timer", "cancel_timer", "perform", "reply"])


class Undumpable(Puppet):
    def dump(self) -> Any:
        raise ZeroDivisionError


@each_wish
def test_an_actor_whose_init_wishes_nonsense_when_it_is_restarted_is_tried_again(wish: Wish) -> None:
    world, starts = HostWorld(), []

    def init(ctx: Context) -> None:
        starts.append(1)
        ctx.set_timer("t", LATER_MS, 1)
        if len(starts) == 2:
            wish(ctx)

    world.add("a", arg=init)
    world.tell("a", RuntimeError("boom"))
    world.turn(1)
    assert world.host.is_running("a")
    assert len(starts) == 3


@each_wish
def test_nothing_is_done_of_what_a_handler_wished_before_it_wished_nonsense(wish: Wish) -> None:
    world = HostWorld()
    world.add("a", "b")

    def handle(ctx: Context) -> None:
        ctx.cast("b", "half")
        wish(ctx)

    world.tell("a", handle)
    assert world.heard("b") == []
    assert "TypeError" in world.host.crash_reports[-1].reason


def test_a_durable_actor_whose_argument_cannot_be_written_does_not_start(tmp_path: Path) -> None:
    world = DurableWorld(tmp_path)
    world.add("a")
    world.tell("a", lambda ctx: ctx.start_child("dynamic", ActorSpec("x", "ledger", object())))
    assert not world.host.exists("x")


def test_a_static_one_fails_the_start_of_the_host(tmp_path: Path) -> None:
    with pytest.raises(ActorStopped):
        DurableWorld(tmp_path, {}, SupervisorSpec("s", MANY, (ActorSpec("x", "ledger", object()),)))


def test_a_listener_that_raises_costs_the_others_no_news() -> None:
    heard: list[str] = []

    def fail(*_: Any) -> None:
        raise RuntimeError("cannot take it")

    loop = start_local(TREE, KINDS)
    loop.listen(fail)
    loop.listen(lambda _, event: heard.append(event["topic"]))
    loop.post(lambda: loop.host.after_commit(lambda: loop._published("news", {})))  # type: ignore[union-attr]
    loop.call("f", 1).result(WAIT_S)
    assert loop.stop(WAIT_S)
    assert heard == ["news"]


def test_an_actor_that_cannot_be_dumped_can_be_looked_at() -> None:
    world = HostWorld({"undumpable": Undumpable})
    world.add("a", kind="undumpable")
    shown = world.host.inspector.describe("a")
    assert (shown["status"], shown["state"]) == ("running", "cannot be shown: ZeroDivisionError: ")
