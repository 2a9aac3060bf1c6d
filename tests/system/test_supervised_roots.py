"""OTP's contract on real processes: what a root supervisor's flags and first children lead to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.system.process_tree import CONTACT, ProcessTree, planned
from tests.system.running_system import System, pause, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]

MakeTree = Callable[..., ProcessTree]
LONGER_THAN_THE_PERIOD_S = 2.1
"""Of a period of 1 s, wherever the seconds fall."""
MORE_THAN_THE_HEART_GIVES_THE_CONTACT_S = 3.5


@pytest.fixture
def plan(tmp_path: Path) -> Callable[[str, str], dict[str, str]]:
    """Args with which a child's starts go as said, the last word for ever."""
    return lambda name, words: planned(tmp_path, name, words)


def test_a_service_that_is_not_needed_does_not_run_and_keeps_its_spec_unless_it_is_temporary(
    make_tree: MakeTree,
) -> None:
    tree = make_tree(
        {},
        idle={"args": {"start": "ignore"}},
        brief={"restart": "temporary", "args": {"start": "ignore"}},
        after={"args": {}},
    )
    assert (tree.status("idle"), tree.pid("idle")) == ("stopped", 0)
    tree.becomes("brief", "gone")
    tree.becomes("after", "running")
    assert tree.ask("restart_process", "idle")["pid"] is None
    assert tree.counts() == (3, 2)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"strategy": "one_for_two"}, "invalid_strategy"),
        ({"intensity": -1}, "invalid_intensity"),
        ({"period_s": 0}, "invalid_period"),
        ({"auto_shutdown": "sometimes"}, "invalid_auto_shutdown"),
    ],
)
def test_flags_that_cannot_be_fail_the_start(
    make_system: Callable[..., System], flags: dict[str, Any], reason: str
) -> None:
    assert f"supervisor_data: {reason}" in make_system(flags=flags).failure()


GROUPS = pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])


def test_one_for_all_restarts_everyone_and_in_order(make_tree: MakeTree) -> None:
    tree = make_tree({"strategy": "one_for_all"}, a={}, b={}, c={})
    before = tree.running(CONTACT, "a", "b", "c")
    mark = len(tree.log())
    tree.end("b", "kill")
    after = tree.running(CONTACT, "a", "b", "c")
    assert not set(before.values()) & set(after.values())
    assert tree.log()[mark:] == [*stopped("c", "a"), *started("a", "b", "c")]


def test_rest_for_one_restarts_those_behind_and_keeps_those_before(make_tree: MakeTree) -> None:
    tree = make_tree({"strategy": "rest_for_one"}, a={}, b={}, c={}, d={})
    before = tree.running(CONTACT, "a", "b", "c", "d")
    mark = len(tree.log())
    tree.end("b", "crash told to")
    until(lambda: tree.pid("d") != before["d"])
    after = tree.running(CONTACT, "a", "b", "c", "d")
    assert (after[CONTACT], after["a"]) == (before[CONTACT], before["a"])
    assert tree.log()[mark:] == [*stopped("d", "c"), *started("b", "c", "d")]


def test_under_one_for_all_another_that_fails_its_restart_has_all_restarted_again(
    make_tree: MakeTree, plan: Callable[[str, str], dict[str, str]]
) -> None:
    tree = make_tree(
        {"strategy": "one_for_all", "intensity": 2}, a={}, b={}, c={"args": plan("c", "up fail up")}
    )
    mark = len(tree.log())
    tree.end("a", "kill")
    twice = [*stopped("c", "b"), *started("a", "b", "c"), *stopped("b", "a"), *started("a", "b", "c")]
    assert tree.since(mark, lambda log: len(log) >= len(twice)) == twice
    tree.running(CONTACT, "a", "b", "c")


def test_under_rest_for_one_another_that_fails_its_restart_is_retried_without_those_before(
    make_tree: MakeTree, plan: Callable[[str, str], dict[str, str]]
) -> None:
    tree = make_tree(
        {"strategy": "rest_for_one", "intensity": 2}, a={}, b={}, c={"args": plan("c", "up fail up")}
    )
    mark = len(tree.log())
    tree.end("a", "kill")
    wanted = [*stopped("c", "b"), *started("a", "b", "c", "c")]
    assert tree.since(mark, lambda log: len(log) >= len(wanted)) == wanted
    tree.running(CONTACT, "a", "b", "c")


@GROUPS
def test_a_temporary_process_that_stands_by_is_stopped_and_does_not_come_back(
    make_tree: MakeTree, strategy: str
) -> None:
    tree = make_tree({"strategy": strategy}, a={}, b={"restart": "temporary"}, c={})
    mark = len(tree.log())
    tree.end("a", "kill")
    tree.since(mark, lambda log: log == [*stopped("c", "b"), *started("a", "c")])
    tree.becomes("b", "gone")


@GROUPS
def test_too_many_crashes_end_the_root_and_the_next_generation_starts(
    make_tree: MakeTree, strategy: str
) -> None:
    tree = make_tree({"strategy": strategy, "intensity": 1}, a={}, b={})
    for _ in range(2):
        tree.running("a", "b")
        tree.end("a", "crash told to")
    until(lambda: tree.generation == 2)
    tree.running(CONTACT, "a", "b")
    assert tree.system.logged("reached_max_restart_intensity")


