"""The requests of a supervisor: start_child, terminate_child, restart_child, delete_child."""

import pytest

from slakeeper.otp import supervisor as core
from slakeeper.otp.child_spec import (
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    REST_FOR_ONE,
    TEMPORARY,
    TRANSIENT,
    Flags,
    Restart,
    Strategy,
)
from slakeeper.otp.supervisor import (
    ChangeRequested,
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


@EVERY_STRATEGY
def test_the_life_of_a_child_by_request(strategy: Strategy) -> None:
    world = World(Flags(strategy))
    assert world.ask(StartRequested, spec("x")) == Ok("pid-1", "info")
    assert world.ask(StartRequested, spec("x")) == Error(Refusal.ALREADY_STARTED, "pid-1")
    assert world.refusal(RestartRequested, "x") == "running"
    assert world.refusal(DeleteRequested, "x") == "running"
    assert world.refusal(ReleaseRequested, "x") == "not_quarantined"
    assert world.ask(TerminateRequested, "x") == Ok()
    assert world.ask(TerminateRequested, "x") == Ok(), "stopped already"
    assert world.refusal(StartRequested, spec("x")) == "already_present"
    assert world.ask(RestartRequested, "x") == Ok("pid-2", "info")
    assert world.ask(TerminateRequested, "x") == Ok()
    assert world.ask(DeleteRequested, "x") == Ok()
    for kind in (TerminateRequested, RestartRequested, DeleteRequested, ReleaseRequested):
        assert world.refusal(kind, "x") == "not_found"
    assert core.child_restarts(world.state, "x") == 0


@EVERY_STRATEGY
def test_starts_by_request_are_not_counted(strategy: Strategy) -> None:
    world = three(strategy, intensity=0)
    for _ in range(10):
        world.ask(TerminateRequested, "b")
        assert isinstance(world.ask(RestartRequested, "b"), Ok)
    assert world.running == ["a", "b", "c"]


@EVERY_STRATEGY
def test_a_requested_start_that_fails_discards_the_spec_and_leaves_the_rest_alone(strategy: Strategy) -> None:
    world = three(strategy, intensity=0)
    world.starts["x"].append("no port")
    assert world.ask(StartRequested, spec("x")) == Error(Refusal.START_ERROR, detail="no port")
    assert core.get_childspec(world.state, "x") is None
    assert world.running == ["a", "b", "c"]
    assert world.refusal(TerminateRequested, "x") == "not_found"


@EVERY_STRATEGY
def test_a_requested_restart_that_fails_keeps_the_spec(strategy: Strategy) -> None:
    world = three(strategy)
    world.ask(TerminateRequested, "b")
    world.starts["b"].append("no port")
    assert world.ask(RestartRequested, "b") == Error(Refusal.START_ERROR, detail="no port")
    assert world.status("b") == "stopped"
    assert isinstance(world.ask(RestartRequested, "b"), Ok)


@EVERY_STRATEGY
@EVERY_RESTART
def test_a_requested_start_that_is_ignored_is_ok_without_a_pid(strategy: Strategy, restart: Restart) -> None:
    world = World(Flags(strategy))
    world.starts["x"].append(IGNORE)
    assert world.ask(StartRequested, spec("x", restart=restart)) == Ok(None)
    assert (core.get_childspec(world.state, "x") is None) is (restart is TEMPORARY)


def test_a_terminated_temporary_child_is_gone_with_its_spec_and_its_id_is_free() -> None:
    world = World(None, spec("a", restart=TEMPORARY))
    assert world.ask(TerminateRequested, "a") == Ok()
    assert world.refusal(RestartRequested, "a") == "not_found"
    assert isinstance(world.ask(StartRequested, spec("a")), Ok)


def test_a_significant_child_is_refused_where_nobody_minds() -> None:
    world = three()
    assert world.refusal(StartRequested, spec("x", restart=TRANSIENT, significant=True)) == "bad_combination"


def test_while_a_child_stops_requests_about_its_siblings_are_answered() -> None:
    world = three()
    world.slow_stops.add("b")
    stopping = world.send(TerminateRequested, "b")
    assert stopping not in world.replies
    assert world.ask(TerminateRequested, "a") == Ok()
    assert isinstance(world.ask(StartRequested, spec("x")), Ok)
    world.crash("c")
    assert world.running == ["b", "c", "x"]
    world.finish_stop("b")
    assert world.replies[stopping] == Ok()


def test_what_is_asked_about_a_child_that_is_stopping_comes_after_its_stop_in_order() -> None:
    world = three()
    world.slow_stops.add("b")
    refs = [
        world.send(TerminateRequested, "b"),
        world.send(TerminateRequested, "b"),
        world.send(StartRequested, spec("b")),
        world.send(RestartRequested, "b"),
        world.send(DeleteRequested, "b"),
        world.send(TerminateRequested, "b"),
    ]
    world.slow_stops.clear()
    world.finish_stop("b")
    assert [world.replies.get(ref) for ref in refs] == [
        Ok(),
        Ok(),
        Error(Refusal.ALREADY_PRESENT),
        Error(Refusal.START_ERROR, detail="terminated before it had started"),
        Error(Refusal.RESTARTING),
        Ok(),
    ]


def test_terminate_then_delete_in_one_breath_deletes() -> None:
    world = three()
    world.slow_stops.add("b")
    world.send(TerminateRequested, "b")
    deleted = world.send(DeleteRequested, "b")
    world.finish_stop("b")
    assert world.replies[deleted] == Ok()
    assert core.child_ids(world.state) == ["a", "c"]


@EVERY_STRATEGY
def test_a_terminate_overtakes_a_requested_start_that_hangs(strategy: Strategy) -> None:
    world = three(strategy)
    world.starts["x"].append(HANG)
    starting = world.send(StartRequested, spec("x"))
    assert world.ask(TerminateRequested, "x") == Ok()
    assert world.replies[starting] == Error(Refusal.START_ERROR, detail="terminated before it had started")
    assert world.status("x") == "stopped"
    assert isinstance(world.ask(StartRequested, spec("y")), Ok), "nothing waits for x any more"


def test_a_stop_answers_everybody_who_waits() -> None:
    world = three(REST_FOR_ONE)
    world.slow_stops.add("b")
    world.starts["x"].append(HANG)
    terminating, deleting = world.send(TerminateRequested, "b"), world.send(DeleteRequested, "b")
    starting, behind = world.send(StartRequested, spec("x")), world.send(StartRequested, spec("y"))
    world.tell(core.StopRequested("shutdown"))
    refused = Error(Refusal.SHUTDOWN)
    assert {ref: world.replies[ref] for ref in (deleting, starting, behind)} == {
        deleting: refused,
        starting: refused,
        behind: refused,
    }
    world.finish_stop("b")
    assert world.replies[terminating] == Ok()
    assert world.ended == "shutdown"


@pytest.mark.parametrize("strategy", [REST_FOR_ONE, ONE_FOR_ALL])
def test_where_order_counts_a_crash_waits_for_a_requested_start(strategy: Strategy) -> None:
    world = three(strategy)
    world.starts["x"].append(HANG)
    world.send(StartRequested, spec("x"))
    mark = world.mark
    world.crash("c")
    assert world.since(mark) == []
    world.finish_start("x")
    stops = ["stop x", "gone x"] + (
        ["stop b", "gone b", "stop a", "gone a"] if strategy is ONE_FOR_ALL else []
    )
    starts = ["start c", "up c", "start x", "up x"]
    if strategy is ONE_FOR_ALL:
        starts = ["start a", "up a", "start b", "up b", *starts]
    assert world.since(mark) == ["up x", *stops, *starts]


def test_a_spec_that_cannot_be_is_refused_as_such_though_its_name_is_taken() -> None:
    world = three()
    assert world.refusal(StartRequested, spec("a", restart=TRANSIENT, significant=True)) == "bad_combination"


@EVERY_STRATEGY
@pytest.mark.parametrize("outcome", ["no luck", IGNORE])
def test_restart_child_keeps_the_spec_of_a_temporary_child_that_a_code_change_has_added(
    strategy: Strategy, outcome: str
) -> None:
    world = World(Flags(strategy))
    added = spec("a", restart=TEMPORARY)
    world.tell(ChangeRequested("change", Flags(strategy), (added,)))
    world.starts["a"].extend([outcome])
    world.ask(RestartRequested, "a")
    assert core.get_childspec(world.state, "a") == added, "with all that it is started with"
    assert isinstance(world.ask(RestartRequested, "a"), Ok)
    assert world.running == ["a"]
