"""Starting, stopping and looking at a supervisor, after OTP's supervisor_SUITE."""

from copy import deepcopy

import pytest

from slakeeper.otp import supervisor as core
from slakeeper.otp.child_spec import (
    BRUTAL_KILL,
    INFINITY,
    ONE_FOR_ONE,
    PERMANENT,
    SUPERVISOR,
    TEMPORARY,
    TRANSIENT,
    Flags,
    Restart,
    Shutdown,
    Strategy,
)
from slakeeper.otp.supervisor import (
    DeleteRequested,
    Error,
    Ok,
    Refusal,
    ReleaseRequested,
    RestartRequested,
    StartRequested,
    TerminateRequested,
)
from tests.unit.otp.supervisor_world import HANG, IGNORE, NAMED, World, spec

EVERY_STRATEGY = pytest.mark.parametrize("strategy", NAMED)
EVERY_RESTART = pytest.mark.parametrize("restart", list(Restart))


def three(strategy: Strategy = ONE_FOR_ONE, intensity: int = 1) -> World:
    return World(Flags(strategy, intensity), spec("a"), spec("b"), spec("c"))


def unbegun(*ids: str, strategy: Strategy = ONE_FOR_ONE) -> World:
    return World(Flags(strategy), *(spec(child_id) for child_id in ids), begin=False)


# -- start ----------------------------------------------------------------------------------------------------


def test_children_start_in_order_each_after_the_one_before_and_then_it_is_ready() -> None:
    assert three().log == ["start a", "up a", "start b", "up b", "start c", "up c", "ready"]


def test_without_children_it_is_ready_at_once() -> None:
    assert World().log == ["ready"]


def test_a_second_begin_changes_nothing() -> None:
    world = three()
    mark = world.mark
    world.tell(core.Begin())
    assert world.since(mark) == []


def test_the_next_child_waits_while_one_is_starting() -> None:
    world = unbegun("a", "b")
    world.starts["a"].append(HANG)
    world.tell(core.Begin())
    assert world.log == ["start a"]
    world.finish_start("a")
    assert world.log == ["start a", "up a", "start b", "up b", "ready"]


@EVERY_RESTART
def test_a_child_that_ignores_its_start_leaves_its_spec_unless_it_is_temporary(restart: Restart) -> None:
    world = World(None, spec("a", restart=restart), spec("b"), begin=False)
    world.starts["a"].append(IGNORE)
    world.tell(core.Begin())
    assert world.was_ready
    assert core.child_ids(world.state) == (["b"] if restart is TEMPORARY else ["a", "b"])
    assert world.status("a") == "stopped"
    assert world.running == ["b"]


@EVERY_STRATEGY
@EVERY_RESTART
def test_a_child_that_fails_in_init_fails_the_supervisor_without_a_second_try(
    strategy: Strategy, restart: Restart
) -> None:
    world = World(Flags(strategy), spec("a"), spec("b"), spec("c", restart=restart), spec("d"), begin=False)
    world.starts["c"].append("no port")
    world.tell(core.Begin())
    assert world.log[4:] == ["start c", "stop b", "gone b", "stop a", "gone a", "start failed c"]
    assert world.ended == "shutdown: failed_to_start_child c: no port"
    assert core.is_normal(world.ended)
    assert world.kinds()["start_error"] == 1


def test_a_child_that_exits_before_its_start_is_answered_has_failed_to_start() -> None:
    world = unbegun("a")
    world.starts["a"].append(HANG)
    world.tell(core.Begin())
    world.crash("a", "killed")
    assert world.ended == "shutdown: failed_to_start_child a: killed"


def test_a_child_that_crashes_during_init_is_restarted_after_it() -> None:
    world = unbegun("a", "b")
    world.starts["b"].append(HANG)
    world.tell(core.Begin())
    world.crash("a")
    assert world.status("a") == "restarting"
    world.finish_start("b")
    assert world.log == ["start a", "up a", "start b", "up b", "ready", "start a", "up a"]


def test_requests_before_and_during_init_are_answered_after_it() -> None:
    world = unbegun("a")
    world.starts["a"].append(HANG)
    early = world.send(StartRequested, spec("x"))
    world.tell(core.Begin())
    late = world.send(StartRequested, spec("y"))
    assert world.replies == {}
    world.finish_start("a")
    assert world.log == ["start a", "up a", "ready", "start x", "up x", "start y", "up y"]
    assert world.replies == {early: Ok("pid-2", "info"), late: Ok("pid-3", "info")}


def test_a_stop_overtakes_a_start_that_hangs() -> None:
    world = unbegun("a", "b", "c")
    world.starts["b"].append(HANG)
    world.tell(core.Begin())
    waiting = world.send(StartRequested, spec("x"))
    world.tell(core.StopRequested("enough"))
    assert world.log[3:] == ["stop b", "gone b", "stop a", "gone a", "terminated enough"]
    assert not world.was_ready
    assert world.replies[waiting] == Error(Refusal.SHUTDOWN)


@pytest.mark.parametrize("answer", ["up", "ignore", "failed"])
def test_a_start_that_is_answered_after_all_while_being_stopped_changes_nothing(answer: str) -> None:
    world = unbegun("a", "b")
    world.starts["b"].append(HANG)
    world.slow_stops.add("b")
    world.tell(core.Begin())
    world.tell(core.StopRequested("shutdown"))
    world.finish_start("b", answer)
    if answer == "up":
        assert world.log[-2:] == ["stop b", "up b"]
        world.finish_stop("b")
    assert world.ended == "shutdown"
    assert world.kinds()["shutdown_error"] == 0


