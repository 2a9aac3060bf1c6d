"""Restart types, strategies, intensity and escalation of a supervisor, after OTP's supervisor_SUITE."""

import pytest

from slakeeper.otp import supervisor as core
from slakeeper.otp.child_spec import (
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    PERMANENT,
    REST_FOR_ONE,
    TEMPORARY,
    TRANSIENT,
    AutoShutdown,
    Flags,
    Restart,
    Strategy,
)
from slakeeper.otp.supervisor import (
    DeleteRequested,
    Ok,
    RestartRequested,
    StartRequested,
    TerminateRequested,
)
from tests.unit.otp.supervisor_world import HANG, IGNORE, NAMED, World, spec

NORMAL = ("normal", "shutdown", "shutdown: done")
ABNORMAL = ("boom", "killed", "")
EVERY_STRATEGY = pytest.mark.parametrize("strategy", NAMED)
GROUPS = pytest.mark.parametrize("strategy", [REST_FOR_ONE, ONE_FOR_ALL])


def three(strategy: Strategy = ONE_FOR_ONE, intensity: int = 1, *, restart: Restart = PERMANENT) -> World:
    return World(Flags(strategy, intensity), spec("a"), spec("b", restart=restart), spec("c"))


def stopped(*ids: str) -> list[str]:
    return [f"{word} {child_id}" for child_id in ids for word in ("stop", "gone")]


def started(*ids: str) -> list[str]:
    return [f"{word} {child_id}" for child_id in ids for word in ("start", "up")]


# -- the matrix -----------------------------------------------------------------------------------------------

AFTER_A_RESTART = {
    ONE_FOR_ONE: started("b"),
    REST_FOR_ONE: stopped("c") + started("b", "c"),
    ONE_FOR_ALL: stopped("c", "a") + started("a", "b", "c"),
}


@EVERY_STRATEGY
@pytest.mark.parametrize("restart", list(Restart))
@pytest.mark.parametrize("reason", NORMAL + ABNORMAL)
def test_the_end_of_a_child_leads_to_what_its_type_and_the_strategy_say(
    strategy: Strategy, restart: Restart, reason: str
) -> None:
    world = three(strategy, restart=restart)
    mark = world.mark
    world.crash("b", reason)
    comes_back = restart is PERMANENT or (restart is TRANSIENT and reason in ABNORMAL)
    assert world.since(mark) == (AFTER_A_RESTART[strategy] if comes_back else [])
    assert world.running == (["a", "b", "c"] if comes_back else ["a", "c"])
    assert (core.get_childspec(world.state, "b") is None) is (restart is TEMPORARY)
    assert world.kinds()["child_terminated"] == (restart is PERMANENT or reason in ABNORMAL)
    assert core.child_restarts(world.state, "b") == comes_back


@EVERY_STRATEGY
@pytest.mark.parametrize("restart", list(Restart))
@pytest.mark.parametrize("reason", NORMAL + ABNORMAL)
def test_every_end_that_leads_to_a_restart_counts_and_no_other(
    strategy: Strategy, restart: Restart, reason: str
) -> None:
    world = three(strategy, intensity=0, restart=restart)
    world.crash("b", reason)
    comes_back = restart is PERMANENT or (restart is TRANSIENT and reason in ABNORMAL)
    assert world.ended == ("shutdown" if comes_back else None)


# -- strategies -----------------------------------------------------------------------------------------------


def test_rest_for_one_leaves_the_earlier_children_alone() -> None:
    world = three(REST_FOR_ONE)
    mark = world.mark
    world.crash("c")
    assert world.since(mark) == started("c")


@GROUPS
def test_a_temporary_sibling_is_stopped_and_dropped(strategy: Strategy) -> None:
    world = World(Flags(strategy), spec("a"), spec("t", restart=TEMPORARY), spec("c"))
    world.crash("a")
    assert world.running == ["a", "c"]
    assert core.get_childspec(world.state, "t") is None


@GROUPS
def test_a_child_that_was_terminated_comes_back_with_its_group(strategy: Strategy) -> None:
    world = three(strategy)
    world.ask(TerminateRequested, "c")
    world.crash("a")
    assert world.running == ["a", "b", "c"]


@GROUPS
def test_one_restart_of_a_group_counts_once(strategy: Strategy) -> None:
    world = three(strategy, intensity=2)
    world.crash("a")
    world.crash("a")
    assert world.ended is None
    world.crash("a")
    assert world.ended == "shutdown"


@GROUPS
def test_a_child_of_the_group_that_exits_before_it_is_stopped_counts_no_more(strategy: Strategy) -> None:
    world = three(strategy)
    world.slow_stops.add("c")
    mark = world.mark
    world.crash("a")
    world.crash("b")
    world.finish_stop("c")
    assert world.since(mark) == stopped("c") + started("a", "b", "c")
    assert world.ended is None


