"""Children that run already when their supervisor begins: it starts the others, and looks after all."""

import pytest

from slakeeper.otp import supervisor as core
from slakeeper.otp.child_spec import ONE_FOR_ALL, ONE_FOR_ONE, REST_FOR_ONE, Flags, Restart, Strategy
from tests.unit.otp.supervisor_world import World, spec


def two_of_four(strategy: Strategy = ONE_FOR_ONE, intensity: int = 1) -> World:
    specs = (spec(child_id) for child_id in "abcd")
    return World(Flags(strategy, intensity), *specs, there=("b", "d"))


def test_only_the_others_are_started() -> None:
    world = two_of_four()
    assert world.log == ["start a", "up a", "start c", "up c", "ready"]
    assert world.running == ["a", "b", "c", "d"]
    assert core.child_restarts(world.state, "b") == 0


def test_a_supervisor_whose_children_are_all_there_is_ready_at_once() -> None:
    world = World(Flags(), spec("a"), spec("b"), there=("a", "b"))
    assert world.log == ["ready"]


def test_one_that_ends_is_restarted_as_any_other() -> None:
    world = two_of_four()
    mark = world.mark
    world.crash("b")
    assert world.since(mark) == ["start b", "up b"]
    assert core.child_restarts(world.state, "b") == 1
    world.crash("b")
    assert world.ended == "shutdown"


@pytest.mark.parametrize(
    ("strategy", "stopped", "started"), [(REST_FOR_ONE, "dc", "bcd"), (ONE_FOR_ALL, "dca", "abcd")]
)
def test_a_strategy_takes_it_in_its_place(strategy: Strategy, stopped: str, started: str) -> None:
    world = two_of_four(strategy)
    mark = world.mark
    world.crash("b")
    stops = [f"{what} {child_id}" for child_id in stopped for what in ("stop", "gone")]
    starts = [f"{what} {child_id}" for child_id in started for what in ("start", "up")]
    assert world.since(mark) == stops + starts


def test_all_are_stopped_in_reverse() -> None:
    world = two_of_four()
    mark = world.mark
    world.tell(core.StopRequested("shutdown"))
    assert [line for line in world.since(mark) if line.startswith("stop")] == [
        "stop d",
        "stop c",
        "stop b",
        "stop a",
    ]


def test_they_are_stopped_when_another_does_not_start() -> None:
    world = World(Flags(), spec("a"), spec("b"), begin=False, there=("a",))
    world.starts["b"].append("no")
    world.tell(core.Begin())
    assert world.log[:3] == ["start b", "stop a", "gone a"]
    assert world.live == {}


def test_what_an_end_that_nobody_waits_for_means_goes_by_the_restart_type() -> None:
    world = World(Flags(), spec("a", restart=Restart.TRANSIENT), there=("a",))
    world.crash("a", "normal")
    assert world.status("a") == "stopped"