# -- stop -----------------------------------------------------------------------------------------------------


def test_children_stop_in_reverse_one_at_a_time() -> None:
    world = three()
    world.slow_stops.update("abc")
    mark = world.mark
    world.tell(core.StopRequested("shutdown"))
    assert world.since(mark) == ["stop c"]
    world.finish_stop("c")
    world.finish_stop("b")
    world.finish_stop("a")
    assert world.since(mark) == [
        "stop c",
        "gone c",
        "stop b",
        "gone b",
        "stop a",
        "gone a",
        "terminated shutdown",
    ]


def test_a_stop_before_the_begin_ends_it() -> None:
    world = unbegun("a")
    waiting = world.send(StartRequested, spec("x"))
    world.tell(core.StopRequested("changed my mind"))
    world.tell(core.Begin())
    assert world.log == ["terminated changed my mind"]
    assert world.replies[waiting] == Error(Refusal.SHUTDOWN)


def test_the_first_reason_to_stop_stays() -> None:
    world = three()
    world.slow_stops.add("c")
    world.tell(core.StopRequested("first"))
    world.tell(core.StopRequested("second"))
    world.finish_stop("c")
    world.tell(core.StopRequested("third"))
    assert world.ended == "first"


def test_children_that_exit_by_themselves_while_others_stop_are_not_restarted() -> None:
    world = three()
    world.slow_stops.add("c")
    mark = world.mark
    world.tell(core.StopRequested("shutdown"))
    world.crash("a")
    world.finish_stop("c")
    assert world.since(mark) == ["stop c", "gone c", "stop b", "gone b", "terminated shutdown"]


@pytest.mark.parametrize("shutdown", [0, 5_000, BRUTAL_KILL, INFINITY])
def test_the_driver_is_told_how_long_to_wait_before_a_kill(shutdown: Shutdown) -> None:
    world = World(None, spec("a", shutdown=shutdown))
    world.slow_stops.add("a")
    world.tell(core.StopRequested("shutdown"))
    assert world.asked_to_stop["a"].shutdown == shutdown


@pytest.mark.parametrize(
    "restart, shutdown, reason, errors",
    [
        (PERMANENT, 5_000, "shutdown", 0),
        (PERMANENT, 5_000, "shutdown: cleanly", 1),
        (TRANSIENT, 5_000, "shutdown: cleanly", 0),
        (PERMANENT, 5_000, "normal", 1),
        (TRANSIENT, 5_000, "normal", 0),
        (PERMANENT, 5_000, "killed", 1),
        (PERMANENT, BRUTAL_KILL, "killed", 0),
        (PERMANENT, BRUTAL_KILL, "boom", 1),
        (PERMANENT, INFINITY, "boom", 1),
    ],
)
def test_a_child_that_does_not_end_as_asked_is_reported(
    restart: Restart, shutdown: Shutdown, reason: str, errors: int
) -> None:
    world = World(None, spec("a", restart=restart, shutdown=shutdown))
    world.slow_stops.add("a")
    world.tell(core.StopRequested("shutdown"))
    world.finish_stop("a", reason)
    assert world.kinds()["shutdown_error"] == errors
    assert world.ended == "shutdown"


def test_after_the_end_requests_are_refused_and_all_else_is_ignored() -> None:
    world = three()
    world.tell(core.StopRequested("shutdown"))
    state = world.state
    assert world.refusal(StartRequested, spec("x")) == "shutdown"
    for kind in (TerminateRequested, RestartRequested, DeleteRequested, ReleaseRequested):
        assert world.refusal(kind, "a") == "shutdown"
    for event in (
        core.Begin(),
        core.ChildExited("a", 1, "boom"),
        core.RetryDue("a", 1),
        core.ChildStarted("a", 1, 1),
    ):
        world.tell(event)
    assert world.state == state


# -- looking --------------------------------------------------------------------------------------------------


def test_children_are_listed_with_the_last_started_first() -> None:
    world = World(None, spec("a"), spec("b", type=SUPERVISOR), spec("c"))
    world.ask(TerminateRequested, "c")
    assert [
        (child.id, child.pid, child.type, child.status) for child in core.which_children(world.state)
    ] == [
        ("c", None, "worker", "stopped"),
        ("b", "pid-2", "supervisor", "running"),
        ("a", "pid-1", "worker", "running"),
    ]
    assert core.count_children(world.state) == core.ChildCount(specs=3, active=2, supervisors=1, workers=2)


def test_a_restarting_child_is_not_active() -> None:
    world = three(intensity=5)
    world.starts["b"].append("no port")
    world.crash("b")
    assert world.status("b") == "restarting"
    assert core.count_children(world.state).active == 2
    assert core.which_children(world.state)[1].pid is None


def test_progress_says_whether_somebody_asked() -> None:
    world = World(None, spec("a"))
    world.ask(StartRequested, spec("x"))
    assert [(report.child_id, report.detail) for report in world.reports] == [
        ("a", "supervised"),
        ("x", "requested"),
    ]


def test_the_same_events_at_the_same_times_give_the_same_actions_and_state() -> None:
    world = three()
    before, crash = world.state, world.exit_of("b")
    other = deepcopy(before)
    first, second = core.step(before, crash, 7), core.step(other, crash, 7)
    assert first == second
    assert first[0] is before
    assert first[0] is not second[0]
    assert core.child_status(before, "b") == "restarting"