@GROUPS
def test_a_child_that_crashes_again_while_the_group_starts_is_restarted_afterwards(
    strategy: Strategy,
) -> None:
    world = three(strategy, intensity=2)
    world.starts["b"].append(HANG)
    world.crash("a")
    world.crash("a")
    mark = world.mark
    assert world.status("a") == "restarting"
    world.finish_start("b")
    assert world.since(mark) == ["up b", *started("c"), *stopped("c", "b"), *started("a", "b", "c")]


def test_under_rest_for_one_an_earlier_child_that_crashes_meanwhile_restarts_all_after_it() -> None:
    world = three(REST_FOR_ONE, intensity=2)
    world.starts["c"].append(HANG)
    world.crash("b")
    world.crash("a")
    mark = world.mark
    world.finish_start("c")
    assert world.since(mark) == ["up c", *stopped("c", "b"), *started("a", "b", "c")]


@GROUPS
def test_terminating_a_child_of_a_restarting_group_keeps_it_down(strategy: Strategy) -> None:
    world = World(Flags(strategy), *(spec(child_id) for child_id in "abcde"))
    world.slow_stops.add("d")
    world.starts["a"].append(HANG)
    world.crash("a")
    mark = world.mark
    in_its_turn = world.send(TerminateRequested, "c")
    assert world.since(mark) == []
    now_stopping = world.send(TerminateRequested, "d")
    assert world.refusal(RestartRequested, "a") == "restarting"
    world.finish_stop("d")
    assert [world.replies[ref] for ref in (in_its_turn, now_stopping)] == [Ok(), Ok()]
    assert world.ask(TerminateRequested, "e") == Ok(), "it waits for its start"
    world.finish_start("a")
    assert world.running == ["a", "b"]


@GROUPS
def test_the_next_child_is_not_started_before_a_terminated_one_is_gone(strategy: Strategy) -> None:
    world = three(strategy)
    world.starts["b"].append(HANG)
    world.slow_stops.add("b")
    world.ask(TerminateRequested, "c")
    world.crash("a" if strategy is ONE_FOR_ALL else "b")
    if strategy is ONE_FOR_ALL:
        world.finish_stop("b")
    mark = world.mark
    world.send(TerminateRequested, "b")
    world.send(TerminateRequested, "a")
    assert world.since(mark) == ["stop b", *stopped("a")]
    world.finish_stop("b")
    assert world.since(mark) == ["stop b", *stopped("a"), "gone b", *started("c")]


@GROUPS
def test_a_child_asked_for_while_the_group_restarts_is_started_after_it(strategy: Strategy) -> None:
    world = three(strategy)
    world.starts["b"].append(HANG)
    world.crash("a")
    asked = world.send(StartRequested, spec("x"))
    ended_again = world.send(TerminateRequested, "x")
    mark = world.mark
    world.finish_start("b")
    assert world.since(mark) == ["up b", *started("c", "x"), *stopped("x")]
    assert isinstance(world.replies[asked], Ok)
    assert world.replies[ended_again] == Ok()


# -- restarts that fail to start ------------------------------------------------------------------------------


def test_a_restart_that_fails_is_tried_again_by_a_message_to_itself() -> None:
    world = three(intensity=3)
    world.starts["b"].extend(["no port", "no port"])
    world.crash("b")
    assert world.status("b") == "restarting"
    assert [(at_ms, retry.child_id) for at_ms, retry in world.retries] == [(0, "b")]
    assert isinstance(world.ask(StartRequested, spec("x")), Ok), "others are answered in between"
    assert world.refusal(RestartRequested, "b") == "restarting"
    assert world.refusal(DeleteRequested, "b") == "restarting"
    assert world.refusal(StartRequested, spec("b")) == "already_present"
    world.later()
    world.later()
    assert world.status("b") == "running"
    assert core.child_restarts(world.state, "b") == 3


@EVERY_STRATEGY
@pytest.mark.parametrize("intensity", [0, 1, 2, 5])
def test_a_child_that_never_starts_again_is_tried_as_often_as_the_intensity_says(
    strategy: Strategy, intensity: int
) -> None:
    world = three(strategy, intensity)
    mark = world.mark
    world.starts["b"].extend(["no port"] * 100)
    world.crash("b")
    while world.retries:
        world.later()
    assert world.since(mark).count("start b") == intensity
    assert world.ended == "shutdown"


def test_a_retry_of_one_for_all_restarts_all_and_one_of_rest_for_one_begins_at_the_failed_child() -> None:
    for strategy, expected in (
        (ONE_FOR_ALL, stopped("a") + started("a", "b", "c")),
        (REST_FOR_ONE, started("b", "c")),
    ):
        world = three(strategy, intensity=5)
        world.starts["b"].append("no port")
        world.crash("a")
        assert world.running == ["a"]
        assert world.status("c") == "stopped"
        mark = world.mark
        world.later()
        assert world.since(mark) == expected


def test_a_restart_that_is_ignored_is_a_success_without_a_pid() -> None:
    world = three()
    world.starts["b"].append(IGNORE)
    world.crash("b")
    assert world.status("b") == "stopped"
    assert world.retries == []
    assert isinstance(world.ask(RestartRequested, "b"), Ok)


