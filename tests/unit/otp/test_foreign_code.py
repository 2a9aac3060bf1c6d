"""Kinds are foreign code: whatever they raise or wish, their supervisor decides, and the host goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from slakeeper.otp.actor import ActorSpec, RequestError
from slakeeper.otp.context import Context
from tests.unit.otp.host_world import Do, DurableWorld, HostWorld, Ledger, Puppet

NOTHING: Any = None
A_LIST: Any = ["not text"]
AN_ERROR: Any = ValueError("not text")


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no str")


class Unspeakable(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Idle(Puppet):
    """Cannot be put away."""

    passivate_after_ms: ClassVar[int] = 100

    def dump(self) -> Any:
        return object()


class Locked(Ledger):
    def dump(self) -> Any:
        raise ValueError("no dump")


class Clinging(Puppet):
    def terminate(self, ctx: Context, reason: str) -> None:
        raise self.arg


@pytest.fixture
def world() -> HostWorld:
    world = HostWorld({"idle": Idle, "clinging": Clinging})
    world.add("a", "b")
    return world


def goes_on(world: HostWorld) -> bool:
    """Whether both actors take what is sent to them."""
    for address in ("a", "b"):
        world.tell(address, "still there")
    return all(world.heard(address)[-1] == "still there" for address in ("a", "b"))


# -- wishes -----------------------------------------------------------------------------------------------------

WISHES: dict[str, Do] = {
    "a significant child that is permanent": lambda ctx: ctx.start_child(
        "dynamic", ActorSpec("x", "puppet", significant=True)
    ),
    "a child without an address": lambda ctx: ctx.start_child("dynamic", ActorSpec("", "puppet")),
    "a child of no supervisor's name": lambda ctx: ctx.start_child(A_LIST, ActorSpec("x", "puppet")),
    "an end for an error": lambda ctx: ctx.stop(AN_ERROR),
    "a call without an end": lambda ctx: ctx.call("b", "x", "tag", timeout_ms=NOTHING),
    "a call to a list": lambda ctx: ctx.call(A_LIST, "x", "tag"),
    "a timer without a time": lambda ctx: ctx.set_timer("t", NOTHING, "x"),
    "a message to a list": lambda ctx: ctx.cast(A_LIST, 1),
    "a list as a name": lambda ctx: ctx.register(A_LIST),
    "a monitor of a list": lambda ctx: ctx.monitor(A_LIST),
    "a link to a list": lambda ctx: ctx.link(A_LIST),
    "the end of a list": lambda ctx: ctx.terminate_child("dynamic", A_LIST),
    "an event that is no value": lambda ctx: ctx.emit(object()),
}


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
def test_a_wish_that_makes_no_sense_is_a_crash_and_nothing_of_its_handler_is_done(
    world: HostWorld, wish: Do
) -> None:
    def handler(ctx: Context) -> None:
        ctx.cast("b", "half of it")
        wish(ctx)

    before = world.incarnation("a")
    world.tell("a", handler)
    world.turn(1)
    (report,) = world.host.crash_reports
    assert report.address == "a"
    assert world.incarnation("a") > before
    assert world.heard("b") == []
    assert goes_on(world)


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
def test_a_wish_of_init_that_makes_no_sense_refuses_the_start(world: HostWorld, wish: Do) -> None:
    with pytest.raises(RequestError) as refused:
        world.add("z", arg=wish)
    assert refused.value.code == "invalid"
    assert not world.host.exists("z")
    assert goes_on(world)


# -- what it raises ---------------------------------------------------------------------------------------------

ERRORS = pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Mute(), "Mute"),
        (Unspeakable("told"), "Unspeakable: told"),
        (SystemExit(1), "SystemExit: 1"),
        (RecursionError("too deep"), "RecursionError: too deep"),
    ],
    ids=["without words", "that cannot be shown", "an exit", "a recursion"],
)


def raises(error: BaseException) -> Callable[[Context], None]:
    def fail(ctx: Context) -> None:
        raise error

    return fail


@ERRORS
def test_whatever_a_handler_raises_is_a_crash_of_its_actor(
    world: HostWorld, error: BaseException, reason: str
) -> None:
    before = world.incarnation("a")
    world.tell("a", raises(error))
    (report,) = world.host.crash_reports
    assert (report.address, report.reason) == ("a", reason)
    assert world.incarnation("a") > before
    assert goes_on(world)


@ERRORS
def test_whatever_init_raises_refuses_the_start(world: HostWorld, error: BaseException, reason: str) -> None:
    with pytest.raises(RequestError, match=f"^z: {reason}$"):
        world.add("z", arg=raises(error))
    assert not world.host.exists("z")
    assert goes_on(world)


@ERRORS
def test_whatever_a_terminate_hook_raises_is_reported_and_the_actor_ends(
    world: HostWorld, error: BaseException, reason: str
) -> None:
    world.add("z", kind="clinging", arg=error)
    world.tell("z", lambda ctx: ctx.register("the-z"))
    world.host.terminate_child("z")
    world.turn()
    assert [(each.address, each.reason) for each in world.host.crash_reports] == [
        ("z", f"terminate: {reason}")
    ]
    assert not world.host.exists("z")
    assert world.host.whereis("the-z") is None
    assert goes_on(world)


# -- what it shows ----------------------------------------------------------------------------------------------

SHOWN = "<Unshowable that cannot be shown: RuntimeError>"


def test_a_dead_letter_that_cannot_be_shown_is_kept_all_the_same(world: HostWorld) -> None:
    world.tell("a", lambda ctx: ctx.cast("nobody", Unshowable()))
    (letter,) = world.host.dead_letters
    assert (letter.address, letter.message) == ("nobody", SHOWN)
    assert not world.host.crash_reports
    assert goes_on(world)


def test_a_crash_on_a_message_that_cannot_be_shown_is_reported_all_the_same(world: HostWorld) -> None:
    world.tell("a", Unspeakable("told"))
    (report,), (letter,) = world.host.crash_reports, world.host.dead_letters
    assert report.reason == "Unspeakable: told"
    assert report.message == letter.message == "<Unspeakable that cannot be shown: RuntimeError>"
    assert goes_on(world)


def test_a_message_that_cannot_be_shown_is_traced_and_reported_all_the_same(world: HostWorld) -> None:
    last = world.host.inspector.trace(["a"], None)["last"]
    world.tell("a", Unshowable())
    world.tell("a", RuntimeError("boom"))
    first, *_ = world.host.inspector.trace(["a"], last)["lines"]
    assert (first["what"], first["detail"]) == ("in", SHOWN)
    (report,) = world.host.crash_reports
    assert report.before == (SHOWN, "RuntimeError('boom')")
    assert goes_on(world)


# -- what it dumps ----------------------------------------------------------------------------------------------


def test_an_idle_actor_that_cannot_be_dumped_crashes_and_is_not_put_away(world: HostWorld) -> None:
    world.add("i", kind="idle")
    before = world.incarnation("i")
    world.turn(150)
    (report,) = world.host.crash_reports
    assert (report.address, report.message) == ("i", "dump")
    assert world.host.is_running("i")
    assert world.incarnation("i") > before
    assert goes_on(world)


def test_an_actor_that_cannot_be_dumped_spoils_no_snapshot(tmp_path: Path) -> None:
    world = DurableWorld(tmp_path / "p", {"locked": Locked})
    world.add("l", kind="locked")
    world.add("other", kind="ledger")
    for address in ("l", "other"):
        world.tell(address, "entry")
    before = world.host.tree.seats["l"].incarnation
    assert world.host.snapshot(world.partition) is not None
    (report,) = world.host.crash_reports
    assert (report.address, report.reason, report.message) == ("l", "ValueError: no dump", "dump")
    assert world.host.ask("l", "heard") == ["entry"], "it goes on"
    assert world.host.tree.seats["l"].incarnation == before
    world.again()
    assert world.heard("l") == world.heard("other") == ["entry"]
