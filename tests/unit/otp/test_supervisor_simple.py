"""simple_one_for_one and code_change in the core, where tests/conformance does not go."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.otp import supervisor as core
from slakeeper.otp.backoff import Backoff
from slakeeper.otp.child_spec import (
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    REST_FOR_ONE,
    SIMPLE_ONE_FOR_ONE,
    TEMPORARY,
    Flags,
    Quarantine,
    Restart,
    SpecError,
    Strategy,
)
from slakeeper.otp.supervisor import (
    ChangeRequested,
    Error,
    Ok,
    Refusal,
    ReleaseRequested,
    SpawnRequested,
    StartRequested,
    TerminateRequested,
)
from tests.unit.otp.supervisor_world import HANG, IGNORE, UP, World, spec


def simple(intensity: int = 5, **fields: Any) -> World:
    return World(Flags(SIMPLE_ONE_FOR_ONE, intensity), spec("job", **fields))


def change(world: World, flags: Flags, *specs: Any) -> Ok | Error | None:
    ref = f"change {len(world.replies)}"
    world.tell(ChangeRequested(ref, flags, specs))
    return world.replies.get(ref)


# -- simple_one_for_one -----------------------------------------------------------------------------------------


def test_it_is_ready_without_children_and_makes_up_an_id_for_each() -> None:
    world = simple()
    assert world.log == ["ready"]
    assert world.ask(SpawnRequested, ()) == Ok("pid-1", "info")
    assert world.ask(SpawnRequested, ("x",)) == Ok("pid-2", "info")
    assert world.since(1) == ["start job-1", "up job-1", "start job-2", "up job-2"]
    assert world.reports == [], "no progress of children that may be very many"


def test_a_start_that_hangs_holds_up_nobody() -> None:
    world = simple()
    world.starts["job-1"].append(HANG)
    waiting = world.send(SpawnRequested, ())
    assert isinstance(world.ask(SpawnRequested, ()), Ok)
    assert waiting not in world.replies
    world.finish_start("job-1")
    assert world.replies[waiting] == Ok("pid-1", "info")


def test_a_child_whose_restart_hangs_is_terminated_by_its_last_pid() -> None:
    world = simple()
    world.ask(SpawnRequested, ())
    world.starts["job-1"].append(HANG)
    world.crash("job-1")
    assert world.ask(TerminateRequested, "pid-1") == Ok()
    assert core.count_children(world.state) == core.ChildCount(1, 0, 0, 0)
    assert world.refusal(TerminateRequested, "pid-1") == "not_found"


def test_all_are_asked_to_stop_in_one_step_and_waited_for() -> None:
    world = simple()
    for _ in range(3):
        world.ask(SpawnRequested, ())
    world.slow_stops.update(["job-1", "job-2", "job-3"])
    terminating = world.send(TerminateRequested, "pid-2")
    mark = world.mark
    world.tell(core.StopRequested("shutdown"))
    assert world.since(mark) == ["stop job-3", "stop job-1"]
    for child_id in ("job-1", "job-3", "job-2"):
        assert world.ended is None
        world.finish_stop(child_id)
    assert world.ended == "shutdown"
    assert world.replies[terminating] == Ok()


def test_starts_that_are_under_way_at_a_stop_are_refused() -> None:
    world = simple()
    world.starts["job-1"].append(HANG)
    waiting = world.send(SpawnRequested, ())
    world.tell(core.StopRequested("shutdown"))
    assert world.replies[waiting] == Error(Refusal.SHUTDOWN)
    assert world.ended == "shutdown"
    assert world.refusal(SpawnRequested, ()) == "shutdown"


def test_what_is_asked_before_the_begin_is_done_after_it() -> None:
    world = World(Flags(SIMPLE_ONE_FOR_ONE), spec("job"), begin=False)
    first, second = world.send(SpawnRequested, ()), world.send(SpawnRequested, ())
    world.tell(core.Begin())
    assert [world.replies[ref] for ref in (first, second)] == [Ok("pid-1", "info"), Ok("pid-2", "info")]


def test_quarantine_is_for_children_with_names() -> None:
    with pytest.raises(SpecError, match="bad_combination"):
        Flags(SIMPLE_ONE_FOR_ONE, quarantine=Quarantine(1, 5, Backoff(1, 1)))
    assert simple().refusal(ReleaseRequested, "job") == "simple_one_for_one"


@settings(max_examples=60, deadline=None)
@given(
    restart=st.sampled_from(list(Restart)),
    ops=st.lists(
        st.tuples(
            st.sampled_from(["spawn", "spawn", "crash", "terminate", "later", "answer", "gone", "change"]),
            st.integers(0, 5),
            st.sampled_from([UP, UP, HANG, IGNORE, "no port", "normal"]),
        ),
        max_size=40,
    ),
)
def test_whatever_happens_each_running_child_is_known_by_its_pid(
    restart: Restart, ops: list[tuple[str, int, str]]
) -> None:
    world = simple(intensity=3, restart=restart)
    world.slow_stops.update(f"job-{number}" for number in (2, 4, 6))
    refs = []
    for word, number, outcome in ops:
        live = sorted(world.live)
        child_id = live[number % len(live)] if live else ""
        if word == "spawn":
            world.starts[f"job-{world.state.last_order + 1}"].append(outcome)
            refs.append(world.send(SpawnRequested, (number,)))
        elif word == "terminate":
            refs.append(world.send(TerminateRequested, f"pid-{number}"))
        elif word == "later":
            world.later(number * 500)
        elif word == "crash" and live:
            world.starts[child_id].append(outcome)
            world.crash(child_id, outcome)
        elif word == "answer" and world.starting:
            world.finish_start(min(world.starting))
        elif word == "gone" and world.asked_to_stop:
            world.finish_stop(min(world.asked_to_stop))
        elif word == "change":
            change(world, world.state.flags, spec("job", restart=restart, shutdown=number * 1_000))
        for info in core.which_children(world.state):
            assert info.id == ""
            if info.pid is not None:
                assert core.which_child(world.state, info.pid) == info
        known = {child.alias for child in world.state.children} - {None}
        assert known == set(world.state.children.aliases())
        assert set(world.live) <= set(core.child_ids(world.state))
        assert len(world.state.children) == len(list(world.state.children))
    world.tell(core.StopRequested("shutdown"))
    while world.asked_to_stop:
        world.finish_stop(min(world.asked_to_stop))
    assert world.ended == "shutdown"
    assert set(refs) <= set(world.replies)
    assert len(world.state.children) == 0
    assert not list(world.state.children.aliases())


# -- code_change ------------------------------------------------------------------------------------------------


def test_a_change_waits_for_the_end_of_a_restart() -> None:
    world = World(Flags(ONE_FOR_ALL, intensity=5), spec("a"), spec("b"))
    world.starts["a"].append(HANG)
    world.crash("b")
    first = change(world, Flags(REST_FOR_ONE, intensity=5), spec("b"), spec("a"))
    assert first is None
    world.finish_start("a")
    assert core.child_ids(world.state) == ["b", "a"]
    mark = world.mark
    world.crash("a")
    assert world.since(mark) == ["start a", "up a"], "a comes last now"


def test_a_new_order_is_the_order_of_the_stop() -> None:
    world = World(None, spec("a"), spec("b"), spec("c"))
    assert change(world, Flags(), spec("c"), spec("x"), spec("a")) == Ok()
    world.ask(StartRequested, spec("y"))
    assert core.child_ids(world.state) == ["c", "x", "a", "b", "y"]
    mark = world.mark
    world.tell(core.StopRequested("shutdown"))
    assert [word for word in world.since(mark) if word.startswith("stop")] == [
        "stop y",
        "stop b",
        "stop a",
        "stop c",
    ]


def test_new_flags_count_from_the_next_exit_on() -> None:
    world = World(Flags(intensity=0), spec("a"))
    assert change(world, Flags(intensity=2), spec("a")) == Ok()
    world.crash("a")
    world.crash("a")
    assert world.running == ["a"]
    assert change(world, Flags(intensity=1), spec("a")) == Ok()
    world.crash("a")
    assert world.ended == "shutdown", "what was counted before still counts"


def test_a_child_that_restarts_goes_on_as_what_its_new_spec_says() -> None:
    world = World(Flags(intensity=5), spec("a"))
    world.starts["a"].extend(["no port", "no port"])
    world.crash("a")
    assert change(world, Flags(intensity=5), spec("a", restart=TEMPORARY)) == Ok()
    world.later()
    world.later()
    assert world.running == ["a"]
    world.crash("a")
    assert core.child_ids(world.state) == []


def test_a_child_whose_arguments_are_forgotten_stays_temporary_whatever_its_template_becomes() -> None:
    world = simple(restart=TEMPORARY)
    world.ask(SpawnRequested, ("x",))
    flags = Flags(SIMPLE_ONE_FOR_ONE, 5)
    assert change(world, flags, spec("job")) == Ok()
    world.ask(SpawnRequested, ("y",))
    world.crash("job-1")
    world.crash("job-2")
    assert list(world.live) == ["job-2"], "the first could only be started without its argument"


@pytest.mark.parametrize(
    "before, after", [(ONE_FOR_ONE, SIMPLE_ONE_FOR_ONE), (SIMPLE_ONE_FOR_ONE, ONE_FOR_ONE)]
)
def test_nothing_changes_to_or_from_simple_one_for_one(before: Strategy, after: Strategy) -> None:
    world = World(Flags(before), spec("a"))
    state = world.state
    answer = change(world, Flags(after), spec("a"))
    assert isinstance(answer, Error)
    assert answer.reason is Refusal.BAD_COMBINATION
    assert world.state == state


def test_a_change_of_what_has_ended_is_refused() -> None:
    world = World(None, spec("a"))
    world.tell(core.StopRequested("shutdown"))
    assert change(world, Flags(), spec("a")) == Error(Refusal.SHUTDOWN)