def test_crashes_that_are_far_enough_apart_do_not_add_up(make_tree: MakeTree) -> None:
    tree = make_tree({"intensity": 1, "period_s": 1}, a={})
    for crash in range(2):
        if crash:
            pause(LONGER_THAN_THE_PERIOD_S)
        tree.end("a", "kill")
        tree.running("a")
    assert tree.generation == 1


def test_a_restart_that_always_fails_keeps_the_root_answering_and_stopping(
    make_tree: MakeTree, plan: Callable[[str, str], dict[str, str]]
) -> None:
    flags = {"strategy": "rest_for_one", "intensity": 1_000}
    tree = make_tree(flags, a={}, loop={"args": plan("loop", "up fail")}, z={})
    tree.end("loop", "kill")
    until(lambda: tree.log().count("start loop") > 5)
    assert tree.counts() == (4, 2), "what is behind it waits"
    assert tree.refusal("delete_process", "loop") == "restarting"
    tree.system.stop()
    assert tree.log()[-2:] == stopped("a")


@pytest.mark.parametrize("how", ["exit 0", "exit 3", "kill", "term"])
def test_children_that_end_while_the_root_stops_do_not_disturb_it(make_tree: MakeTree, how: str) -> None:
    tree = make_tree({}, **{f"child-{number}": {"args": {"stop_s": 0.05}} for number in range(4)})
    pids = tree.running(*(f"child-{number}" for number in range(4)))
    assert tree.system.heart is not None
    tree.system.heart.terminate()
    for name in pids:
        tree.end_if_there(name, how)
    tree.system.heart.communicate(timeout=30)
    assert tree.system.heart.returncode == 0


def test_a_process_that_was_added_has_its_time_to_stop_when_all_are_stopped(make_tree: MakeTree) -> None:
    tree = make_tree({}, **{CONTACT: {"shutdown_ms": 100}})
    tree.start_process("patient", {"stop_s": MORE_THAN_THE_HEART_GIVES_THE_CONTACT_S}, shutdown_ms="infinity")
    tree.system.stop()
    assert tree.log()[-2:] == stopped("patient")


# -- significant children --------------------------------------------------------------------------------------

ANY = {"auto_shutdown": "any_significant", "intensity": 100}
ALL = {"auto_shutdown": "all_significant", "intensity": 100}


def test_the_end_of_a_child_that_is_not_significant_ends_nobody_else(make_tree: MakeTree) -> None:
    tree = make_tree(ANY, brief={"restart": "temporary"}, once={"restart": "transient"}, key=significant())
    tree.end("brief", "finish normal")
    tree.becomes("brief", "gone")
    tree.end("once", "finish normal")
    tree.becomes("once", "stopped")
    assert tree.counts() == (3, 2)
    assert tree.generation == 1


@pytest.mark.parametrize("how", ["finish normal", "crash told to", "kill"])
def test_every_end_of_a_significant_temporary_process_ends_the_root(make_tree: MakeTree, how: str) -> None:
    tree = make_tree(ANY, key=significant("temporary"), z={})
    tree.end("key", how)
    until(lambda: tree.generation == 2)
    tree.running(CONTACT, "key", "z")
    bystander = [line for line in tree.log() if line.endswith(" z")]
    assert bystander == [*started("z"), *stopped("z"), *started("z")]


def test_a_significant_transient_process_ends_the_root_by_a_normal_end_only(make_tree: MakeTree) -> None:
    tree = make_tree(ANY, key=significant())
    tree.end("key", "crash told to")
    tree.running("key")
    assert tree.counts() == (2, 2)
    assert tree.generation == 1
    tree.end("key", "finish normal")
    until(lambda: tree.generation == 2)


def test_all_significant_waits_for_the_last_of_them(make_tree: MakeTree) -> None:
    tree = make_tree(ALL, one=significant(), two=significant("temporary"))
    tree.end("one", "finish normal")
    tree.becomes("one", "stopped")
    assert tree.counts() == (3, 2)
    assert tree.generation == 1
    tree.end("two", "crash told to")
    until(lambda: tree.generation == 2)


def test_a_significant_process_that_is_stopped_because_of_another_ends_nobody(make_tree: MakeTree) -> None:
    tree = make_tree(
        {**ANY, "strategy": "one_for_all"}, a={}, key=significant("temporary"), other=significant()
    )
    tree.end("a", "kill")
    tree.becomes("key", "gone")
    tree.running(CONTACT, "a", "other")
    tree.ask("stop_process", "other")
    tree.becomes("other", "stopped")
    assert tree.counts() == (3, 2)
    assert tree.generation == 1


def significant(restart: str = "transient") -> dict[str, Any]:
    return {"restart": restart, "significant": True}


def started(*names: str) -> list[str]:
    return [f"start {name}" for name in names]


def stopped(*names: str) -> list[str]:
    return [f"{verb} {name}" for name in names for verb in ("stop", "stopped")]