@EVERY_STRATEGY
def test_terminating_a_restarting_child_cancels_its_retry(strategy: Strategy) -> None:
    world = three(strategy)
    world.starts["b"].append("no port")
    world.crash("b")
    assert world.ask(TerminateRequested, "b") == Ok()
    mark = world.mark
    world.later()
    assert world.since(mark) == []
    assert world.status("b") == "stopped"
    assert world.ask(DeleteRequested, "b") == Ok()


def test_a_stop_overtakes_a_restart_loop() -> None:
    world = three(intensity=1_000)
    world.starts["b"].extend(["no port"] * 1_000)
    world.crash("b")
    for _ in range(10):
        world.later()
    mark = world.mark
    world.tell(core.StopRequested("shutdown"))
    world.later()
    assert world.since(mark) == [*stopped("c", "a"), "terminated shutdown"]


def test_a_retry_made_needless_by_a_restart_of_the_group_is_ignored() -> None:
    world = three(ONE_FOR_ALL, intensity=5)
    world.starts["c"].append("no port")
    world.crash("b")
    world.crash("a")
    assert world.running == ["a", "b", "c"]
    mark = world.mark
    world.later()
    assert world.since(mark) == []


def test_what_is_heard_of_an_earlier_incarnation_changes_nothing() -> None:
    world = three()
    late = core.ChildExited("b", world.live["b"], "boom")
    world.crash("b")
    state = world.state
    mark = world.mark
    for event in (
        late,
        core.ChildStarted("b", late.incarnation, "old"),
        core.ChildIgnored("b", late.incarnation),
        core.ChildStartFailed("b", late.incarnation, "no port"),
        core.RetryDue("b", late.incarnation),
        core.ChildExited("nobody", 1, "boom"),
    ):
        world.tell(event)
    assert world.state == state
    assert world.since(mark) == []


# -- intensity and escalation ---------------------------------------------------------------------------------


@EVERY_STRATEGY
@pytest.mark.parametrize("intensity", [0, 1, 2, 5])
def test_as_many_restarts_as_the_intensity_are_survived_and_one_more_ends_it(
    strategy: Strategy, intensity: int
) -> None:
    world = three(strategy, intensity)
    for _ in range(intensity):
        world.crash("a")
        assert world.running == ["a", "b", "c"]
    mark = world.mark
    world.crash("a")
    assert world.since(mark) == [*stopped("c", "b"), "terminated shutdown"]
    last = [report for report in world.reports if report.kind == "shutdown"]
    assert [(report.child_id, report.reason) for report in last] == [("a", "reached_max_restart_intensity")]


def test_crashes_that_come_far_enough_apart_are_survived() -> None:
    world = World(Flags(intensity=1, period_s=1), spec("a"))
    for _ in range(10):
        world.later(2_000)
        world.crash("a")
    assert world.running == ["a"]
    world.later(1_000)
    world.crash("a")
    assert world.ended == "shutdown"


def test_a_sub_supervisor_that_gave_up_is_restarted_if_permanent_and_not_if_transient() -> None:
    inner = World(Flags(intensity=0), spec("x"))
    inner.crash("x")
    assert inner.ended is not None
    outer = World(Flags(), spec("p", type="supervisor"), spec("t", type="supervisor", restart=TRANSIENT))
    outer.crash("p", inner.ended)
    outer.crash("t", inner.ended)
    assert outer.running == ["p"]
    assert outer.status("t") == "stopped"


# -- auto_shutdown --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auto_shutdown", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])
def test_the_end_of_significant_children_ends_the_supervisor(auto_shutdown: AutoShutdown) -> None:
    children = [
        spec("a"),
        spec("s", restart=TRANSIENT, significant=True),
        spec("t", restart=TEMPORARY, significant=True),
    ]
    world = World(Flags(auto_shutdown=auto_shutdown), *children)
    world.crash("t", "boom")
    if auto_shutdown is AutoShutdown.ALL_SIGNIFICANT:
        assert world.ended is None
        world.crash("s", "normal")
    assert world.ended == "shutdown"


def test_a_significant_transient_child_that_crashes_is_restarted_instead() -> None:
    child = spec("s", restart=TRANSIENT, significant=True)
    world = World(Flags(auto_shutdown=AutoShutdown.ANY_SIGNIFICANT), child)
    world.crash("s")
    assert world.running == ["s"]


def test_only_ends_that_a_child_comes_to_by_itself_count() -> None:
    children = [spec("a"), spec("s", restart=TRANSIENT, significant=True)]
    world = World(Flags(REST_FOR_ONE, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT), *children)
    world.ask(TerminateRequested, "s")
    world.ask(RestartRequested, "s")
    world.crash("a")
    assert world.running == ["a", "s"]


def test_the_end_of_a_child_that_is_not_significant_ends_nothing() -> None:
    children = [spec("n", restart=TRANSIENT), spec("s", restart=TRANSIENT, significant=True)]
    world = World(Flags(auto_shutdown=AutoShutdown.ANY_SIGNIFICANT), *children)
    world.crash("n", "normal")
    assert world.running == ["s"]
